"""Files that would have code run: callables in place of classes, Python's YAML tags, and pickles."""

from __future__ import annotations

import copy
import io
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from inputs import ARCHITECTURE, COMMANDS, OWNED, SEARCH, STUDY, HostileInput, right, write_yaml

_EVIL = f"""
from pathlib import Path

class Evil:
    def __init__(self, *arguments, **options):
        Path({OWNED!r}).touch()

def evil(*arguments, **options):
    Path({OWNED!r}).touch()

class EvilMeta(type):
    def __call__(cls, *arguments, **options):
        Path({OWNED!r}).touch()

class Made(metaclass=EvilMeta):
    pass
"""
"""A module that does nothing when it is imported: that a class path's module is imported is what a class path is."""

CALLABLES: dict[str, dict[str, Any]] = {
    "subprocess.Popen": {"args": f"touch {OWNED}", "shell": True},
    "os.system": {"command": f"touch {OWNED}"},
    "builtins.open": {"file": OWNED, "mode": "w"},
    "builtins.exec": {"source": f"open('{OWNED}', 'w')"},
    "pathlib.Path.touch": {"self": OWNED},
    "shutil.copy": {"src": "study.yaml", "dst": OWNED},
    "runpy.run_path": {"path_name": "evil_script.py"},
    "logging.FileHandler": {"filename": OWNED},
    "evil.Evil": {},
    "evil.evil": {},
    "evil.Made": {},
}

SLOTS: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "trainer.callbacks": lambda config, made: config["trainer"].update(callbacks=[made]),
    "trainer.callbacks, not in a list": lambda config, made: config["trainer"].update(callbacks=made),
    "trainer.logger": lambda config, made: config["trainer"].update(logger=made),
    "trainer.loggers": lambda config, made: config["trainer"].update(logger=[made]),
    "trainer.strategy": lambda config, made: config["trainer"].update(strategy=made),
    "trainer.accelerator": lambda config, made: config["trainer"].update(accelerator=made),
    "trainer.plugins": lambda config, made: config["trainer"].update(plugins=[made]),
    "trainer.profiler": lambda config, made: config["trainer"].update(profiler=made),
    "trainer.max_epochs": lambda config, made: config["trainer"].update(max_epochs=made),
    "trainer.default_root_dir": lambda config, made: config["trainer"].update(default_root_dir=made),
    "a callback's argument": lambda config, made: config["trainer"].update(
        callbacks=[{"class_path": "pytorch_lightning.callbacks.ModelCheckpoint", "init_args": {"dirpath": made}}]
    ),
    "a callback's callable": lambda config, made: config["trainer"].update(
        callbacks=[{"class_path": "pytorch_lightning.callbacks.LambdaCallback", "init_args": {"on_fit_start": made}}]
    ),
    "space": lambda config, made: config.update(space=made),
    "space's argument": lambda config, made: config["space"]["init_args"].update(max_parameters=made),
    "data": lambda config, made: config.update(data=made),
    "data's argument": lambda config, made: config["data"]["init_args"].update(num_train=made),
    "module": lambda config, made: config.update(module=made),
    "module's argument": lambda config, made: config.update(
        module={"class_path": "NodeClassification", "init_args": {"learning_rate": made}}
    ),
}
OF_A_STUDY: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "sampler": lambda config, made: config.update(sampler=made),
    "sampler's callable": lambda config, made: config.update(
        sampler={"class_path": "TPESampler", "init_args": {"gamma": made}}
    ),
    "pruner": lambda config, made: config.update(pruner=made),
    "reward": lambda config, made: config.update(reward=made),
    "task": lambda config, made: config.update(task=made),
    "references": lambda config, made: config.update(references=[made]),
    "limits": lambda config, made: config.update(limits={"params": made}),
    "storage": lambda config, made: config.update(storage=made),
}
OF_A_SEARCH: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "search": lambda config, made: config.update(search=made),
    "search.strategy": lambda config, made: config.update(search={"strategy": made}),
    "search.search_data": lambda config, made: config.update(search={"search_data": made}),
    "search.betas": lambda config, made: config.update(search={"betas": made}),
}

TAGS: dict[str, str] = {
    "object/apply": f"!!python/object/apply:os.system ['touch {OWNED}']",
    "object/new": f"!!python/object/new:evil.Evil ['touch {OWNED}']",
    "object": "!!python/object:evil.Evil {}",
    "name": "!!python/name:os.system",
    "module": "!!python/module:evil",
    "a long tag": f"!<tag:yaml.org,2002:python/object/apply:subprocess.getoutput> ['touch {OWNED}']",
}


def code() -> Iterator[HostileInput]:
    """Everything that would have code run."""
    yield from _callables()
    yield from _tags()
    yield from _pickles()


