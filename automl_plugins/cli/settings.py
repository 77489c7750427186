"""Settings as they were given: YAML files and flags, in the order of the command line, as one nested mapping."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from automl_plugins.cli.errors import UsageError
from automl_plugins.nearest import did_you_mean


class Text(str):
    """The value of a flag: its text, and what YAML makes of it; the type of the argument settles which one counts."""

    parsed: Any

    def __new__(cls, text: str) -> Text:
        made = super().__new__(cls, text)
        try:
            made.parsed = yaml.load(text, _Loader)  # noqa: S506 - it is a safe loader
        except yaml.YAMLError:
            made.parsed = text
        return made


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as in JSON and in YAML 1.2, and a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":float", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\d+\.\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


@dataclass
class Given:
    """What a command was given.

    Args:
        settings: keys and values, nested; values of flags are `Text`.
        targets: arguments without a key.
        switches: flags that take no value (`--help`, `--print_config`).
        configs: the YAML files.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    switches: set[str] = field(default_factory=set)
    configs: list[Path] = field(default_factory=list)


def read(arguments: Sequence[str], switches: Sequence[str] = ("help", "print_config"), targets: int = 0) -> Given:
    """Read a command's arguments.

    Args:
        arguments: what follows the command.
        switches: the flags that take no value.
        targets: how many arguments without a key there may be.

    Raises:
        UsageError: a flag without its value, too many arguments, or a YAML file that is missing or broken.
    """
    given = Given()
    rest = ["--help" if argument == "-h" else argument for argument in arguments]
    while rest:
        token = rest.pop(0)
        if not token.startswith("--"):
            given.targets.append(token)
            continue
        key, equals, text = token[2:].partition("=")
        if key in switches:
            given.switches.add(key)
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"--{key} needs a value")
            text = rest.pop(0)
        if key == "config":
            given.configs.append(Path(text))
            given.settings = merge(given.settings, read_yaml(Path(text)))
        elif key.endswith("+"):
            given.settings = _appended(given.settings, key[:-1], Text(text))
        else:
            given.settings = merge(given.settings, _nested(key, Text(text)))
    if len(given.targets) > targets:
        raise UsageError(f"{given.targets[targets]!r} is one argument too many; settings are given as --key value")
    return given


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        UsageError: it does not exist, cannot be read, is no YAML, or is no mapping of names.
    """
    if not path.is_file():
        siblings = [str(other) for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        hint = f"; {did_you_mean(str(path), siblings)}" if siblings else ""
        raise UsageError(f"config={str(path)!r}: there is no such file{hint}")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - it is a safe loader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise UsageError(f"config={str(path)!r}{place}: this is no YAML: {problem}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"config={str(path)!r}: it holds no `key: value` lines, but {str(content)[:60]!r}")
    return content


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others over them; a name over a class's arguments keeps them if it is the same class."""
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merge_value(merged.get(key), value)
    return merged


def _merge_value(base: Any, over: Any) -> Any:
    if isinstance(over, str) and isinstance(base, Mapping):
        over = {"class_path": over}
    if isinstance(over, Mapping) and isinstance(base, list) and base:
        # `--trainer.callbacks+=EarlyStopping --trainer.callbacks.patience=3` speaks of the last one.
        return [*base[:-1], _merge_value(base[-1], over)]
    if not isinstance(over, Mapping):
        return over
    if isinstance(base, str):
        base = {"class_path": base}
    if not isinstance(base, Mapping):
        return dict(over)
    names = base.get("class_path"), over.get("class_path")
    if None not in names and names[0] != names[1]:
        return dict(over)
    return merge(_without_overridden(base, over), over)


def _without_overridden(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` without the arguments that `over` gives in the other of the two places: under `init_args` or beside it."""
    inside, beside = base.get("init_args"), over.get("init_args")
    kept = {key: value for key, value in base.items() if not (isinstance(beside, Mapping) and key in beside)}
    if isinstance(inside, Mapping):
        kept["init_args"] = {key: value for key, value in inside.items() if key not in over}
    return kept


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    if not first:
        raise UsageError(f"--{key} names no key")
    return {first: _nested(rest, value) if rest else value}


def _appended(settings: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Settings with a value added to the list under a key; what was no list becomes its first element."""
    present: Any = settings
    for part in key.split("."):
        present = present.get(part) if isinstance(present, Mapping) else None
    listed = [] if present is None else list(present) if isinstance(present, list) else [present]
    return merge(settings, _nested(key, [*listed, value]))


def plain(value: Any) -> Any:
    """The same settings without `Text`: what YAML makes of it."""
    if isinstance(value, Text):
        return value.parsed
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
