"""Files that runs leave behind, broken: architectures, checkpoints, weights, and what lies in a run's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from inputs import ARCHITECTURE, COMMANDS, STUDY, HostileInput, right, write_yaml

_CHOICES = ARCHITECTURE["choices"]


def _with(**changes: object) -> bytes:
    return json.dumps({**ARCHITECTURE, **changes}).encode()


def _choices(**changes: object) -> bytes:
    return _with(choices={**_CHOICES, **{name.replace("__", "."): value for name, value in changes.items()}})


ARCHITECTURES: dict[str, bytes] = {
    "empty": b"",
    "cut off": json.dumps(ARCHITECTURE).encode()[:40],
    "no JSON": b"layer0: gcn",
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
    "an empty mapping": b"{}",
    "no text": bytes(range(128, 256)),
    "UTF-16": json.dumps(ARCHITECTURE).encode("utf-16"),
    "lists ten thousand deep": b"[" * 10_000 + b"]" * 10_000,
    "mappings ten thousand deep": b'{"space":' * 10_000 + b"1" + b"}" * 10_000,
    "a number of ten thousand digits": b'{"space": "agnn", "version": ' + b"9" * 10_000 + b', "choices": {}}',
    "NaN": json.dumps(ARCHITECTURE).replace('"gcn"', "NaN").encode(),
    "Infinity for a version": json.dumps(ARCHITECTURE).replace(": 1,", ": Infinity,", 1).encode(),
    "another space": _with(space="egnas"),
    "no such space": _with(space="nosuch"),
    "a class path for a space": _with(space="subprocess.Popen"),
    "a space that is a number": _with(space=3),
    "an older version": _with(version=0),
    "a newer version": _with(version=99),
    "a version that is true": _with(version=True),
    "no choices": _with(choices={}),
    "choices in a list": _with(choices=list(_CHOICES.items())),
    "choices that are null": _with(choices=None),
    "a choice too many": _choices(layer7__attention="gcn"),
    "an unknown option": _choices(layer0__attention="nosuch"),
    "an option in a list": _choices(layer0__attention=["gcn"]),
    "an option in a mapping": _choices(layer0__attention={"class_path": "os.system"}),
    "an option that is null": _choices(layer0__attention=None),
    "a number in quotes": _choices(layer0__heads="1"),
    "a float for an integer": _choices(layer0__heads=1.0000001),
    "true for one": _choices(layer0__heads=True),
    "no such width": _choices(layer0__hidden_channels=10**9),
    "a million choices": _with(choices={f"c{number}": 1 for number in range(100_000)}),
}

_READERS = {
    "show": COMMANDS["show"],
    "evaluate": COMMANDS["evaluate"],
    "fit": COMMANDS["fit"],
    "export": COMMANDS["export"],
    "attach": COMMANDS["attach"],
    "evaluate of the run": ("evaluate", "run"),
}

_PLACES: dict[str, Callable[[Path], None]] = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a device of nothing": lambda path: path.symlink_to("/dev/null"),
    "missing": lambda path: None,
}

CHECKPOINTS: dict[str, bytes] = {
    "empty": b"",
    "text": b"not a checkpoint\n",
    "half an archive": b"PK\x03\x04" + bytes(100),
    "an archive of nothing": b"PK\x05\x06" + bytes(18),
    "zeros": bytes(10_000),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
}

_SAVED: dict[str, object] = {
    "a list": [1, 2],
    "a number": 3,
    "an empty mapping": {},
    "a mapping of text": {"state_dict": "weights"},
    "a state that is null": {"state_dict": None},
    "numbers for names": {"state_dict": {1: 2}},
    "another network's weights": {"state_dict": {"network.weight": [1.0, 2.0]}},
    "nested ten deep": {"state_dict": {"a": {"b": {"c": {}}}}},
}


def _checkpoint_commands() -> dict[str, tuple[tuple[str, ...], str]]:
    return {
        "derive": (("derive", "hostile.ckpt", "--space", "egnas"), "hostile.ckpt"),
        "derive of a run": (COMMANDS["derive"], "searched/checkpoints/last.ckpt"),
        "fit --ckpt_path": ((*COMMANDS["fit"], "--ckpt_path", "hostile.ckpt"), "hostile.ckpt"),
        "test --ckpt_path": (("test", *COMMANDS["fit"][1:], "--ckpt_path", "hostile.ckpt"), "hostile.ckpt"),
        "export --weights": ((*COMMANDS["export"], "--weights", "hostile.ckpt"), "hostile.ckpt"),
    }


def artifacts() -> Iterator[HostileInput]:
    """Broken architectures, checkpoints and folders of runs."""
    yield from _architectures()
    yield from _checkpoints()
    yield from _folders()
    yield from _trained()


def _architectures() -> Iterator[HostileInput]:
    for number, (kind, content) in enumerate(ARCHITECTURES.items()):
        for name in dict.fromkeys(("show", "fit", list(_READERS)[number % len(_READERS)])):
            yield HostileInput(
                "artifacts", f"{name}: an architecture.json that is {kind}", _READERS[name], _architecture(content)
            )
    for number, (kind, make) in enumerate(_PLACES.items()):
        for name in dict.fromkeys(("evaluate", list(_READERS)[(number + 2) % len(_READERS)])):
            yield HostileInput(
                "artifacts", f"{name}: an architecture.json that is {kind}", _READERS[name], _architecture(make)
            )


def _checkpoints() -> Iterator[HostileInput]:
    commands = _checkpoint_commands()
    for number, kind in enumerate([*CHECKPOINTS, *_SAVED]):
        for name in dict.fromkeys(("fit --ckpt_path", list(commands)[number % 5], list(commands)[(number + 1) % 5])):
            arguments, path = commands[name]
            yield HostileInput("artifacts", f"{name}: a checkpoint that is {kind}", arguments, _checkpoint(path, kind))


def _folders() -> Iterator[HostileInput]:
    again = ("study", "--config", "study.yaml", "--folder", "run")
    for kind, files in {
        "a journal of bytes": {"run/study.journal": bytes(range(256))},
        "a config of another study": {"run/config.yaml": b"space: egnas\ndata: cluster\ntrials: 3\n"},
        "a config that is a search's": {"run/config.yaml": json.dumps({**STUDY, "search": {}}).encode()},
    }.items():
        yield HostileInput("artifacts", f"study in a folder with {kind}", again, _files(files))
    for kind, content in {"empty": b"", "a list": b"[]", "no JSON": b"{", "another thing": b'{"a": 1}'}.items():
        yield HostileInput(
            "artifacts", f"show of a run: a summary.json that is {kind}", ("show", "run"),
            _files({"run/summary.json": content}),
        )  # fmt: skip
        yield HostileInput(
            "artifacts", f"show of a search: a search.json that is {kind}", ("show", "run"),
            _files({"run/search.json": content, "run/config.yaml": json.dumps({**STUDY, "search": {}}).encode()}),
        )  # fmt: skip


_KEPT = {
    "architecture.json": ("empty", "cut off", "a list", "another space", "an older version", "no choices", "no text"),
    "preprocessing.json": ("empty", "cut off", "a list", "an empty mapping", "no text", "NaN"),
    "winner.json": ("a list", "no text", "an empty mapping"),
}
"""Files of a run that has trained, and kinds of `ARCHITECTURES` that stand in their place."""


def _trained() -> Iterator[HostileInput]:
    """Runs that have trained, of which a file is broken: for `predict`, `export` and `doctor`."""
    readers = {"predict": COMMANDS["predict"], "export RUN": COMMANDS["export RUN"], "doctor": ("doctor", "trained")}
    for file, kinds in _KEPT.items():
        for kind in kinds:
            # Choices are looked at where a network is made.
            left = {"doctor"} if kind == "no choices" else set()
            for name in sorted(readers.keys() - left) if file == "architecture.json" else ("predict",):
                files = {f"trained/{file}": ARCHITECTURES[kind]}
                yield HostileInput("artifacts", f"{name}: {file} that is {kind}", readers[name], _files(files))
    for kind, content in CHECKPOINTS.items():
        for name in ("predict", "export RUN"):
            yield HostileInput(
                "artifacts", f"{name}: trained weights that are {kind}", readers[name], _every_weight(content)
            )
    newer = {"trained/summary.json": b'{"format": 99, "version": "9.9"}'}
    yield HostileInput("artifacts", "doctor of a run of a newer format", readers["doctor"], _files(newer))


def _every_weight(content: bytes) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        right(folder)
        for path in (folder / "trained").rglob("*"):
            if path.suffix in (".ckpt", ".pt"):
                path.write_bytes(content)

    return prepare


def _architecture(what: bytes | Callable[[Path], None]) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        right(folder)
        for run in ("run", "pixels"):
            path = folder / run / "architecture.json"
            path.unlink()
            if isinstance(what, bytes):
                path.write_bytes(what)
            else:
                what(path)

    return prepare


def _checkpoint(name: str, kind: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        right(folder)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind in CHECKPOINTS:
            path.write_bytes(CHECKPOINTS[kind])
            return
        import torch

        torch.save(_SAVED[kind], path)

    return prepare


def _files(files: dict[str, bytes]) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        right(folder)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        if "run/config.yaml" not in files:
            write_yaml(folder / "run" / "config.yaml", {**STUDY, "folder": "run"})

    return prepare
