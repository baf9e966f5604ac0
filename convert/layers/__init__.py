"""Where the signal is lost, layer by layer."""
