"""The result of a search: decoded, told, written, and put back where other callbacks change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from automl_plugins.decoders.base import Decoder, Evaluation, Found
from automl_plugins.decoders.most_likely import MostLikely
from automl_plugins.search import report
from automl_plugins.search.knowledge import Knowledge
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.strategies import Strategy
from automl_plugins.supernets.searchable import Searchable


class Outcome:
    """The logits of the last moment at which they said what is found, and the architectures that they stand for.

    Args:
        searchables: what is searched, by name.
        strategy: how.
        decoder: reads the architecture off in the end.
        path: of the `architecture.json`; None: none is written.
    """

    def __init__(
        self,
        searchables: Mapping[str, Searchable],
        strategy: Strategy,
        decoder: Decoder,
        path: str | Path | None,
    ) -> None:
        self._searchables, self._strategy, self._decoder = searchables, strategy, decoder
        self._path = None if path is None else Path(path)
        self._remembered: list[Tensor] = []

    @property
    def decodes_as_it_goes(self) -> bool:
        """True where the logits say at any time what is found; another decoder says it in the end."""
        return isinstance(self._decoder, MostLikely)

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors of searchables that a search changes, beside their weights."""
        return [tensor for each in self._searchables.values() for tensor in (each.logits, each.closed)]

    @property
    def logits(self) -> list[Tensor]:
        """The architecture logits."""
        return [each.logits for each in self._searchables.values()]

    def remember(self) -> None:
        """Take the logits as they are for those that count."""
        self._remembered = [tensor.detach().clone() for tensor in self.tensors]

    def put_back(self) -> None:
        """Set the logits to those that count: a callback that averages weights may have averaged them, too."""
        with torch.no_grad():
            for tensor, value in zip(self.tensors, self._remembered, strict=bool(self._remembered)):
                tensor.copy_(value)

    def architectures(self) -> dict[str, Architecture]:
        """The architectures that the logits stand for as they are."""
        return {name: searchable.architecture() for name, searchable in self._searchables.items()}

    def write(self, trainer: Any) -> None:
        """Write the architectures, on the first process."""
        if self._path is not None and trainer.is_global_zero:
            report.write(self._path, self.architectures())

    def write_at_an_exception(self, trainer: Any) -> None:
        """Write the architectures where they mean something; an error here must not hide the one that ended the fit."""
        if self.decodes_as_it_goes and all(bool(logits.isfinite().all()) for logits in self.logits):
            with suppress(OSError):
                self.write(trainer)

    def conclude(self, trainer: Any, evaluate: Evaluation, seconds: float) -> None:
        """Decode, and set the logits so that `derive` gives what was found.

        Args:
            trainer: the Trainer.
            evaluate: the loss on search data.
            seconds: of the search.
        """
        if self._strategy.learns_logits:
            report.tell_undecided(self._searchables)
        known = Knowledge(trainer, evaluate, self._decoder, self._strategy.learns_logits, seconds)
        if not self.decodes_as_it_goes:
            found: dict[str, Sequence[Found]] = {}
            for name, searchable in self._searchables.items():
                found[name] = _checked(self._decoder(searchable, evaluate), self._decoder)
                known.tell(name, searchable, found[name][0].architecture)
                searchable.set_logits(found[name][0].architecture)
            report.tell_architectures(trainer, self.architectures())
            if self._path is not None and trainer.is_global_zero:
                name = "found.json" if self._path.name != "found.json" else "found-all.json"
                report.write_found(self._path.with_name(name), found)
        else:
            for name, searchable in self._searchables.items():
                known.tell(name, searchable, searchable.architecture())
        self.write(trainer)
        self.remember()


def _checked(found: object, decoder: object) -> Sequence[Found]:
    """The architectures that a decoder gave, one at least.

    Raises:
        TypeError: it gave something else.
    """
    several = isinstance(found, Sequence) and len(found) > 0
    if not several or not all(isinstance(one, Found) for one in cast(Sequence[object], found)):
        raise TypeError(f"{type(decoder).__name__} gave {found!r}; a decoder gives a list of Found, one at least")
    return cast(Sequence[Found], found)
