"""Architectures read off learned logits."""

from automl_plugins.decoders.base import Decoder, Evaluation
from automl_plugins.decoders.best_sampled import BestSampled
from automl_plugins.decoders.most_likely import MostLikely

__all__ = ["BestSampled", "Decoder", "Evaluation", "MostLikely"]
