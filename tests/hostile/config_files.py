"""Config files that are broken, and files that are no config at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from inputs import COMMANDS, HostileInput, right

_LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

TEXTS: dict[str, bytes] = {
    "an open bracket": b"space: [agnn\n",
    "a list": b"- agnn\n- cluster\n",
    "a word": b"agnn\n",
    "a number": b"3\n",
    "a tab": b"space:\n\tclass_path: agnn\n",
    "bytes that are no text": bytes(range(128, 256)),
    "a program": b"\x7fELF\x02\x01\x01" + bytes(200),
    "zeros": bytes(4096),
    "UTF-16": "space: agnn\n".encode("utf-16"),
    "brackets ten thousand deep": b"space: " + b"[" * 10_000,
    "mappings a thousand deep": b"space: " + b"{a: " * 1_000 + b"1" + b"}" * 1_000,
    "an anchor in itself": b"space: &a [*a]\n",
    "a billion laughs": _LAUGHS.encode() + b"trials: *i\n",
    "an unknown anchor": b"space: *nosuch\n",
    "two documents": b"space: agnn\n---\nspace: egnas\n",
    "numbers for keys": b"1: agnn\n2: cluster\n",
    "a key twice": b"trials: 1\ntrials: 2\nspace: agnn\n",
    "a mapping for a key": b"? {a: 1}\n: agnn\n",
    "an unknown tag": b"space: !nosuch agnn\n",
    "Python's tuple": b"space: !!python/tuple [agnn]\n",
    "a time": b"trials: 2001-12-14t21:59:43.10-05:00\n",
    "binary": b"space: !!binary R0lGODlhDAAMAIQAAP\n",
    "a set": b"space: !!set {agnn, egnas}\n",
    "null everywhere": b"space: null\ndata: null\ntrainer: null\n",
    "a mapping where there is a list": b"references: {a: b}\n",
    "a list where there is a mapping": b"trainer: [1, 2]\n",
    "a class without a name": b"space: {init_args: {layers: 1}}\n",
    "a name that is a number": b"space: {class_path: 3}\n",
    "arguments that are a list": b"space: {class_path: agnn, init_args: [1]}\n",
    "arguments in both places": b"space: {class_path: agnn, layers: 1, init_args: {nosuch: 2}}\n",
    "a word of a million letters": b"space: " + b"a" * 1_000_000 + b"\n",
    "JSON that is cut off": b'{"space": {"class_path": "agnn"',
}


_OF_OTHERS = ("a time", "null everywhere")
"""What concerns no key that all commands read."""


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


NO_FILES: dict[str, Callable[[Path], None]] = {
    "a pipe": _fifo,
    "a folder": _directory,
    "a link to itself": _loop,
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
}

BASES = {
    "study": ("study",),
    "search": ("search",),
    "evaluate": ("evaluate", "run/architecture.json"),
    "fit": ("fit", "--architecture", "run/architecture.json"),
    "export": COMMANDS["export"],
}


def config_files() -> Iterator[HostileInput]:
    """Configs that are given with `--config`, and such as lie beside an architecture in a run's folder."""
    kinds = {kind: _writer(content) for kind, content in TEXTS.items()} | NO_FILES
    for number, (kind, make) in enumerate(kinds.items()):
        third = ("evaluate", "fit", "export")[number % 3]
        # `export` reads little of a config, and is not harmed by the rest.
        for command in ("study", "search", third) if kind not in _OF_OTHERS else ("study", "search"):
            yield HostileInput(
                "configs", f"{command} --config: {kind}", (*BASES[command], "--config", "hostile.yaml"), _beside(make)
            )
        if kind in _OF_OTHERS:
            continue
        command = ("evaluate", "fit", "export", "show", "attach", "derive")[number % 6]
        yield HostileInput("configs", f"{command}, config of the run: {kind}", COMMANDS[command], _of_the_run(make))


def _writer(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _beside(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        right(folder)
        make(folder / "hostile.yaml")

    return prepare


def _of_the_run(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        right(folder)
        for run in ("run", "pixels", "searched"):
            (folder / run / "config.yaml").unlink()
            make(folder / run / "config.yaml")

    return prepare
