"""Train a recipe and leave a run folder: ``python -m train RECIPE``."""
