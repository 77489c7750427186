"""The contract that every search strategy keeps, as a test suite to subclass.

Small networks and data will do; each test trains an epoch, or two times one::

    from automl_plugins.testing import StrategyContract

    class TestMyStrategy(StrategyContract):
        def strategy(self):
            return MyStrategy()

        def space(self, max_parameters):
            return PerceptronSpace(max_parameters=max_parameters)

        def task(self):
            return Task("pixel", "regression", in_channels=3, out_channels=1)

        def module(self, searchable):
            return MyLightningModule(searchable)

        def data(self):
            return MyDataModule()
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins.errors import DivergedError
from automl_plugins.search import ArchitectureSearch
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.task import Task
from automl_plugins.strategies import Strategy
from automl_plugins.supernets.masks import masked_scores
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.training.lightning import pl

LIMITS = ("cap", "closed", "cap and closed")
_CLOSED_CHOICES = 3


class StrategyContract(ABC):
    """What every strategy promises on every space: limits hold, results are settled, everything is given back."""

    learning_rate = 0.05
    """Of the logits; large enough that they move in a few steps."""

    @abstractmethod
    def strategy(self) -> Strategy:
        """The strategy, equal at every call."""

    @abstractmethod
    def space(self, max_parameters: int | None) -> SupernetSpace:
        """A small space with this cap, equal at every call."""

    @abstractmethod
    def task(self) -> Task:
        """What its networks must fit."""

    @abstractmethod
    def module(self, searchable: Searchable) -> Any:
        """A LightningModule around a searchable, which it calls in its training step."""

    @abstractmethod
    def data(self) -> Any:
        """A LightningDataModule of a few batches that are not shuffled."""

    # Searches.

    def searchable(self, limits: str = "") -> Searchable:
        """A searchable within limits: a cap that few architectures keep, and most options of some choices closed."""
        torch.manual_seed(0)
        cap = None
        if "cap" in limits:
            unlimited = self.space(None)
            generator = np.random.default_rng(0)
            cap = sorted(unlimited.num_parameters(unlimited.sample(generator), self.task()) for _ in range(9))[1]
        searchable = self.space(cap).searchable(self.task(), self.strategy().relaxation())
        if "closed" in limits:
            several = [choice for choice in searchable.choices if len(choice.options) > 2]
            for choice in several[:: max(1, len(several) // _CLOSED_CHOICES)]:
                for option in choice.options[1:-1]:
                    searchable.close(choice.name, option)
        return searchable

    def search(self, searchable: Searchable, folder: Path, *callbacks: Any, **options: Any) -> ArchitectureSearch:
        """Search for an epoch."""
        search = ArchitectureSearch(self.strategy(), learning_rate=self.learning_rate, **_search_data(self.strategy()))
        settings: dict[str, Any] = {
            "max_epochs": 1,
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "default_root_dir": folder,
        }
        trainer = pl.Trainer(**{**settings, **options}, callbacks=[search, *callbacks])
        trainer.fit(self.module(searchable), datamodule=self.data())
        return search

    # The contract.

    @pytest.mark.parametrize("limits", LIMITS)
    def test_what_is_closed_or_beyond_the_cap_is_neither_trained_nor_found(self, limits: str, tmp_path: Path) -> None:
        searchable = self.searchable(limits)
        closed = ~searchable.mask
        with _gates_of(searchable) as seen:
            self.search(searchable, tmp_path)
        assert seen, "the searchable was not called"
        for matrix in seen:
            assert not (matrix[closed] != 0).any(), "a closed option was run"
        if self.strategy().single_path(0.0):
            for architecture in _architectures(searchable, seen):
                assert searchable.limits.keeps_cap(architecture), f"beyond the cap was trained: {architecture}"
        self.assert_found(searchable, closed)

    def assert_found(self, searchable: Searchable, closed: Tensor) -> None:
        """What was found is valid, open, within the cap, and builds."""
        found = searchable.architecture()
        searchable.space.validate(found)
        assert not (searchable.space.gates(found).matrix.bool() & closed).any(), "a closed option was found"
        assert not (searchable.mask & closed).any(), "an option was opened"
        network = searchable.derive(keep_weights=True)
        cap = searchable.space.max_parameters
        count = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
        assert cap is None or count <= cap

    def test_a_search_is_settled_moves_logits_and_gives_the_searchable_back(self, tmp_path: Path) -> None:
        ends = []
        for _ in range(2):
            searchable = self.searchable()
            before = searchable.logits.detach().clone()
            weights = [weight.detach().clone() for weight in searchable.weight_parameters()]
            others = _plain_state(searchable)
            self.search(searchable, tmp_path)
            ends.append(searchable.logits.detach().clone())
            changed = [not torch.equal(*pair) for pair in zip(weights, searchable.weight_parameters(), strict=True)]
            assert any(changed), "no weight was trained"
            assert not torch.equal(before, searchable.logits), "the logits are those of the beginning"
            self._assert_given_back(searchable, others)
        assert torch.equal(*ends), "two equal searches end differently"

    def _assert_given_back(self, searchable: Searchable, others: dict[str, Any]) -> None:
        assert _plain_state(searchable) == others, "the search left something behind"
        assert searchable.logits.requires_grad
        assert searchable.logits.grad is None
        assert all(weight.requires_grad for weight in searchable.weight_parameters())
        expected = searchable.relaxation(searchable.logits, searchable.mask)
        assert torch.equal(searchable.eval().gates().matrix, expected.to(searchable.gates().matrix.dtype)), "gates held"

    @pytest.mark.filterwarnings("ignore:a gradient of the architecture logits is not finite")
    def test_what_is_not_a_number_is_not_found(self, tmp_path: Path) -> None:
        searchable = self.searchable()
        with torch.no_grad():
            for weight in searchable.weight_parameters():
                weight.fill_(math.nan)
        with pytest.raises(DivergedError):
            self.search(searchable, tmp_path)

    def assert_ranks_agree(self, limits: str, folder: Path) -> None:
        """Two processes end with the same logits, bit for bit, and find something within the limits.

        It is no test by itself: where processes cannot be forked there is none. Call it from one of yours.
        """
        from pytorch_lightning.strategies import DDPStrategy

        class Keep(pl.Callback):
            def on_train_end(self, trainer: Any, module: Any) -> None:
                torch.save([searchable.logits.detach(), searchable.closed], folder / f"{trainer.global_rank}.pt")

        searchable = self.searchable(limits)
        closed = ~searchable.mask
        parallel = DDPStrategy(start_method="fork", process_group_backend="gloo", find_unused_parameters=True)
        self.search(searchable, folder, Keep(), strategy=parallel, devices=2)
        first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2))
        assert all(map(torch.equal, first, second)), "the processes ended with other logits"
        with torch.no_grad():
            searchable.logits.copy_(first[0])
        self.assert_found(searchable, closed)


def _search_data(strategy: Strategy) -> dict[str, Any]:
    return {"search_data": "validation"} if strategy.uses_search_data else {}


@contextmanager
def _gates_of(searchable: Searchable) -> Iterator[list[Tensor]]:
    """The gates of all of the supernet's runs inside."""
    seen: list[Tensor] = []

    def look(module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        seen.append(options["gates"].matrix.detach().clone())

    handle = searchable.supernet.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def _architectures(searchable: Searchable, seen: list[Tensor]) -> list[Architecture]:
    """The architectures whose gates were run; validation and training alike."""
    found: dict[Architecture, None] = {}
    for matrix in seen:
        scores = masked_scores(searchable.choices, matrix.double().cpu(), searchable.mask.cpu())
        architecture = searchable.space.decode(scores)
        assert torch.equal(searchable.space.gates(architecture, matrix.dtype).matrix, matrix), "no architecture was run"
        found[architecture] = None
    return list(found)


def _plain_state(searchable: Searchable) -> dict[str, Any]:
    """The training modes, and what hooks there are."""
    hooks = [
        len(getattr(module, name))
        for module, name in itertools.product(searchable.modules(), ("_forward_hooks", "_forward_pre_hooks"))
    ]
    return {"training": searchable.training, "hooks": hooks, "by itself": searchable.draws_by_itself}
