"""What decided an answer of the trained model."""
