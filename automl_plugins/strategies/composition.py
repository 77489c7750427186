"""A strategy with the components that it was given, as the engine of a search runs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.strategies.base import Strategy
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.relaxations import Relaxation
from automl_plugins.supernets.searchable import Searchable


def check(strategy: Strategy, relaxations: Iterable[Relaxation], searchables: Iterable[Searchable] = ()) -> None:
    """Refuse components that do not go together.

    Args:
        strategy: with its components.
        relaxations: those that the search begins with.
        searchables: what is searched.

    Raises:
        ValueError: they do not; the message says why.
    """
    name, single = type(strategy).__name__, next((each for each in relaxations if each.single_path), None)
    if strategy.perturbation is not None and (single is not None or strategy.single_path(0.0)):
        path = name if single is None else f"{type(single).__name__} of {name}"
        raise ValueError(
            f"perturbation={type(strategy.perturbation).__name__} cannot be combined with {path}, which runs one "
            "option of each choice: perturbed, its gates would run all of them; take a strategy of mixtures, such as "
            "darts"
        )

    if strategy.stops and (not strategy.learns_logits or not strategy.uses_search_data or single is not None):
        stop = type(strategy.stops[0]).__name__
        raise ValueError(
            f"stops=[{stop}] looks at the loss of a mixture on search data, and {name} has none; take a strategy of "
            "two levels, such as darts"
        )
    for searchable in searchables:
        own, asked = searchable.supernet.partial_channels, strategy.partial_channels
        if asked not in (1, own):
            raise ValueError(
                f"{name} mixes one channel in {asked}, and the supernet of the space {searchable.space.name!r} was "
                f"made with partial_channels={own}; make it by `space.searchable(task, partial_channels={asked})`"
            )


def needs_end(strategy: Strategy) -> bool:
    """True where something follows the progress of a search, which then needs an end."""
    if strategy.needs_end or type(strategy).schedule is not Strategy.schedule:
        return True
    perturbed = strategy.perturbation is not None and strategy.perturbation.needs_end
    return perturbed or any(regularizer.needs_end for regularizer in strategy.regularizers)


def begin(strategy: Strategy, step: SearchStep) -> None:
    """Prepare a search on the untrained supernet."""
    for regularizer in strategy.regularizers:
        regularizer.begin()
    for stop in strategy.stops:
        stop.begin()
    strategy.begin(step)


def reason_to_stop(strategy: Strategy, step: SearchStep) -> str | None:
    """The first reason to stop at the end of an epoch; all stops are asked."""
    reasons = [stop(step) for stop in strategy.stops]
    return next((reason for reason in reasons if reason is not None), None)


def figures(strategy: Strategy) -> dict[str, float]:
    """The figures of the stops, by name."""
    return {name: value for stop in strategy.stops for name, value in stop.figures().items()}


def loss_of_logits(strategy: Strategy, step: SearchStep) -> Tensor:
    """The loss that the logits are to lower, with the terms of all regularizers."""
    loss = strategy.architecture_loss(step)
    for regularizer in strategy.regularizers:
        loss = loss + regularizer(step)
    return loss


def gates_of_weights(strategy: Strategy, step: SearchStep) -> dict[str, Architecture | Mapping[str, Tensor] | None]:
    """By searchable, the gates that the weights of this step are trained with; None: those of the relaxation."""
    held = {name: strategy.weight_gates(searchable, step) for name, searchable in step.searchables.items()}
    if strategy.perturbation is None:
        return held
    plain = {}
    for name, searchable in step.searchables.items():
        own = held[name]
        with nullcontext() if own is None else searchable.hold(own):
            plain[name] = Gates(searchable.choices, searchable.gates().matrix.detach())
    return dict(strategy.perturbation(step, plain))


def state_of(strategy: Strategy) -> dict[str, Any]:
    """The memory of a strategy and of its regularizers, as a checkpoint has it."""
    return {
        "strategy": strategy.state_dict(),
        "regularizers": [regularizer.state_dict() for regularizer in strategy.regularizers],
        "stops": [stop.state_dict() for stop in strategy.stops],
    }


def load_state(strategy: Strategy, state: Mapping[str, Any]) -> None:
    """Continue where the state was taken."""
    strategy.load_state_dict(state["strategy"])
    for regularizer, own in zip(strategy.regularizers, state["regularizers"], strict=True):
        regularizer.load_state_dict(own)
    for stop, own in zip(strategy.stops, state["stops"], strict=True):
        stop.load_state_dict(own)
