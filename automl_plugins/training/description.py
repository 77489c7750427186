"""Objects described as plain JSON, to tell whether two studies were set up alike."""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch

from automl_plugins.training.digest import Digest, file_digest

NOTE = "("
"""A key that begins so is a note to the reader, and is not compared."""
_UNSEEN = "(not seen)"
_DEPTH = 12
_LONG = 256
"""A longer list is its digest."""


def describe(thing: Any) -> Any:
    """The JSON of what an object was made with.

    Plain values are themselves; arrays, tensors and tables are their digests; a path to a file that exists is the
    file's content, wherever it lies. A class or a function is its import path, with its code where it has no path of
    its own (a lambda); a `functools.partial` is its function's with the arguments. Any other object is its class's
    with the arguments of its constructor, as they are kept by `save_hyperparameters()` or under their own names, with
    or without a leading underscore; and a module of torch with its weights, too. Arguments that are kept nowhere are
    listed under `(not seen)`.
    """
    return _described(thing, ())


def unseen(description: Any, key: str = "") -> Iterator[str]:
    """The arguments of a description that could not be seen, by their dotted names."""
    if isinstance(description, Mapping):
        for name, part in description.items():
            if name == _UNSEEN:
                yield from (f"{key}.{argument}".lstrip(".") for argument in part)
            else:
                yield from unseen(part, f"{key}.{name}".lstrip("."))
    elif isinstance(description, list):
        for index, part in enumerate(description):
            yield from unseen(part, f"{key}.{index}")


def _described(thing: Any, within: tuple[int, ...]) -> Any:
    if isinstance(thing, float):
        return float(thing) if math.isfinite(thing) else str(thing)
    if isinstance(thing, enum.Enum):
        return f"{import_path(type(thing))}.{thing.name}"
    if thing is None or isinstance(thing, bool | int):
        return thing
    if isinstance(thing, str | os.PathLike):
        return _text(thing)
    if isinstance(thing, np.generic):
        return _described(thing.item(), within)
    if isinstance(thing, np.ndarray | torch.Tensor | bytes) or hasattr(thing, "to_numpy"):
        return _content(thing)
    if isinstance(thing, torch.dtype | torch.device | torch.Generator | np.random.Generator):
        return str(thing).partition(" at 0x")[0]
    if id(thing) in within or len(within) > _DEPTH:
        return f"<{import_path(type(thing))}>"
    within = (*within, id(thing))
    if isinstance(thing, Mapping):
        return {str(key): _described(value, within) for key, value in thing.items()}
    if isinstance(thing, list | tuple | range):
        if len(thing) > _LONG:
            return _content(thing)
        return [_described(value, within) for value in thing]
    if isinstance(thing, set | frozenset):
        return sorted((_described(value, within) for value in thing), key=repr)
    if isinstance(thing, functools.partial):
        return _partial(thing.func, list(thing.args), thing.keywords, within)
    if isinstance(thing, MethodType):
        return {"method": thing.__name__, "of": _described(thing.__self__, within)}
    if isinstance(thing, FunctionType) and "<" in thing.__qualname__:
        return _function(thing, within)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return import_path(thing)
    return _object(thing, within)


def _partial(call: Any, arguments: list[Any], keywords: Mapping[str, Any], within: tuple[int, ...]) -> dict[str, Any]:
    """A call that is not made yet, with the defaults of the keywords that were left out."""
    while str(getattr(call, "__module__", "")).startswith("jsonargparse.") and arguments:
        call, *arguments = arguments  # how the command line makes one
    defaults = {}
    with suppress(TypeError, ValueError):
        parameters = inspect.signature(call).parameters.values()
        defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    return {
        "call": _described(call, within),
        "arguments": _described(arguments, within),
        "keywords": _described({**defaults, **keywords}, within),
    }


def _text(thing: str | os.PathLike[str]) -> Any:
    """A text; a path to an existing file or folder as what it leads to."""
    text = str(thing)
    if isinstance(thing, str) and ((os.sep not in text and "." not in text) or "\n" in text or "://" in text):
        return text
    path = Path(text).expanduser()
    try:
        if path.is_file():
            return {"file": f"{path.stat().st_size:,} bytes, {file_digest(path)}", "(called)": path.name}
        if path.is_dir() or not isinstance(thing, str):
            # What is in a folder is seen where it is read; it may be made later, and moved.
            return {"folder": "", "(called)": text}
    except OSError:
        pass
    return text


def _content(thing: Any) -> dict[str, Any]:
    digest = Digest()
    digest.add(thing)
    size = list(getattr(thing, "shape", [len(thing) if hasattr(thing, "__len__") else 1]))
    return {"class": import_path(type(thing)), "size": size, "content": digest.rounded}


