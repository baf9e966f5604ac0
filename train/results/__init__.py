"""The run folder's files."""
