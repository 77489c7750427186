"""A command line as it was given: YAML files and flags, in their order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from automl_plugins.cli.classes import KINDS, SPEC, registered
from automl_plugins.cli.errors import UsageError
from automl_plugins.system.nearest import did_you_mean

_MOST_BYTES = 1 << 18
_MOST_VALUES = 100_000
_DEEPEST = 40
_MOST_SIBLINGS = 50
_PLAIN = (str, int, float, bool, type(None))
_SWITCHES = ("help", "print_config", "overwrite", "probabilities")


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number and 1:30 or 012 is none, as in JSON and in YAML 1.2, and a date is text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if len(set(names)) < len(names):
            twice = next(name for position, name in enumerate(names) if name in names[:position])
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":float", ":int", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_FLOAT = r"^[-+]?(\d+\.\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$"
_INTEGER = r"^[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(_FLOAT), list("-+0123456789."))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(_INTEGER), list("-+0123456789"))


def load(text: str) -> Any:
    """Plain values from YAML.

    Raises:
        yaml.YAMLError: it is none.
        ValueError: it holds what is no plain value, or it unfolds without end.
    """
    try:
        return _unfolded(yaml.load(text, _Loader), [_MOST_VALUES])  # noqa: S506 - it is a safe loader
    except RecursionError:
        raise ValueError(f"it is nested more than {_DEEPEST} deep") from None
    except (TypeError, OverflowError) as error:  # a list for a key, a date of the year 99999
        raise ValueError(str(error)) from error


def _unfolded(value: Any, left: list[int], depth: int = 0) -> Any:
    """A copy without aliases, in which `~/` is the home folder."""
    left[0] -= 1
    if left[0] < 0:
        raise ValueError(f"it unfolds to more than {_MOST_VALUES} values")
    if depth > _DEEPEST:
        raise ValueError(f"it is nested more than {_DEEPEST} deep")
    if isinstance(value, dict):
        return {key: _unfolded(item, left, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_unfolded(item, left, depth + 1) for item in value]
    if not isinstance(value, _PLAIN):
        raise ValueError(f"it holds a {type(value).__name__}, where text, numbers, lists and mappings are taken")
    return _expanded(value) if isinstance(value, str) else value


def _expanded(text: str) -> str:
    """A text in which a leading `~/` is the home folder, as a shell has it."""
    return str(Path(text).expanduser()) if text == "~" or text.startswith("~/") else text


class Item(NamedTuple):
    """A flag, or a YAML file."""

    key: str
    """Of the flag, with a `+` where it adds to a list; empty for a file."""
    value: Any
    """Plain; of a file, a mapping."""
    text: str | None = None
    """Of the flag, unless its value has been replaced."""

    @property
    def written(self) -> str:
        """The value as jsonargparse reads it; of a flag, as its user wrote it."""
        text = self.value if self.text is None else self.text
        return text if isinstance(text, str) else json.dumps(text)

    @property
    def name(self) -> str:
        """The first part of the flag's key."""
        return self.key.partition(".")[0].rstrip("+")


