"""The part of `automl-plugins init` that looks at the data, and writes down what would be chosen for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl_plugins import registry
from automl_plugins.cli.classes import KINDS, registered
from automl_plugins.cli.commented_yaml import commented, entry
from automl_plugins.cli.console import output
from automl_plugins.cli.data_alone import read_data
from automl_plugins.cli.errors import UsageError, one_line, say, told_briefly, without_deprecations
from automl_plugins.cli.look import looked_at
from automl_plugins.cli.questions import answer
from automl_plugins.cli.settings import Given, Item
from automl_plugins.studies.default_reasons import reason
from automl_plugins.studies.defaults import DataFacts, chosen
from automl_plugins.system.arguments import positive
from automl_plugins.system.files import write_whole
from automl_plugins.training.data.draft import Draft, Reasoned

_PLANNED = ("trainer.max_epochs", "trial_epochs", "trials", "finalists")
"""Settings that a study of given minutes plans by itself."""
_MOST_TARGETS = 20


@dataclass(frozen=True)
class _Found:
    """Data that have been looked at.

    Args:
        name: the registered name of the datamodule.
        arguments: of it.
        seen: lines about the data.
        facts: by which the rest is chosen.
    """

    name: str
    arguments: Mapping[str, Reasoned]
    seen: list[str]
    facts: DataFacts


def write_config(path: Path, minutes: float | None, out: Path, given: Given, command: str, asks: bool) -> int:
    """Look at the data, write the configuration, and say both.

    Args:
        path: of the data.
        minutes: that the study may take; None: as many as its trials need.
        out: the file to write.
        given: what its user gave.
        command: for the lines.
        asks: in a terminal, what was not given is asked for.

    Raises:
        UsageError: nothing can read the data, or something is wrong with them.
    """
    name, arguments = _drafted(path, given, asks)
    found = _read(name, {**arguments, **_given_arguments(given)})
    if minutes is None and asks:
        text = answer("Minutes that the study may take (nothing: as many as its trainings need)", "")
        with told_briefly():
            minutes = positive("minutes", _number(text)) if text else None
    write_whole(out, "".join(f"{line}\n" for line in _lines(found, out, minutes)))
    for line in found.seen:
        say(line, command)
    output().out(f"kept: {out}; next: automl-plugins study --config {out}", highlight=False)
    return 0


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text  # it is refused as what it is


def _drafted(path: Path, given: Given, asks: bool) -> tuple[str, Mapping[str, Reasoned]]:
    """The datamodule that reads the files at a path, and its arguments."""
    drafts = dict(_drafts(path, given, ()))
    if not drafts:
        data = given.get("data.class_path", given.get("data"))
        by = "no datamodule" if data is None else KINDS["data"].short(str(data))
        told = "a table needs a column of SMILES or of image files, a folder images/ and masks/ or one for each class"
        raise UsageError(f"{str(path)!r}: {by} knows how to read it; {told}; see docs/data.md", code=1)
    name, draft = next(iter(drafts.items()))
    if len(drafts) > 1:
        raise UsageError(f"{str(path)!r}: {' and '.join(drafts)} can read it; name one, as in --data {name}")
    targets = _targets(given)
    if targets and not draft.targets:
        raise UsageError(f"target={', '.join(targets)}: {str(path)!r} says what is to be predicted; leave it out")
    if not targets and "target_columns" not in draft.arguments and draft.targets:
        told = "; ".join(f"{target}: {seen}" for target, seen in list(draft.targets.items())[:_MOST_TARGETS])
        if not asks:
            raise UsageError(f"target is missing: name one or several of the columns: {told}", code=1)
        for target, seen in draft.targets.items():
            output().out(f"  {one_line(target)}: {one_line(seen)}", highlight=False)
        targets = [each.strip() for each in answer("Columns to predict, with commas between").split(",")]
    if targets:
        draft = dict(_drafts(path, given, targets))[name]
    return name, draft.arguments


def _targets(given: Given) -> list[str]:
    asked = given.get("target")
    return [str(each) for each in asked] if isinstance(asked, list) else [] if asked is None else [str(asked)]


def _drafts(path: Path, given: Given, targets: list[str] | tuple[()]) -> Iterator[tuple[str, Draft]]:
    """The drafts of all registered datamodules that can read the files, or of the one that was named."""
    named = given.get("data.class_path", given.get("data"))
    for name, where in registered("data").items():
        if named is not None and where != named:
            continue
        with told_briefly("data", 1, OSError, ImportError, ValueError, RuntimeError), without_deprecations():
            draft = getattr(registry.load("data", name), "draft", None)
            found: Draft | None = None if draft is None else draft(path, targets)
        if found is not None:
            yield name, found


def _given_arguments(given: Given) -> dict[str, Reasoned]:
    return {name: Reasoned(value, "as it was given") for name, value in given.arguments("data").items()}


def _read(name: str, arguments: Mapping[str, Reasoned]) -> _Found:
    """The data, read as a study reads them, with what is warned of."""
    plain = {key: each.value for key, each in arguments.items()}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        data, facts = read_data(looked_at(Given((Item("", {"data": {"class_path": name, "init_args": plain}}),))))
        with told_briefly("data", 1, OSError, ImportError, ValueError, RuntimeError):
            findings = list(data.findings()) if hasattr(data, "findings") else []
    told = [str(each.message) for each in warned if issubclass(each.category, UserWarning)]
    return _Found(name, arguments, [*map(one_line, findings), *(f"mind: {one_line(each)}" for each in told)], facts)


def _lines(found: _Found, out: Path, minutes: float | None) -> Iterator[str]:
    """The lines of the configuration."""
    settings = chosen(found.facts)
    reasons = {key: Reasoned(value, reason(key, settings, found.facts)) for key, value in settings.items()}
    yield f"# automl-plugins study --config {one_line(out)}"
    yield from commented(f"Written by automl-plugins init. The folder of the run is runs/{one_line(out.stem)}.")
    yield "#"
    yield "# What was seen:"
    for line in found.seen:
        yield from commented(line, "# - ", "#   ")
    yield ""
    yield from entry("space", reasons.pop("space"))
    yield "data:"
    yield f"  class_path: {found.name}"
    yield "  init_args:"
    of_data = {key.removeprefix("data."): reasons.pop(key) for key in settings if key.startswith("data.")}
    for key, each in {**of_data, **found.arguments}.items():
        yield from entry(key, each, 4)
    if minutes is not None:
        planned = ", ".join(key for key in _PLANNED if reasons.pop(key, None))
        yield from entry("minutes", Reasoned(minutes, f"for all of it; planned for them when it begins: {planned}"))
    epochs = reasons.pop("trainer.max_epochs", None)
    if epochs is not None:
        yield "trainer:"
        yield from entry("max_epochs", epochs, 2)
    for key, each in reasons.items():
        yield from entry(key, each)
