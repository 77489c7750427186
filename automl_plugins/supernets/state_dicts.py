"""Searchables in a `state_dict`, of a module around them or their own: their paths, and their architectures."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.decoding import decoding_scores, signature_of
from automl_plugins.supernets.gates import matrix_shape
from automl_plugins.supernets.masks import masked_scores
from automl_plugins.supernets.relaxations import Relaxation
from automl_plugins.supernets.space import SupernetSpace

_PARTS = ("logits", "closed", "signature")
"""Buffers and parameters of a searchable that say which architecture it stands for."""


def searchables_in(state: Mapping[str, Tensor]) -> list[str]:
    """The attribute paths of the searchables whose weights are in a `state_dict`; empty for that of a searchable."""
    paths = [name.removesuffix("logits").removesuffix(".") for name in state if name.rpartition(".")[2] == "logits"]
    return [path for path in paths if all(_name(path, part) in state for part in _PARTS)]


def decode_state(state: Mapping[str, Tensor], path: str, space: SupernetSpace, relaxation: Relaxation) -> Architecture:
    """The architecture that the logits of a searchable stand for, whatever task they were learned on.

    Args:
        state: with its weights.
        path: one of `searchables_in`.
        space: of the searchable.
        relaxation: the map from its logits to gates.

    Raises:
        ValueError: it is of another space.
        DivergedError: a logit of an open option is not a number, or infinite.
    """
    logits, closed, signature = (state[_name(path, part)].cpu() for part in _PARTS)
    choices = space.gate_choices
    if tuple(logits.shape) != matrix_shape(choices) or not torch.equal(signature.bool(), signature_of(choices)):
        raise ValueError(
            f"the {len(logits)} choices of the searchable {path!r} are not the {len(choices)} of this space "
            f"{space.name!r}; make it with the arguments that it was searched with"
        )
    mask = closed == 0
    return space.decode(masked_scores(choices, decoding_scores(choices, logits, mask, relaxation), mask))


def _name(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part
