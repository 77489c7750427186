"""The fingerprint of a run's data: sizes, order and samples of each split, to refuse a run on other data.

It is taken in less than two seconds however large the data are: of each split, samples are read until a share of that
time has gone, in an order that is spread over the split; two fingerprints are compared as far as both have read.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from automl_plugins.system.generators import held_generators, reseed, undisturbed
from automl_plugins.system.randomness import seeded_aside
from automl_plugins.training.description import describe, first_difference
from automl_plugins.training.digest import Digest, same
from automl_plugins.training.lightning import pl

SPLITS = {"train": "training", "val": "validation", "test": "test"}
"""The splits of a fingerprint, and the words for them."""

_SECONDS = 0.75
"""For the samples of all loaders together, and as much for the files behind them."""
_MOST = 1 << 14
"""Samples, or files, of a split at most."""
_UNSEEN = "unseen"
"""In place of the samples' digests, where they come out differently at each reading, or cannot be read one by one."""


def data_fingerprint(loaders: Mapping[str, Any]) -> dict[str, Any]:
    """The fingerprint of the data behind loaders; no random state is moved by it.

    Equal data have equal fingerprints in every process, wherever their files lie and whenever these were written.
    Samples that draw random numbers (augmentation) are read under a fixed seed; of samples that are random in spite
    of it, only the number counts.

    Args:
        loaders: for each split (a key of `SPLITS`), its loader, or several; None: there is none. They are not
            iterated over where they have a data set.

    Returns:
        What `data_difference` compares, as plain JSON values.
    """
    parts = {split: flat_loaders(loaders[split]) for split in SPLITS if loaders.get(split) is not None}
    seconds = _SECONDS / max(1, sum(map(len, parts.values())))
    return {split: [_of_loader(loader, seconds) for loader in flat] for split, flat in parts.items()}


def datamodule_loaders(data: pl.LightningDataModule) -> dict[str, Any]:
    """The loaders that a datamodule has, by split; it has been set up."""
    return {split: getattr(data, f"{split}_dataloader")() for split in splits_of(data)}


def splits_of(data: pl.LightningDataModule) -> list[str]:
    """The splits that a datamodule has loaders of: its class's, or its own (`LightningDataModule.from_datasets`)."""
    names = {split: f"{split}_dataloader" for split in SPLITS}
    return [split for split, name in names.items() if _overrides(type(data), name) or name in vars(data)]


def _overrides(cls: type, method: str) -> bool:
    return getattr(cls, method, None) is not getattr(pl.LightningDataModule, method)


def data_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first difference between the data of two fingerprints, in words; None: there is none.

    The words end a sentence such as `the study was begun with other data: ...`.
    """
    for split, word in SPLITS.items():
        old, new = before.get(split), now.get(split)
        if old is None and new is None:
            continue
        if old is None or new is None:
            return f"{_there_are(old)} {word} data then, {_there_are(new)} now"
        if len(old) != len(new):
            return f"{len(old)} {word} loaders then, {len(new)} now"
        for first, second in zip(old, new, strict=True):
            words = _loader_difference(first, second, word)
            if words is not None:
                return words
    return None


def _there_are(loaders: Any) -> str:
    return "no" if loaders is None else "there were"


def _loader_difference(before: Mapping[str, Any], now: Mapping[str, Any], word: str) -> str | None:
    unit = now["unit"]
    if before["samples"] != now["samples"]:
        return f"{_count(before['samples'])} {word} {unit} then, {_count(now['samples'])} now"
    for key, name in (("batch_size", "batches of {}"), ("order", "the order {}"), ("drop_last", "drop_last={}")):
        if before.get(key) != now.get(key):
            return f"{word} data: {name.format(before.get(key))} then, {name.format(now.get(key))} now"
    collated = first_difference({"collate": before.get("collate")}, {"collate": now.get("collate")})
    if collated is not None:
        return f"{word} data: {collated[0]}={collated[1]!r} then, {collated[2]!r} now"
    if _differ(before.get("chosen"), now.get("chosen")):
        return f"the {word} samples are others of the same data set, although as many"
    place = _differ(before.get("items"), now.get("items"))
    if place:
        of = f"of the first {place:,} that were compared" if place > 1 else "at the first that was compared"
        return f"as many {word} {unit}, but others ({of})"
    if _differ(before.get("graph"), now.get("graph")):
        return f"the {word} batches are drawn from another graph"
    if _differ(before.get("files"), now.get("files")):
        return f"the files behind the {word} data are others"
    return None


def _count(samples: int | None) -> str:
    return "an unknown number of" if samples is None else f"{samples:,}"


def _differ(before: Any, now: Any) -> int:
    """The number that were read when two digests first differ; 0: they agree as far as both have read."""
    if not isinstance(before, list) or not isinstance(now, list):
        return 0
    for (count, *old), (_, *new) in zip(before, now, strict=False):
        if not same(old, new):
            return int(count)
    return 0


def flat_loaders(loaders: Any) -> list[Any]:
    """One loader, a list, a mapping, or Lightning's CombinedLoader of them, as a list."""
    inner = getattr(loaders, "iterables", None)
    if inner is not None and type(loaders).__name__ == "CombinedLoader":
        return flat_loaders(inner)
    if isinstance(loaders, Mapping):
        return [part for key in sorted(loaders, key=str) for part in flat_loaders(loaders[key])]
    if isinstance(loaders, list | tuple) and any(isinstance(part, DataLoader) for part in loaders):
        return [part for loader in loaders for part in flat_loaders(loader)]
    return [loaders]


