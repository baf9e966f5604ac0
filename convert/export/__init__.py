"""Model to bytes, one file for each format. Only child processes import this room."""
