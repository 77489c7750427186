"""A search as validation sees it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from automl_plugins.search.divergence import OutputWatch, of_metrics
from automl_plugins.search.isolation import batch_statistics, buffers_aside
from automl_plugins.supernets.searchable import Searchable


class ValidationView:
    """A validation of the mixture, or of the most probable architecture where each step trains a single path.

    The latter has its normalisations use each batch's own statistics. Outputs are watched in both cases.

    Args:
        searchables: what is searched.
    """

    def __init__(self, searchables: Iterable[Searchable]) -> None:
        self._searchables = list(searchables)
        self._inside = ExitStack()
        self._watch = OutputWatch(self._searchables)

    def open(self, single_path: bool) -> None:
        """Begin a validation.

        Args:
            single_path: whether each step trains a single path.

        Raises:
            DivergedError: the logits stand for no architecture.
        """
        self._inside.enter_context(self._watch)
        if single_path:
            for searchable in self._searchables:
                self._inside.enter_context(searchable.hold(searchable.architecture()))
                self._inside.enter_context(buffers_aside(searchable.supernet))
                self._inside.enter_context(batch_statistics(searchable.supernet))

    def close(self) -> None:
        """End a validation, or a fit in the middle of one."""
        self._inside.close()

    def divergence(self, trainer: Any) -> str | None:
        """The part of the validation that has just ended that is not finite, in words."""
        step = trainer.global_step
        if not self._watch.finite:
            when = "before the first step" if step == 0 else f"after step {step}"
            return f"the network's outputs in validation are not finite {when}"
        results = getattr(trainer, "_results", None)
        metrics = {} if results is None or trainer.sanity_checking else results.metrics(on_step=False)["callback"]
        return of_metrics(metrics, step)
