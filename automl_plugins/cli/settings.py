"""Settings as they were given: YAML files and flags, in the order of the command line, as one nested mapping."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from automl_plugins.cli.errors import UsageError
from automl_plugins.system.nearest import did_you_mean

_MOST_BYTES = 1 << 18
_MOST_VALUES = 100_000
_DEEPEST = 40
_PLAIN = (str, int, float, bool, type(None))


class Text(str):
    """The value of a flag: its text, and what YAML makes of it; the type of the argument settles which one counts."""

    parsed: Any

    def __new__(cls, text: str) -> Text:
        made = super().__new__(cls, expanded(text))
        try:
            # YAML makes null of nothing, but `--trial_epochs=` is a value that was forgotten.
            made.parsed = _load(text) if text else ""
        except (yaml.YAMLError, ValueError):
            made.parsed = str(made)
        return made


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
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\d+\.\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)


def _load(text: str) -> Any:
    """What YAML makes of a text, as plain values.

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
        return {key: _unfolded(each, left, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_unfolded(each, left, depth + 1) for each in value]
    if not isinstance(value, _PLAIN):
        raise ValueError(f"it holds a {type(value).__name__}, where text, numbers, lists and mappings are taken")
    return expanded(value) if isinstance(value, str) else value


def expanded(text: str) -> str:
    """A text in which a leading `~/` is the home folder, as a shell has it."""
    return str(Path(text).expanduser()) if text == "~" or text.startswith("~/") else text


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
            given.targets.append(expanded(token))
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
            given.configs.append(Path(expanded(text)))
            given.settings = merge(given.settings, read_yaml(given.configs[-1]))
        elif key.endswith("+"):
            given.settings = _appended(given.settings, key[:-1], Text(text))
        else:
            given.settings = merge(given.settings, _nested(key, Text(text)))
    if len(given.targets) > targets:
        raise UsageError(f"{given.targets[targets]!r} is one argument too many; settings are given as --key value")
    return given


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


_MOST_SIBLINGS = 50


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        UsageError: it does not exist, cannot be read, is no YAML, or is no mapping of names.
    """
    text = read_text(path, "config")
    try:
        content = _load(text)
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


def flattened(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which what Lightning's saved config has under `model` stands beside the rest.

    Raises:
        UsageError: `model` holds anything else.
    """
    model = settings.get("model")
    if model is None:
        return {key: value for key, value in settings.items() if key != "model"}
    known = ("architecture", "space", "module", "module_arguments")
    if not isinstance(model, Mapping) or not set(model) <= set(known):
        raise UsageError(
            f"model={str(plain(model))[:60]}: it has {', '.join(known)}; name the LightningModule as `module`"
        )
    module = model.get("module") or model.get("module_arguments")
    model = {key: value for key, value in model.items() if key != "module_arguments"} | {"module": module}
    return merge({key: value for key, value in settings.items() if key != "model"}, model)


def plain(value: Any) -> Any:
    """The same settings without `Text`: what YAML makes of it."""
    if isinstance(value, Text):
        return value.parsed
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
