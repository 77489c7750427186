"""The line at the end of a search that says what it knew of the architecture that it found."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from automl_plugins.decoders.base import Decoder, Evaluation, mean_of
from automl_plugins.errors import DivergedError
from automl_plugins.search import ranks, report
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.searchable import Searchable

_RANDOM = 50
"""Random architectures that what was found is compared with."""
_BATCHES = 4
"""The most batches that each is judged on."""
_SHARE = 0.1
"""Of the search's time that all of it may take; a search that would take more leaves it out."""
_SEED = 1
"""Of the random architectures; other ones than a decoder's."""


class Knowledge:
    """Says how decided the logits are, and what shared weights say of what was found beside random architectures.

    Also how far two halves of the search data agree: in their order of the random architectures, and, where the decoder
    reads losses, in the architecture that it finds on each. All but the entropy is left out where there are no search
    data, or where it would take more than a tenth of the search's time.

    Args:
        trainer: the Trainer.
        evaluate: the loss on search data.
        decoder: asked again on each half, unless it reads logits alone, which no half changes.
        learns_logits: whether the strategy has moved them.
        seconds: of the search.
    """

    def __init__(
        self, trainer: Any, evaluate: Evaluation, decoder: Decoder, learns_logits: bool, seconds: float
    ) -> None:
        self._device, self._world_size = trainer.strategy.root_device, trainer.world_size
        self._evaluate, self._decoder, self._learns_logits = evaluate, decoder, learns_logits
        self._seconds = seconds

    def tell(self, name: str, searchable: Searchable, found: Architecture) -> None:
        """Say it in a line.

        Args:
            name: of the searchable.
            searchable: with its logits as the search left them.
            found: by the decoder.
        """
        said = [f"entropy {float(searchable.entropy()):.3f} of 1"] if self._learns_logits else []
        try:
            said += self._by_losses(searchable, found)
        except Exception as error:  # noqa: BLE001 - a step that cannot run without gradients must not lose what was found
            reason = str(error).partition("\n")[0]
            said.append(f"its loss could not be compared: the step failed without gradients ({reason})")
        if said:
            report.line(f"what the search knew of {name or 'the module'}: {'; '.join(said)}")

    def _by_losses(self, searchable: Searchable, found: Architecture) -> list[str]:
        batches = min(_BATCHES, self._evaluate.batches)
        began = time.monotonic()
        own = self._losses(searchable, found, batches)
        if not math.isfinite(mean_of(own)) or not self._is_cheap((time.monotonic() - began) * _RANDOM):
            return []
        said = self._beside_random(searchable, own, batches)
        if not getattr(self._decoder, "reads_logits", False) and batches > 1:
            said += self._of_halves(searchable, batches)
        return said

    def _is_cheap(self, seconds: float) -> bool:
        """True where no process would take longer than it may; equal on all of them."""
        too_long = int(seconds > _SHARE * self._seconds)
        return ranks.largest(too_long, self._device, self._world_size) == 0

    def _losses(self, searchable: Searchable, held: Architecture, batches: int) -> list[float | None]:
        with searchable.hold(held):
            return [self._evaluate.loss_of(batch) for batch in range(batches)]

    def _beside_random(self, searchable: Searchable, own: Sequence[float | None], batches: int) -> list[str]:
        generator = torch.Generator().manual_seed(_SEED)
        drawn = dict.fromkeys(searchable.sample(generator) for _ in range(_RANDOM))
        losses = [self._losses(searchable, each, batches) for each in drawn]
        worse = sum(not mean_of(each) <= mean_of(own) for each in losses)
        said = [
            f"its loss with shared weights, {mean_of(own):.4g}, is below that of {worse} of {len(losses)} random ones"
        ]
        halves = [[mean_of(each[half::2]) for each in losses] for half in (0, 1)]
        if batches > 1 and all(map(math.isfinite, [*halves[0], *halves[1]])):
            said.append(f"two halves of the search data order these alike by tau {_tau(*halves):.2f}")
        return said

    def _of_halves(self, searchable: Searchable, batches: int) -> list[str]:
        best: list[Architecture] = []
        for half in (0, 1):
            began, places = time.monotonic(), range(half, batches, 2)
            part = Evaluation(partial(self._at, places), len(places))
            try:
                best.append(self._decoder(searchable, part)[0].architecture)
            except DivergedError:
                return []
            if not self._is_cheap(time.monotonic() - began):
                return []
        names = sorted({*best[0], *best[1]})
        same = sum(best[0].get(each) == best[1].get(each) for each in names)
        return [f"decoded on either half, {same} of {len(names)} choices agree"]

    def _at(self, places: Sequence[int], place: int) -> float | None:
        return self._evaluate.loss_of(places[place])


def _tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b; 0 where all of one are equal."""
    signs = [torch.tensor(each, dtype=torch.float64) for each in (first, second)]
    one, other = ((each.unsqueeze(0) - each.unsqueeze(1)).sign() for each in signs)
    scale = float((one.square().sum() * other.square().sum()).sqrt())
    return float((one * other).sum()) / scale if scale else 0.0
