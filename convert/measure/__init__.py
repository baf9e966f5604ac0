"""Run every artifact in every runtime, pair by pair with the float model."""
