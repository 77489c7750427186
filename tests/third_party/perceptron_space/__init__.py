"""Perceptrons over the channels of each pixel: a search space that `automl-plugins` has never heard of."""
