"""Few-shot NAS: a supernet is split into sub-supernets, one for each option of a choice, or for groups of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from automl_plugins.decoders.base import Found
from automl_plugins.estimators.base import rank
from automl_plugins.estimators.context import Context
from automl_plugins.estimators.inherited import InheritedEstimator
from automl_plugins.procedures.fits import Fit, Fits
from automl_plugins.procedures.gradient_matching import GradientMatching, Split, best_split, grouped
from automl_plugins.search.options import make_strategy
from automl_plugins.spaces.choice import Choice
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.arguments import at_least
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.project import Project

Candidates = dict[str, list[int]]
"""Choices that may be split, and the positions of options that have architectures without the others."""


def few_shot(
    project: Project,
    choice: str | None = None,
    strategy: str = "random",
    epochs: int | None = None,
    child_epochs: int | None = None,
    groups: int | None = None,
) -> list[Found]:
    """Few-shot NAS (Zhao, Wang, Tian, Fonseca and Guo, ICML 2021, arXiv 2006.06863, algorithm 1).

    A supernet is trained; then, for each open option of one choice, a copy of it in which the others are closed is
    trained on (the paper's transfer learning), so that options that compete for shared weights no longer do. The best
    architectures of the sub-supernets are compared by their validation metric with the weights of their own
    sub-supernet, on the same data, with statistics measured anew.

    If no choice is named, or there are to be fewer sub-supernets than options, gradients say what is split (GM-NAS;
    Hu et al. 2022, arXiv 2203.15207): options whose gradients of the shared weights agree stay together, and the choice
    is the one whose groups agree least. See `automl_plugins.procedures.gradient_matching`.

    Departures from the papers: one choice is split, once.

    Args:
        project: what is searched, and on what.
        choice: the gate that is split, one of `space.gate_choices`; found by gradient matching where left out.
        strategy: how each supernet is searched; a registered name of one that runs in a single fit.
        epochs: of the supernet; as many as the project's Trainer gives where left out.
        child_epochs: of each sub-supernet; half of them where left out (the papers: 600 and 300).
        groups: of options, a sub-supernet each; where left out, 2, or for a named choice as many as it has options.

    Returns:
        One architecture of each sub-supernet, the best first, with its metric.

    Raises:
        TypeError: the space has no supernet.
        ValueError: there is no such choice, or it has no second open option, or fewer than groups; or no such
            strategy, or one of partial channels.
        StudyError: the project's folder holds results of other settings, or of other data.
    """
    epochs = project.options(epochs).get("max_epochs")
    if child_epochs is None and epochs is not None:
        child_epochs = max(1, epochs // 2)
    settings = {"choice": choice, "strategy": strategy, "epochs": epochs, "child": child_epochs, "groups": groups}
    fits = Fits(project, "few-shot", settings)
    made = make_strategy(strategy)
    if made.partial_channels > 1:
        raise ValueError(
            f"strategy={strategy!r} mixes one channel in {made.partial_channels}, and sub-supernets are compared by "
            "networks that inherit their weights, which are narrower then; take another strategy, such as darts"
        )
    parent = fits.searchable()
    candidates = _candidates(parent, choice, groups)
    path = fits.folder / "supernet" / "gradients.json"
    single = made.single_path(0.0) or made.starting_relaxation().single_path
    matching = GradientMatching(parent, candidates, path, single, project.seed)
    is_matched = choice is None or groups is not None
    whole = fits.run("supernet", parent, strategy, epochs, callbacks=[matching] if is_matched else [])
    split = _split(parent, candidates, path if is_matched else None, groups)
    children = []
    for position, group in enumerate(split.groups):
        child = fits.searchable()
        child.supernet.load_state_dict(parent.supernet.state_dict())
        child.keep(split.choice, *group)
        children.append(fits.run(f"{split.choice}-{position}", child, strategy, child_epochs, after=whole))
    return _ranked(children, project)


def _ranked(children: list[Fit], project: Project) -> list[Found]:
    context = Context.of(project)
    found, estimates = [], []
    for child in children:
        (estimate,) = InheritedEstimator(child.module).estimate_all([child.architecture], context)
        estimates.append(estimate)
        figures = {project.monitor: project.sign * estimate.score} if estimate.valid else {}
        found.append(Found(child.architecture, figures))
    return [found[place] for place in rank(estimates)]


def _split(searchable: Searchable, candidates: Candidates, gradients: Path | None, groups: int | None) -> Split:
    choices = {choice.name: choice for choice in searchable.choices}
    if gradients is None:
        ((name, columns),) = candidates.items()
        return Split(name, [[choices[name].options[column]] for column in columns])
    cosines = json.loads(gradients.read_text(encoding="utf-8"))
    split = best_split(cosines, candidates, choices)
    if groups is None or groups == 2:
        return split
    columns, options = candidates[split.choice], choices[split.choice].options
    places = grouped(cosines[split.choice], groups)
    return Split(split.choice, [[options[columns[place]] for place in group] for group in places])


def _candidates(searchable: Searchable, name: str | None, groups: int | None) -> Candidates:
    """The choices that may be split, and those of their options that are in any architecture without the others."""
    choices = {choice.name: choice for choice in searchable.choices}
    if name is not None and name not in choices:
        raise ValueError(f"there is no choice {name!r} to split the supernet by; {did_you_mean(name, choices)}")
    least = 2 if groups is None else at_least("groups", groups, 2)
    free = {each: choice for each, choice in choices.items() if not choice.parents}
    asked: Mapping[str, Choice] = free if name is None else {name: choices[name]}
    found = {each: _standing(searchable, choice) for each, choice in asked.items()}
    found = {each: columns for each, columns in found.items() if len(columns) >= least}
    if found:
        return found
    left = "no choice of the space" if name is None else f"the choice {name!r}"
    count = "two options" if least == 2 else f"groups={least} options"
    raise ValueError(f"{left} splits the supernet: it takes {count}, each with architectures of its own")


def _standing(searchable: Searchable, choice: Choice) -> list[int]:
    closed = searchable.limits.closed.get(choice.name, ())
    return [
        column
        for column, option in enumerate(choice.options)
        if option not in closed and _stands_alone(searchable, choice, column)
    ]


def _stands_alone(searchable: Searchable, choice: Choice, column: int) -> bool:
    try:
        with searchable.masked():
            searchable.keep(choice.name, choice.options[column])
    except ValueError:  # of an edge that every architecture has, the option that leaves it out
        return False
    return True
