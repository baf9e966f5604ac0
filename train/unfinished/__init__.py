"""What a kill leaves of a training, and how it goes on."""
