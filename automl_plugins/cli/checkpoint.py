"""The architecture of the logits in a checkpoint, without the data or the task that they were learned on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.decoding import decoding_scores, signature_of
from automl_plugins.supernets.gates import matrix_shape
from automl_plugins.supernets.limits import Limits
from automl_plugins.supernets.masks import masked_scores
from automl_plugins.supernets.nearby import most_probable
from automl_plugins.supernets.relaxations import Relaxation
from automl_plugins.supernets.space import SupernetSpace

_PARTS = ("logits", "closed", "signature")


def state_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights in a Lightning checkpoint; a bare `state_dict` is one itself."""
    state: Mapping[str, Tensor] = checkpoint.get("state_dict", checkpoint)
    return state


def searchables_in(state: Mapping[str, Any]) -> list[str]:
    """The attribute paths of the searchables in a `state_dict`; that of a searchable alone is empty."""
    paths = [name.removesuffix("logits").removesuffix(".") for name in state if name.rpartition(".")[2] == "logits"]
    return [path for path in paths if all(_name(path, part) in state for part in _PARTS)]


def decode(
    state: Mapping[str, Tensor], path: str, space: SupernetSpace, relaxation: Relaxation, task: Task | None = None
) -> Architecture:
    """The architecture that a searchable's logits stand for.

    Args:
        state: a `state_dict`.
        path: the attribute path of the searchable in it.
        space: the space that it searches.
        relaxation: how its logits become gates.
        task: what networks must fit, which the space's cap of parameters depends on; None: the cap does not count.

    Raises:
        ValueError: its choices are not the space's.
        DivergedError: a logit is not finite.
        ParameterCapError: no architecture within the cap was found.
    """
    logits, closed, signature = (state[_name(path, part)].cpu() for part in _PARTS)
    choices = space.gate_choices
    if tuple(logits.shape) != matrix_shape(choices) or not torch.equal(signature.bool(), signature_of(choices)):
        raise ValueError(
            f"the {len(logits)} choices of the searchable {path!r} are not the {len(choices)} of this space "
            f"{space.name!r}; make it with the arguments that it was searched with"
        )
    mask = closed == 0
    scores = decoding_scores(choices, logits, mask, relaxation)
    if task is not None:
        return most_probable(Limits(space, task, mask), scores)
    return space.decode(masked_scores(choices, scores, mask))


def _name(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part
