"""The most likely architecture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from automl_plugins.decoders.base import Found
from automl_plugins.supernets.searchable import Searchable


class MostLikely:
    """The searchable's own decoding of the probabilities (`Searchable.architecture`); it evaluates nothing."""

    reads_logits: ClassVar[bool] = True

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Sequence[Found]:
        return [Found(searchable.architecture())]
