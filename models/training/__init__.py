"""Training a detector, its recipes, its folder, and backbones to start from."""
