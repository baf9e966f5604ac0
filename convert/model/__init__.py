"""Load a model whose edges have names. Only child processes import this room."""
