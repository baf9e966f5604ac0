"""What each runtime registers, and the remedy where an artifact does not fit."""
