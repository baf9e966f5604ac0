"""How far an artifact is from the float model, and whether that is too far."""
