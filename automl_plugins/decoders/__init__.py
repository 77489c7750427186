"""Architectures read off learned logits."""

from automl_plugins.decoders.angle import Angle
from automl_plugins.decoders.base import Decoder, Evaluation, Found, make_decoder
from automl_plugins.decoders.best_sampled import BestSampled
from automl_plugins.decoders.darts_pt import DARTSPT
from automl_plugins.decoders.evolution import Evolution
from automl_plugins.decoders.most_likely import MostLikely

__all__ = [
    "DARTSPT",
    "Angle",
    "BestSampled",
    "Decoder",
    "Evaluation",
    "Evolution",
    "Found",
    "MostLikely",
    "make_decoder",
]
