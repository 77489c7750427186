"""Encoders that begin with pretrained weights: where these come from, how they fit, and the images that they expect."""
