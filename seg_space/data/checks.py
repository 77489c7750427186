"""Looks at whole data sets of pixels: samples that two splits share, and targets from which nothing can be learned."""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from automl_plugins.spaces.task import Task
from seg_space.data.files import ImageFiles
from seg_space.data.labels import IGNORED

_HASHED_BYTES = 1 << 20


def check_splits(splits: Mapping[str, Sequence[ImageFiles]]) -> None:
    """Refuse splits that share files, and warn of equal images in two splits: scores would be of what was trained on.

    Images are equal where their files have one size and one beginning of a mebibyte; most are told apart by the sizes.

    Raises:
        ValueError: a split has no image, or one file is in two splits; the message names it.
    """
    owners: dict[tuple[int, int], str] = {}
    by_size: dict[int, list[tuple[str, Path]]] = defaultdict(list)
    for name, files in splits.items():
        if not files:
            raise ValueError(f"the split {name!r} has no image; each of training, validation and test needs some")
        for sample in files:
            status = sample.image.stat()
            # One file may have several names, by links.
            owner = owners.setdefault((status.st_dev, status.st_ino), name)
            if owner != name:
                raise ValueError(f"{sample.image} is in the splits {owner!r} and {name!r}; leave it in one of them")
            by_size[status.st_size].append((name, sample.image))
    equal: list[tuple[Path, Path]] = []
    for alike in by_size.values():
        first: dict[bytes, tuple[str, Path]] = {}
        for name, path in alike if len({name for name, _ in alike}) > 1 else ():
            split, other = first.setdefault(_fingerprint(path), (name, path))
            if split != name:
                equal.append((other, path))
    if equal:
        others = f" (and {len(equal) - 1} more such pairs)" if len(equal) > 1 else ""
        warnings.warn(
            f"{equal[0][0]} and {equal[0][1]} are the same image in two splits{others}, so that scores are of what was "
            "trained on; leave each image in one split",
            stacklevel=2,
        )


def check_classes(numbers: Iterable[int], names: Sequence[str]) -> None:
    """Refuse training images of one class, and name classes without any.

    Args:
        numbers: of the classes of all training images.
        names: of all classes.

    Raises:
        ValueError: all training images are of one class.
    """
    there = set(numbers)
    absent = [name for number, name in enumerate(names) if number not in there]
    if len(there) == 1:
        raise ValueError(f"all training images are of class {names[there.pop()]!r}, so there is nothing to learn")
    if absent:
        warnings.warn(f"no training image is of class {', '.join(absent)}: nothing of it is learned", stacklevel=2)


def check_one_size(images: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse images of several sizes: filled up to the size of a batch, they would be averaged with what fills them.

    Args:
        images: the files.
        sizes: height and width of each.

    Raises:
        ValueError: two images differ in their sizes; the message names them.
    """
    for image, size in zip(images, sizes, strict=True):
        if size != sizes[0]:
            raise ValueError(
                f"{image} is of {size[0]} x {size[1]} pixels (height x width), and {images[0]} of {sizes[0][0]} x "
                f"{sizes[0][1]}; give size, such as size: {min(map(min, sizes))}, to which all are brought"
            )


def _fingerprint(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(_HASHED_BYTES)).digest()


class TargetsSeen:
    """Counts the classes in training masks, or asks whether real targets differ; then says what is amiss.

    Args:
        task: which targets they are.
        names: of the classes or labels, where they are known.
    """

    def __init__(self, task: Task, names: Sequence[str] | None) -> None:
        self.task = task
        count = max(task.out_channels, 2) if task.target == "classes" else 2
        layers = task.out_channels if task.target == "multilabel" else 1
        self.names = [str(name) for name in names] if names and len(names) == task.out_channels else None
        self.counts = torch.zeros(layers, count, dtype=torch.int64)
        self._least, self._most = float("inf"), -float("inf")

    def __call__(self, target: Tensor) -> None:
        """Look at the target of a sample."""
        if target.is_floating_point():
            known = target[~target.isnan()]
            if known.numel() > 0:
                self._least = min(self._least, known.min().item())
                self._most = max(self._most, known.max().item())
            return
        layers = target.flatten(1) if self.task.target == "multilabel" else target.flatten().unsqueeze(0)
        for counts, layer in zip(self.counts, layers, strict=True):
            counts += torch.bincount(layer[layer != IGNORED].long(), minlength=counts.numel())

    def check(self, complete: bool) -> None:
        """Refuse training targets that are all alike, and name the classes that do not occur.

        Args:
            complete: whether all training samples were seen.

        Raises:
            ValueError: all targets are alike, or none counts.
        """
        if self.task.target == "regression":
            self._check_values()
            return
        occurs = self.counts > 0
        if complete and not occurs.any():
            raise ValueError("no pixel of any training mask counts: all are ignored; give masks of classes")
        # One label that never occurs is a warning, all of them leave nothing to learn.
        if complete and (occurs.sum(dim=1) <= 1).all():
            alike = [self._named(layer, value) for layer, value in occurs.nonzero().tolist()]
            raise ValueError(
                f"all pixels of all training masks are {', '.join(dict.fromkeys(alike))}, so there is nothing to "
                "learn; see whether the masks hold the numbers of classes"
            )
        if complete and self.task.target != "binary":
            missing = occurs[:, 1] if self.task.target == "multilabel" else occurs[0]
            absent = [self._class(place) for place, there in enumerate(missing.tolist()) if not there]
            if absent:
                warnings.warn(f"no training mask holds {', '.join(absent)}: nothing of it is learned", stacklevel=2)

    def _check_values(self) -> None:
        if self._least > self._most:
            raise ValueError("no target of any training sample is a number; all are nan")
        if self._least == self._most:
            raise ValueError(f"all targets of all training samples are {self._least:g}, so there is nothing to learn")

    def _named(self, layer: int, value: int) -> str:
        if self.task.target == "classes":
            return f"of the class {self._class(value)}"
        of_label = f" of the label {self._class(layer)}" if self.task.target == "multilabel" else ""
        return ("background (0)", "foreground (1)")[value] + of_label

    def _class(self, place: int) -> str:
        return f"{self.names[place]} ({place})" if self.names and self.names[place] != str(place) else str(place)