def _of_loader(loader: Any, seconds: float) -> dict[str, Any]:
    dataset = getattr(loader, "dataset", None)
    samples = dataset if dataset is not None else loader
    sampler = getattr(loader, "sampler", None)
    batch_sampler = getattr(loader, "batch_sampler", None)
    size = getattr(loader, "batch_size", None)
    found: dict[str, Any] = {
        "samples": _length(samples),
        "unit": "batches" if dataset is None else "samples",
        "batch_size": size if size is not None else getattr(batch_sampler, "batch_size", None),
        "order": None if sampler is None else type(sampler).__name__,
        "drop_last": bool(getattr(loader, "drop_last", False)),
        "items": _digests(samples, loader, seconds),
    }
    collate = getattr(loader, "collate_fn", None)
    if collate is not None:
        plain = isinstance(collate, FunctionType | functools.partial)
        found["collate"] = describe(collate if plain else type(getattr(collate, "__self__", collate)))
    beside = {"chosen": _chosen(sampler), "graph": _graph(loader), "files": _files(samples, seconds)}
    return {**found, **{key: marks for key, marks in beside.items() if marks}}


def _length(samples: Any) -> int | None:
    try:
        return len(samples)
    except (TypeError, NotImplementedError, AttributeError):
        return None


def _chosen(sampler: Any) -> list[Any] | None:
    """A digest of what a sampler was given to choose from: indices, or weights."""
    held = [(name, value) for name in ("indices", "weights") if (value := getattr(sampler, name, None)) is not None]
    if not held:
        return None
    digest = Digest()
    for name, value in held:
        values = torch.as_tensor(value).flatten()
        digest.add((name, values.sort().values if name == "indices" else values))
    return [[1, *digest.state]]


def _digests(samples: Any, loader: Any, seconds: float) -> list[list[Any]] | str:
    """Digests after 1, 2, 4, ... samples, or `_UNSEEN`."""
    if hasattr(samples, "__next__"):  # reading them would use them up
        return _UNSEEN
    held = held_generators([samples, loader])
    try:
        with undisturbed(held):
            marks = _read(samples, held, _MOST, seconds)
            again = _read(samples, held, 2, seconds)
    except Exception:  # noqa: BLE001 - a data set that takes no plain index, say; what is broken shows in training
        return _UNSEEN
    return marks if marks[: len(again)] == again[: len(marks)] else _UNSEEN


def _read(samples: Any, held: Sequence[Any], most: int, seconds: float) -> list[list[Any]]:
    with seeded_aside(0, torch.device("cpu")):
        reseed(held)
        return _rolled(islice(_samples(samples), most), seconds)


def _graph(loader: Any) -> list[list[Any]] | None:
    """A digest of the graph that a loader draws its batches from, as PyG's NeighborLoader does."""
    for value in vars(loader).values() if hasattr(loader, "__dict__") else ():
        if hasattr(value, "edge_index") or hasattr(value, "edge_types"):
            return _rolled([value], 0.0)
    return None


def _samples(samples: Any) -> Iterator[Any]:
    """The samples, in an order that is spread over all of them."""
    length = _length(samples)
    if length is None or isinstance(samples, IterableDataset) or not hasattr(type(samples), "__getitem__"):
        yield from iter(samples)
        return
    for index in _spread(length):
        yield samples[index]


def _spread(length: int) -> Iterator[int]:
    """The first, the last, the one between, and then the others in an order that is always the same."""
    if length == 0:
        return
    ends = dict.fromkeys((0, length - 1, length // 2))
    yield from ends
    if length <= _MOST:
        rest: Iterable[int] = np.random.default_rng(0).permutation(length).tolist()
    else:
        rest = dict.fromkeys(np.random.default_rng(0).integers(length, size=_MOST).tolist())
    yield from (index for index in rest if index not in ends)


def _rolled(things: Iterable[Any], seconds: float) -> list[list[Any]]:
    """Digests after 1, 2, 4, ... things, and after all, as far as the time allows: `[count, *state]` each."""
    digest, count, end = Digest(), 0, time.perf_counter() + seconds
    marks: list[list[Any]] = []
    for thing in things:
        digest.add(thing)
        count += 1
        if count & (count - 1) == 0:
            marks.append([count, *digest.state])
        if time.perf_counter() > end:
            return marks
    if count and marks[-1][0] != count:
        marks.append([count, *digest.state])
    return marks


def _files(samples: Any, seconds: float) -> list[list[Any]]:
    """A digest of the names and sizes of the files that a data set lists in its attributes, as image folders do."""
    paths = islice(_listed(samples, 0), _MOST)
    return _rolled(((path.name, _size(path)) for path in paths), seconds)


def _listed(thing: Any, depth: int) -> Iterator[Path]:
    for value in vars(thing).values() if hasattr(thing, "__dict__") else ():
        if isinstance(value, list | tuple):
            first = next(_paths(value[:1]), None)
            if first is not None and first.exists():
                yield from _paths(value)
        elif depth < 3 and not isinstance(value, torch.nn.Module):
            yield from _listed(value, depth + 1)


def _paths(value: Any) -> Iterator[Path]:
    """The paths in a list of them, or of tuples of them."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _paths(part)
    elif isinstance(value, os.PathLike) or (isinstance(value, str) and os.sep in value):
        yield Path(value)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
