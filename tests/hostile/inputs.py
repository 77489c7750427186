"""The shape of a hostile input, and the commands that are right but for one thing."""

from __future__ import annotations

import atexit
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import mkdtemp

OWNED = "OWNED"
"""The file that appears in the working folder when a hostile input has had its code run."""

Prepare = Callable[[Path], None]
"""Writes the files of a hostile input into a folder, which is then the working folder."""


def nothing(_: Path) -> None:
    """No file is needed."""


@dataclass(frozen=True)
class HostileInput:
    """A call of the command line that must be refused.

    Args:
        family: the group that it is counted in.
        kind: what is wrong with it; unique.
        arguments: the command and its arguments.
        prepare: writes the files that it speaks of.
    """

    family: str
    kind: str
    arguments: tuple[str, ...]
    prepare: Prepare = nothing


CLUSTER = {"num_train": 4, "num_val": 2, "num_test": 2, "batch_size": 2}
TRAINER = {
    "max_epochs": 1,
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
STUDY = {
    "space": {"class_path": "agnn", "init_args": {"layers": 1, "hidden_channels": [4], "heads": [1]}},
    "data": {"class_path": "cluster", "init_args": CLUSTER},
    "trials": 1,
    "references": [],
    "finalists": 1,
    "seeds": 1,
    "random_search": False,
    "trainer": TRAINER,
}
SEARCH = {
    "space": {"class_path": "egnas", "init_args": {"cells": 1, "nodes": 1, "node_channels": 4, "edge_channels": 4}},
    "data": {"class_path": "cluster", "init_args": CLUSTER},
    "trainer": TRAINER,
}
PIXELS = {"level": "pixel", "target": "classes", "in_channels": 3, "out_channels": 2}
ARCHITECTURE = {
    "space": "agnn",
    "version": 2,
    "choices": {
        "layer0.hidden_channels": 4,
        "layer0.attention": "gcn",
        "layer0.heads": 1,
        "layer0.aggregation": "mean",
        "layer0.combine": "mlp",
        "layer0.activation": "relu",
    },
}
"""A point of `STUDY`'s space."""
OF_PIXELS = {
    "space": "auto-deeplab",
    "version": 2,
    "choices": {
        "cell.block0.inputs": "0+1",
        "cell.block0.input0.operation": "max_pool",
        "cell.block0.input1.operation": "average_pool",
        "layer1.after4": 8,
        "layer2.after8": 4,
    },
}
"""A point of a space of pixels, for `export`."""


MOLECULES = "smiles,y\n" + "".join(f"{'C' * (1 + number % 20)}O,{number / 7}\n" for number in range(40))
"""A table of molecules, and of one target."""


def write_yaml(path: Path, content: object) -> None:
    """Write plain data as YAML (JSON is YAML)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def right(folder: Path) -> None:
    """Files with which all of `COMMANDS` succeed but `attach`, whose script trains nothing."""
    write_yaml(folder / "run" / "architecture.json", ARCHITECTURE)
    write_yaml(folder / "run" / "config.yaml", {**STUDY, "folder": "run"})
    write_yaml(folder / "study.yaml", STUDY)
    write_yaml(folder / "search.yaml", SEARCH)
    write_yaml(folder / "pixels" / "architecture.json", OF_PIXELS)
    space = {"class_path": "auto-deeplab", "init_args": {"layers": 2, "filters": 2, "blocks": 1}}
    write_yaml(folder / "pixels" / "config.yaml", {"space": space, "task": PIXELS})
    (folder / "pixels" / "network.pt").write_bytes(_weights())
    shutil.copytree(_search(), folder / "searched")
    shutil.copytree(_study(), folder / "trained")
    (folder / "mine.csv").write_text(MOLECULES)
    (folder / "new.csv").write_text("smiles\nCCO\nCCCO\n")


@cache
def _search() -> Path:
    """The folder of a search that has ended."""
    from automl_plugins.cli import main

    home = Path(mkdtemp())
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    write_yaml(home / "search.yaml", SEARCH)
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        main(["search", "--config", str(home / "search.yaml"), "--folder", str(home / "searched")])
    return home / "searched"


@cache
def _study() -> Path:
    """The folder of a study of molecules that has ended."""
    from automl_plugins.cli import main

    home = Path(mkdtemp())
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    (home / "mine.csv").write_text(MOLECULES)
    data = {"path": str(home / "mine.csv"), "smiles_column": "smiles", "target_columns": ["y"], "batch_size": 16}
    write_yaml(home / "study.yaml", {**STUDY, "data": {"class_path": "smiles", "init_args": data}, "trial_epochs": 1})
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        main(["study", "--config", str(home / "study.yaml"), "--folder", str(home / "trained")])
    return home / "trained"


@cache
def _weights() -> bytes:
    """The weights of a network of `OF_PIXELS`."""
    import torch

    from automl_plugins import Architecture, Task
    from seg_space import AutoDeepLabSpace

    space = AutoDeepLabSpace(layers=2, filters=2, blocks=1)
    buffer = BytesIO()
    torch.save(space.network(Architecture.from_json(json.dumps(OF_PIXELS)), Task(**PIXELS)).state_dict(), buffer)
    return buffer.getvalue()


COMMANDS: dict[str, tuple[str, ...]] = {
    "study": ("study", "--config", "study.yaml", "--folder", "new"),
    "search": ("search", "--config", "search.yaml", "--folder", "new"),
    "evaluate": ("evaluate", "run/architecture.json"),
    "fit": ("fit", "--architecture", "run/architecture.json"),
    "show": ("show", "run/architecture.json"),
    "derive": ("derive", "searched"),
    "export": ("export", "--architecture", "pixels/architecture.json", "--size", "32", "out.pt2"),
    "attach": ("attach", "--architecture", "run/architecture.json", "--target", "net", "--", "python", "-c", "pass"),
    "benchmark": ("benchmark", "nas-bench-201"),
    "predict": ("predict", "trained", "--data.path", "new.csv", "--out", "predictions.csv"),
    "export RUN": ("export", "trained", "--out", "found.py"),
    "score": (
        "score",
        "--config",
        "search.yaml",
        "--folder",
        "new",
        "--estimators",
        "[params]",
        "--architectures",
        "3",
    ),
    "init": ("init", "mine.csv", "--out", "init.yaml"),
    "doctor": ("doctor", "searched"),
    "list": ("list",),
}
"""A call of each command, to which what is hostile is added."""
