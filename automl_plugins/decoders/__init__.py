"""Architectures read off learned logits."""

from automl_plugins.decoders.base import Decoder, Evaluation, Found, make_decoder
from automl_plugins.decoders.best_sampled import BestSampled
from automl_plugins.decoders.most_likely import MostLikely

__all__ = ["BestSampled", "Decoder", "Evaluation", "Found", "MostLikely", "make_decoder"]
