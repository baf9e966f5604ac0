"""Read a file back and say whether its name is true."""
