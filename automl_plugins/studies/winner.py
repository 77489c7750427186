"""The files of a winner: its weights, its architecture where it has one, and who it is."""

from __future__ import annotations

import json
from typing import Any

from automl_plugins.objectives.contender import Contender
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.comparison import Comparison
from automl_plugins.studies.folder import RunFolder
from automl_plugins.system.files import save_whole, write_whole
from automl_plugins.system.finite import strict_json
from automl_plugins.training.preprocessing import Preprocessing
from automl_plugins.training.tunable import HOMES


def keep_winner(comparison: Comparison, winner: Contender, found: Contender | None) -> None:
    """Write the winner into the run's folder, and take what an earlier winner has left there away.

    `network.pt` and `module.ckpt` are always the winner's, and so are the `settings.json` that were tuned for it and
    `preprocessing.json`, with what it takes and gives; `winner.json` names the weights of all of its seeds.
    `architecture.json` is too; a network that was made by
    hand has none, and then the best architecture that was found has the same files in the folder `found`.

    Args:
        comparison: the final trainings.
        winner: the best contender.
        found: the best contender that is an architecture, if there is any.
    """
    folder = comparison.folder
    _keep(folder, comparison, winner)
    if winner.architecture is None and found is not None:
        if folder.config.exists():
            # So that the commands that look for it beside an architecture.json find it.
            write_whole(folder.found.config, folder.config.read_text("utf-8"))
        _keep(folder.found, comparison, found)
    else:
        _forget(folder.found)


def keep_ensemble(comparison: Comparison, ensemble: Contender | None) -> None:
    """Write an ensemble of the seed that validated best into the folder `ensemble`, or remove an earlier one's files.

    Args:
        comparison: the final trainings.
        ensemble: None: there is none, or none of its seeds has a score.
    """
    folder = comparison.folder.ensemble
    if ensemble is None:
        _forget(folder)
        return
    seed = comparison.best_seed(ensemble)
    members = [
        {
            "label": member.label,
            "architecture": None if member.architecture is None else json.loads(member.architecture.to_json()),
            "reference": member.reference,
        }
        for member in ensemble.members
    ]
    content = strict_json({"seed": seed, "members": members})
    if folder.members.exists() and folder.members.read_text("utf-8") != content:
        _forget(folder)
    _keep_weights(folder, comparison, ensemble, seed)
    write_whole(folder.members, content)


def forget_winner(folder: RunFolder) -> None:
    """Remove a winner's files, which are no longer right."""
    for each in (folder, folder.found, folder.ensemble):
        _forget(each)


def winner_drawing(space: SearchSpace, folder: RunFolder) -> str:
    """A drawing of the winner, or of the best that was found, under its title; "" where nothing was."""
    titles = {
        folder.architecture: "the winner:",
        folder.found.architecture: f"the winner was made by hand; the best that was found, in {folder.found.path}:",
    }
    for path, title in titles.items():
        if path.exists():
            return f"{title}\n{space.drawing(Architecture.from_json(path.read_text('utf-8')))}"
    return ""


def read_settings(folder: RunFolder) -> dict[str, Any]:
    """The training settings that were tuned for the network of a folder; empty where none were.

    Raises:
        ValueError: the file of them is damaged.
    """
    if not folder.settings.is_file():
        return {}
    content = json.loads(folder.settings.read_text("utf-8"))
    for name, value in content.items() if isinstance(content, dict) else [("", content)]:
        if name.partition(".")[0] not in HOMES or not (value is None or isinstance(value, str | int | float)):
            raise ValueError(f"it holds arguments of {' and '.join(HOMES)} by name; got {name!r}: {value!r}")
    return dict(content)


def _forget(folder: RunFolder) -> None:
    own = (folder.winner, folder.members, folder.architecture, folder.settings, folder.network, folder.module)
    for path in (*own, folder.preprocessing, folder.preprocessing.with_suffix(".pt")):
        path.unlink(missing_ok=True)


def _keep(folder: RunFolder, comparison: Comparison, contender: Contender) -> None:
    """Write a contender's files, of the seed that validated best."""
    seed = comparison.best_seed(contender)
    results = zip(comparison.seeds, comparison.trained(contender), strict=True)
    every = [seed, *(each for each, result in results if result.score is not None and each != seed)]
    weights = [
        str(comparison.folder.weights(contender.key, each).relative_to(comparison.folder.path)) for each in every
    ]
    told = {
        "label": contender.label,
        "reference": contender.reference,
        "found_by": contender.found_by,
        "settings": contender.settings,
        "seed": seed,
        "weights": weights[0],
        "all_weights": weights,
    }
    content = strict_json(told)
    if folder.winner.exists() and folder.winner.read_text("utf-8") != content:
        # Of two winners' files, none may be taken for the other's after a kill between them.
        _forget(folder)
    if contender.architecture is not None:
        write_whole(folder.architecture, contender.architecture.to_json())
    if contender.settings:
        write_whole(folder.settings, strict_json(contender.settings))
    _keep_weights(folder, comparison, contender, seed)
    project = comparison.projects(contender.settings)
    project.read_data()
    Preprocessing.of(project.data, project.task, comparison.load(contender, seed)).save(folder.preprocessing)
    write_whole(folder.winner, content)


def _keep_weights(folder: RunFolder, comparison: Comparison, contender: Contender, seed: int) -> None:
    weights = comparison.weights(contender, seed)
    save_whole(folder.network, weights.pop("network"))
    save_whole(folder.module, weights)