@dataclass(frozen=True)
class Given:
    """Arguments of a command.

    Args:
        items: in their order.
        targets: arguments without a key.
        switches: flags that take no value (`--help`, `--print_config`, and those of single commands).
        configs: the YAML files.
        script: the command after `--`.
        procedure: the one that a search's strategy names; its arguments are under a key `procedure`.
        began: when the command began, before anything that takes long was imported.
    """

    items: tuple[Item, ...] = ()
    targets: tuple[str, ...] = ()
    switches: frozenset[str] = frozenset()
    configs: tuple[Path, ...] = ()
    script: tuple[str, ...] = ()
    procedure: str = ""
    began: datetime = field(default_factory=datetime.now, compare=False)

    def __contains__(self, key: str) -> bool:
        return any(name.startswith((f"{key}.", f"{key}+")) or name == key for name, _ in self.values)

    @cached_property
    def values(self) -> list[tuple[str, Any]]:
        """Every key, such as `space.init_args.layers`, with its value, in their order."""
        return [pair for item in self.items for pair in _flat(item.key, item.value)]

    def get(self, key: str, default: Any = None) -> Any:
        """The value that a key was given last."""
        return next((value for name, value in reversed(self.values) if name == key and value is not None), default)

    def names(self, key: str) -> list[str]:
        """The names under a key, such as those of the Trainer's arguments; `init_args` may stand before them."""
        start = f"{key}."
        under = (name.removeprefix(start) for name, _ in self.values if name.startswith(start))
        names = dict.fromkeys(name.removeprefix("init_args.").partition(".")[0].rstrip("+") for name in under)
        return [name for name in names if name not in SPEC]

    def arguments(self, key: str) -> dict[str, Any]:
        """The arguments of a class that were given, by name."""
        return {name: self.get(self.spelled(f"{key}.{name}")) for name in self.names(key)}

    def spelled(self, key: str) -> str:
        """A key of a class's argument as it was given: beside the class's name, or under `init_args`."""
        flat = key.replace(".init_args.", ".")
        return next((name for name, _ in reversed(self.values) if name.replace(".init_args.", ".") == flat), flat)

    @property
    def bare_module(self) -> dict[str, Any] | None:
        """The arguments for the module that is registered for the data's task; None: it is named, or has none."""
        named = any(
            key == "module.class_path" or (key == "module" and isinstance(value, str)) for key, value in self.values
        )
        return None if named else self.arguments("module") or None

    def stem(self, key: str) -> str:
        """The name of the last YAML file, else of what a key stands for; a run's folder is called so."""
        named = self.get(f"{key}.class_path", self.get(key))
        return self.configs[-1].stem if self.configs else str(named).rpartition(".")[2]

    def needs(self, *keys: str) -> None:
        """Refuse a command line without them.

        Raises:
            UsageError: one is missing; the message says what it is.
        """
        for key in keys:
            if self.get(key) is None and self.get(f"{key}.class_path") is None:
                group = KINDS[key].group or ""
                raise UsageError(f"{key} is missing; it is one of {', '.join(registered(group))}, or has a class_path")

    def check_folder(self, folder: Path) -> None:
        """Refuse files that cannot be read, and folders that cannot be made, before any are.

        Raises:
            UsageError: there is one.
        """
        if any(path.exists() and not path.is_dir() for path in (folder, *folder.parents)):
            raise UsageError(f"folder={str(folder)!r}: there is a file of that name; a run needs a folder")
        # By convention an argument `path` is a file that must be there; a `root` may be made by a download.
        path = self.get("data.path", self.get("data.init_args.path"))
        if isinstance(path, str) and not Path(path).exists():
            raise UsageError(f"data.path={path!r}: there is no such file")

    def joined(self, key: str) -> Given:
        """The same with the flags under a key as one mapping, over that of the YAML files.

        jsonargparse takes `tune.data.batch_size` for a mapping within a mapping where `tune` has a value already.
        """
        if not any(item.key.startswith(f"{key}.") for item in self.items):
            return self
        found: Any = None
        for item in self.items:
            if item.key.startswith(f"{key}."):
                found = {**(found if isinstance(found, dict) else {}), item.key.removeprefix(f"{key}."): item.value}
            elif item.key == key:
                found = item.value
            elif not item.key:
                found = item.value.get(key, found)
        kept = [item for item in self.items if item.key != key and not item.key.startswith(f"{key}.")]
        return replace(self, items=(*kept, Item(key, found)))

    def with_parts_joined(self, *keys: str) -> Given:
        """The same with the flags `sampler.class_path` and those of its arguments as one mapping.

        jsonargparse takes such flags for a class that it could make at once, and ours ask for a space.

        Args:
            keys: of settings that are a class with its arguments, by name or as a mapping.
        """
        joined = self
        for key in keys:
            flags = [item for item in self.items if item.key.startswith(f"{key}.")]
            if not any(item.key == f"{key}.class_path" for item in flags):
                continue
            part: dict[str, Any] = {"class_path": None, "init_args": {}}
            for item in flags:
                name = item.key.removeprefix(f"{key}.").removeprefix("init_args.")
                if name in SPEC:
                    part[name] = item.value
                else:
                    part["init_args"] = {**part["init_args"], name: item.value}
            kept = tuple(item for item in joined.items if item not in flags)
            joined = replace(joined, items=(*kept, Item(key, part)))
        return joined

    def without(self, *keys: str, configs_alone: bool = False) -> Given:
        """The same without some keys; of flags and YAML files, or of the latter alone."""
        kept = (item for item in self.items if not item.key or configs_alone or item.name not in keys)
        items = (
            item if item.key else Item("", {name: item.value[name] for name in item.value if name not in keys})
            for item in kept
        )
        return replace(self, items=tuple(items))


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if key:
        yield key, value
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{key}.{name}" if key else str(name), item)