def import_path(thing: Any) -> str:
    """The import path of a class or function; a script's own are the same however it is started."""
    module = str(getattr(thing, "__module__", None))
    if module in ("__main__", "__mp_main__"):
        main = sys.modules["__main__"]
        module = getattr(main.__spec__, "name", None) or Path(getattr(main, "__file__", None) or module).stem
    return f"{module}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def _function(thing: FunctionType, within: tuple[int, ...]) -> dict[str, Any]:
    """A lambda or a function within a function: many share a name, so its code tells them apart."""
    cells = [cell.cell_contents for cell in thing.__closure__ or () if cell != type(cell)()]
    return {
        "call": import_path(thing),
        "code": _code(thing.__code__),
        "defaults": _described([thing.__defaults__, thing.__kwdefaults__], within),
        "closure": _described(cells, within),
    }


def _code(code: CodeType) -> str:
    constants = [_code(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    content = repr((code.co_code, code.co_names, constants))
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _object(thing: Any, within: tuple[int, ...]) -> dict[str, Any]:
    arguments, missing = kept_arguments(thing)
    seen = {name: _described(value, within) for name, value in arguments.items()}
    if isinstance(thing, torch.nn.Module) and (state := thing.state_dict()):
        seen["weights"] = _content(state)
    return {"class": import_path(type(thing)), **seen, **({_UNSEEN: missing} if missing else {})}


def kept_arguments(thing: Any) -> tuple[dict[str, Any], list[str]]:
    """The arguments of an object's constructor that it keeps, with their values, and the names of the others."""
    kept = _kept(thing)
    saved = kept.get("_hparams")
    seen: dict[str, Any] = {}
    missing = []
    for name in dict.fromkeys([*_arguments(type(thing)), *(saved if isinstance(saved, Mapping) else ())]):
        key = next((key for key in (name, f"_{name}") if key in kept), None)
        if key is None:
            missing.append(name)
        else:
            seen[name] = kept[key]
    return seen, missing


def _kept(thing: Any) -> dict[str, Any]:
    """An object's attributes: its own, those of a torch module, and saved hyperparameters over them."""
    kept = dict(vars(thing)) if hasattr(thing, "__dict__") else {}
    for slot in (slot for cls in type(thing).__mro__ for slot in getattr(cls, "__slots__", ())):
        if isinstance(slot, str) and hasattr(thing, slot):
            kept[slot] = getattr(thing, slot)
    for held in ("_buffers", "_modules", "_hub_mixin_config", "_hparams"):  # Hugging Face's, of models such as smp's
        if isinstance(kept.get(held), Mapping):
            kept |= dict(kept[held])
    return kept


def _arguments(cls: type) -> list[str]:
    """The names of a constructor's arguments, and of its parents' where it hands on what it does not name."""
    names: dict[str, None] = {}
    for parent in cls.__mro__[:-1]:
        constructor = vars(parent).get("__init__")
        if constructor is None:
            continue
        try:
            parameters = list(inspect.signature(constructor).parameters.values())[1:]
        except (TypeError, ValueError):
            break
        named = (each for each in parameters if each.kind is not each.VAR_KEYWORD)
        # What a parent calls *args is for parents of its own.
        names |= dict.fromkeys(each.name for each in named if parent is cls or each.kind is not each.VAR_POSITIONAL)
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return list(names)


def first_difference(before: Any, now: Any) -> tuple[str, Any, Any] | None:
    """The first key, dotted down to the innermost, in which two descriptions differ, with both values; else None."""
    return next(differences(before, now), None)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """All keys in which two descriptions differ, each dotted down to the innermost, with both values."""
    for key in dict.fromkeys([*now, *before]):
        old, new = before.get(key), now.get(key)
        if key.startswith(NOTE) or _bare(old) == _bare(new) or _is_folder(old, new) or _is_folder(new, old):
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping) and _is_of_parts(old, new):
            for inner, *values in differences(old, new):
                yield f"{key}.{inner}", values[0], values[1]
        else:
            yield key, _named(old), _named(new)


def _is_of_parts(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Two descriptions are compared part by part, unless one is a file, or they are of different classes."""
    return not _is_file(old) and not _is_file(new) and old.get("class") == new.get("class")


def _bare(description: Any) -> Any:
    """A description without its notes."""
    if isinstance(description, Mapping):
        return {key: _bare(part) for key, part in description.items() if not key.startswith(NOTE)}
    return [_bare(part) for part in description] if isinstance(description, list) else description


def _is_folder(description: Any, text: Any) -> bool:
    """A text that is the name of a folder now, and was none, or the other way round."""
    return isinstance(description, Mapping) and "folder" in description and description["(called)"] == text


def _named(description: Any) -> Any:
    """A file as its name and content; an object of another class as that class; a plain value as it is."""
    if not isinstance(description, Mapping):
        return description
    if _is_file(description):
        return f"{description['(called)']} ({description['file']})"
    return description.get("class", dict(description))


def _is_file(description: Mapping[str, Any]) -> bool:
    # A mapping of the user's may have a key `file`, too.
    return isinstance(description.get("file"), str) and "(called)" in description
