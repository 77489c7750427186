"""Evolution for the largest angle between initial and trained weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from automl_plugins.decoders.evolution import Evolution
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.supernet import Supernet, inherited
from automl_plugins.system.randomness import seeded_aside


class Angle(Evolution):
    r"""Evolution (see `Evolution`) for the largest angle that a network's weights have turned (Zhang et al. 2021).

    The angle of an architecture is :math:`\arccos(\langle v_0, v_t \rangle / (\|v_0\| \|v_t\|))` with the vector of all
    weights of its network as the supernet began (:math:`v_0`) and as it is (:math:`v_t`); arXiv 2101.11834, section
    3.2. No data are needed, so it finds what trained fast, whatever it was trained on.

    Departures from the paper: each weight counts once, however many paths lead through it, since paths of whole
    networks are too many; biases and normalisations (parameters of less than two axes), which begin as constants, are
    left out; operations without weights add nothing, as the paper's identities.

    Args:
        population, generations, parents, mutation, seed: see `Evolution`.
    """

    figure: ClassVar[str] = "angle"
    judged: ClassVar[str] = "angle between initial and trained weights"
    initial: Callable[[Searchable], Mapping[str, Tensor]] | None = None
    """The state of a searchable's supernet before the search; the strategy that remembers it sets this."""

    def _judge(self, searchable: Searchable, evaluate: Callable[[], float]) -> Callable[[Architecture], float]:
        if self.initial is None:
            raise ValueError("the decoder Angle needs the initial weights, which the strategy rlnas remembers")
        first = copy.deepcopy(searchable.supernet)
        first.load_state_dict(dict(self.initial(searchable)))
        return lambda architecture: -angle(searchable, first, architecture)

    def _figure(self, loss: float) -> float:
        return -loss


def angle(searchable: Searchable, initial: Supernet, architecture: Architecture) -> float:
    """The angle between the weights that a network inherits from two supernets, from 0 to pi; nan: not finite.

    Args:
        searchable: with the trained supernet.
        initial: the supernet as it began.
        architecture: whose network it is.
    """
    with seeded_aside(0, searchable.logits.device):
        network = inherited(searchable.space, searchable.supernet, architecture, searchable.task)
        after = _vector(network)
        initial.inherit(network, architecture)
        before = _vector(network)
    cosine = float(before @ after / (before.norm() * after.norm()))
    return math.acos(min(max(cosine, -1.0), 1.0)) if math.isfinite(cosine) else math.nan


def _vector(network: nn.Module) -> Tensor:
    weights = [weight for weight in network.parameters() if weight.dim() > 1] or list(network.parameters())
    return torch.cat([weight.detach().double().flatten() for weight in weights])
