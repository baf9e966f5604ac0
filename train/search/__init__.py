"""Many trainings: hyper-parameter search and cross-validation."""
