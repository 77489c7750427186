"""Few-shot NAS: a supernet is split into sub-supernets, one for each option of a choice."""

from __future__ import annotations

from automl_plugins.decoders.base import Found
from automl_plugins.estimators.base import rank
from automl_plugins.estimators.context import Context
from automl_plugins.estimators.inherited import InheritedEstimator
from automl_plugins.procedures.fits import Fits
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.project import Project


def few_shot(
    project: Project,
    choice: str | None = None,
    strategy: str = "random",
    epochs: int | None = None,
    child_epochs: int | None = None,
) -> list[Found]:
    """Few-shot NAS (Zhao, Wang, Tian, Fonseca and Guo, ICML 2021, arXiv 2006.06863, algorithm 1).

    A supernet is trained; then, for each open option of one choice, a copy of it in which the others are closed is
    trained on (the paper's transfer learning), so that options that compete for shared weights no longer do. The best
    architectures of the sub-supernets are compared by their validation metric with the weights of their own
    sub-supernet, on the same data, with statistics measured anew.

    Departures from the paper: it splits by any one edge, or by two; here it is one choice, and the first that
    every architecture has where none is named.

    Args:
        project: what is searched, and on what.
        choice: the gate that is split, one of `space.gate_choices`.
        strategy: how each supernet is searched; a registered name of one that runs in a single fit.
        epochs: of the supernet; as many as the project's Trainer gives where left out.
        child_epochs: of each sub-supernet; half of them where left out (the paper: 600 and 300).

    Returns:
        One architecture of each sub-supernet, the best first, with its metric and the option that it is of.

    Raises:
        TypeError: the space has no supernet.
        ValueError: there is no such choice, or it has no second open option.
        StudyError: the project's folder holds results of other settings, or of other data.
    """
    epochs = project.options(epochs).get("max_epochs")
    if child_epochs is None and epochs is not None:
        child_epochs = max(1, epochs // 2)
    fits = Fits(project, "few-shot", {"choice": choice, "strategy": strategy, "epochs": epochs, "child": child_epochs})
    parent = fits.searchable()
    split, options = _split(parent, choice)
    whole = fits.run("supernet", parent, strategy, epochs)
    context = Context.of(project)
    found, estimates = [], []
    for position, option in enumerate(options):
        child = fits.searchable()
        child.supernet.load_state_dict(parent.supernet.state_dict())
        child.keep(split.name, option)
        part = fits.run(f"{split.name}-{position}", child, strategy, child_epochs, after=whole)
        (estimate,) = InheritedEstimator(part.module).estimate_all([part.architecture], context)
        estimates.append(estimate)
        figures = {project.monitor: project.sign * estimate.score} if estimate.valid else {}
        found.append(Found(part.architecture, figures))
    return [found[place] for place in rank(estimates)]


def _split(searchable: Searchable, name: str | None) -> tuple[Choice, list[Value]]:
    """The choice to split by, and those of its options that are in any architecture without the others."""
    choices = {choice.name: choice for choice in searchable.choices}
    if name is not None and name not in choices:
        raise ValueError(f"there is no choice {name!r} to split the supernet by; {did_you_mean(name, choices)}")
    for choice in choices.values() if name is None else [choices[name]]:
        closed = searchable.limits.closed.get(choice.name, ())
        options = [each for each in choice.options if each not in closed and _stands_alone(searchable, choice, each)]
        if len(options) > 1 and (name is not None or not choice.parents):
            return choice, options
    left = "no choice of the space" if name is None else f"the choice {name!r}"
    raise ValueError(f"{left} splits the supernet: it takes two options, each with architectures of its own")


def _stands_alone(searchable: Searchable, choice: Choice, option: Value) -> bool:
    try:
        with searchable.masked():
            searchable.keep(choice.name, option)
    except ValueError:  # of an edge that every architecture has, the option that leaves it out
        return False
    return True
