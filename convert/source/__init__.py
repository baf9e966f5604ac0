"""What is converted: a run, or a user's model with the user's data."""
