"""Float weights that survive int8: equalised, fine-tuned. Only child processes import this room."""
