"""Models of segmentation_models_pytorch as a search space."""