def _parsed(text: str) -> Any:
    """The value that YAML makes of a flag's text."""
    try:
        # YAML makes null of nothing, but `--trial_epochs=` is a value that was forgotten.
        return load(text) if text else text
    except (yaml.YAMLError, ValueError):
        return text


def read(arguments: Sequence[str]) -> Given:
    """Read a command's arguments.

    Raises:
        UsageError: a flag without its value, or a YAML file that is missing or broken.
    """
    items: list[Item] = []
    targets: list[str] = []
    switches: set[str] = set()
    configs: list[Path] = []
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    rest = ["--help" if argument == "-h" else argument for argument in arguments[:end]]
    while rest:
        token = rest.pop(0)
        key, equals, text = token[2:].partition("=")
        if not token.startswith("--"):
            targets.append(_expanded(token))
        elif key in _SWITCHES:
            switches.add(key)
        elif not all(key.split(".")):
            raise UsageError(f"--{key} names no key")
        else:
            if not equals:
                if not rest or rest[0].startswith("--"):
                    raise UsageError(f"--{key} needs a value")
                text = rest.pop(0)
            text = _expanded(text)
            if key == "config":
                configs.append(Path(text))
                items.append(Item("", read_yaml(configs[-1])))
            else:
                items.append(Item(key, _parsed(text), text))
    return Given(tuple(items), tuple(targets), frozenset(switches), tuple(configs), tuple(arguments[end + 1 :]))


def read_text(path: Path, key: str) -> str:
    """The text of a file that somebody may have made for us.

    Args:
        path: of the file.
        key: what the messages call it.

    Raises:
        UsageError: it does not exist, is no regular file, is too large for what it should be, or is no text.
    """
    name = f"{key}={str(path)!r}"
    try:
        if path.is_dir():
            raise UsageError(f"{name}: it is a folder; name a file in it")
        if not path.exists():
            siblings = [str(other) for other in path.parent.glob(f"*{path.suffix}")] if path.parent.is_dir() else []
            hint = f"; {did_you_mean(str(path), siblings)}" if siblings and len(siblings) < _MOST_SIBLINGS else ""
            raise UsageError(f"{name}: there is no such file{hint}")
        if not path.is_file():
            raise UsageError(f"{name}: it is no regular file")
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{name}: it has {path.stat().st_size:,} bytes; more than {_MOST_BYTES:,} is no {key}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name}: it is no text in UTF-8: byte {error.start} is {error.object[error.start]:#x}"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{name}: it cannot be read: {reason}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        UsageError: it does not exist, cannot be read, is no YAML, or is no mapping of names.
    """
    text = read_text(path, "config")
    try:
        content = load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        cure = "; indent with blanks" if "'\\t'" in str(problem) else ""
        raise UsageError(f"config={str(path)!r}{place}: this is no YAML of settings: {problem}{cure}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"config={str(path)!r}: it holds no `key: value` lines, but {str(content)[:60]!r}")
    return content