def _callables() -> Iterator[HostileInput]:
    names = list(CALLABLES)
    for command, base, further in (("study", STUDY, OF_A_STUDY), ("search", SEARCH, OF_A_SEARCH)):
        for number, (slot, put) in enumerate((SLOTS | further).items()):
            for name in dict.fromkeys(("subprocess.Popen", "evil.Evil", names[number % len(names)])):
                config = copy.deepcopy(base)
                put(config, {"class_path": name, "init_args": CALLABLES[name]})
                yield HostileInput(
                    "code",
                    f"{command} --config: {slot} is {name}",
                    (command, "--config", "hostile.yaml", "--folder", "new"),
                    _config("hostile.yaml", config),
                )
    readers = ("evaluate", "fit", "show", "derive", "export", "attach")
    for number, (slot, put) in enumerate(SLOTS.items()):
        name = ("subprocess.Popen", "evil.Evil", "os.system")[number % 3]
        config = copy.deepcopy(STUDY)
        put(config, {"class_path": name, "init_args": CALLABLES[name]})
        # What reads less of a config may succeed with one that is hostile elsewhere; these read all of it.
        for command in readers[:2] if slot.startswith(("trainer", "a callback", "data", "module")) else readers[:3]:
            yield HostileInput(
                "code", f"{command}, config of the run: {slot} is {name}", COMMANDS[command],
                _config("run/config.yaml", {**config, "folder": "run"}),
            )  # fmt: skip


def _tags() -> Iterator[HostileInput]:
    for number, (kind, tag) in enumerate(TAGS.items()):
        key = ("trials", "space", "trainer", "seed", "data", "task")[number]
        for command in ("study", "search"):
            yield HostileInput(
                "code",
                f"{command} --config: {key} has Python's tag {kind}",
                (command, "--config", "hostile.yaml"),
                _text("hostile.yaml", f"{key}: {tag}\n"),
            )
            yield HostileInput(
                "code", f"{command} --{key}: Python's tag {kind}", (*COMMANDS[command], f"--{key}={tag}"), _text()
            )
        command = ("evaluate", "fit", "show", "export", "attach", "derive")[number]
        yield HostileInput(
            "code", f"{command}, config of the run: Python's tag {kind}", COMMANDS[command],
            _text("run/config.yaml", f"{key}: {tag}\n"),
        )  # fmt: skip


class _Touches:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {OWNED}",)


def pickled() -> bytes:
    """A pickle that touches the file when it is read."""
    return pickle.dumps({"state_dict": _Touches(), "x": _Touches()})


def torch_pickle() -> bytes:
    """The same, in the archive that torch.save writes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled())
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return buffer.getvalue()


def numpy_pickle(name: str = "x") -> bytes:
    """An npz with an array of objects."""
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': (1,), }}{' ' * 55}\n".encode()
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + pickled()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for each in (name, "adj_indptr", "adj_indices", "y", "edge_index"):
            archive.writestr(f"{each}.npy", array)
    return buffer.getvalue()


def _pickles() -> Iterator[HostileInput]:
    forms = {"a pickle": pickled, "torch's archive": torch_pickle}
    for kind, make in forms.items():
        for name, arguments, path in (
            ("derive", ("derive", "hostile.ckpt", "--space", "egnas"), "hostile.ckpt"),
            ("derive of a run", COMMANDS["derive"], "searched/checkpoints/last.ckpt"),
            ("fit --ckpt_path", (*COMMANDS["fit"], "--ckpt_path", "hostile.ckpt"), "hostile.ckpt"),
            ("test --ckpt_path", ("test", *COMMANDS["fit"][1:], "--ckpt_path", "hostile.ckpt"), "hostile.ckpt"),
            (
                "validate --ckpt_path",
                ("validate", *COMMANDS["fit"][1:], "--ckpt_path", "hostile.ckpt"),
                "hostile.ckpt",
            ),
            ("export --weights", (*COMMANDS["export"], "--weights", "hostile.ckpt"), "hostile.ckpt"),
            ("export of a run", COMMANDS["export"], "pixels/network.pt"),
            ("search that goes on", COMMANDS["search"], "new/checkpoints/last.ckpt"),
        ):
            yield HostileInput("code", f"{name}: {kind}", arguments, _bytes(path, make()))
    for kind, path, content in (
        ("an npz of objects", "hostile.npz", numpy_pickle()),
        ("a pickle that is called npz", "hostile.npz", pickled()),
    ):
        flags = ("--data", "npz-graph", "--data.path", "hostile.npz")
        study = tuple(part for part in ("study", "--space", "agnn", *flags, "--trials", "1", "--trainer.max_epochs=1"))
        yield HostileInput("code", f"study: {kind}", study, _bytes(path, content))
    for name, folder in (("planetoid", "Cora"), ("tudataset", "MUTAG")):
        flags = (f"--data={name}", f"--data.name={folder}", "--data.root=root", "--trials=1", "--trainer.max_epochs=1")
        for place in (f"root/{folder}/processed/data.pt", f"root/{folder}/processed/pre_transform.pt"):
            yield HostileInput(
                "code", f"study: {place} is torch's archive", ("study", "--space=agnn", *flags),
                _bytes(place, torch_pickle()),
            )  # fmt: skip


def _evil(folder: Path) -> None:
    right(folder)
    (folder / "evil.py").write_text(_EVIL, encoding="utf-8")
    (folder / "evil_script.py").write_text(f"open({OWNED!r}, 'w')\n", encoding="utf-8")
    write_yaml(folder / "architecture.json", ARCHITECTURE)


def _config(name: str, content: dict[str, Any]) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        _evil(folder)
        write_yaml(folder / name, content)

    return prepare


def _text(name: str | None = None, text: str = "") -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        _evil(folder)
        if name is not None:
            for path in (name, name.replace("run/", "pixels/"), name.replace("run/", "searched/")):
                (folder / path).write_text(text, encoding="utf-8")

    return prepare


def _bytes(name: str, content: bytes) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        _evil(folder)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return prepare
