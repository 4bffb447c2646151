"""Says what a model's outputs mean: one file and one class for each format."""
