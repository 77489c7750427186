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

import copy
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
from automl_plugins.strategies import SearchStep, Strategy
from automl_plugins.supernets.masks import masked_scores
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.training.lightning import pl

LIMITS = ("cap", "closed", "cap and closed")
_CLOSED_CHOICES = 3


class StrategyContract(ABC):
    """The promises of every strategy on every space: limits hold, results are settled, everything is given back."""

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
        """The task that its networks must fit."""

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
        strategy = self.strategy()
        searchable = self.space(cap).searchable(
            self.task(), strategy.relaxation(), partial_channels=strategy.partial_channels
        )
        if "closed" in limits:
            several = [choice for choice in searchable.choices if len(choice.options) > 2]
            for choice in several[:: max(1, len(several) // _CLOSED_CHOICES)]:
                for option in choice.options[1:-1]:
                    searchable.close(choice.name, option)
        return searchable

    def search(
        self,
        searchable: Searchable,
        folder: Path,
        *callbacks: Any,
        learner: Strategy | None = None,
        checkpoint: Path | None = None,
        **options: Any,
    ) -> Any:
        """Search for an epoch, or as long as the options of the Trainer say.

        Args:
            searchable: what is searched.
            folder: where Lightning may write.
            callbacks: beside the search.
            learner: the search's strategy; None: a new one.
            checkpoint: to go on from.
            options: of the Trainer.

        Returns:
            The LightningModule.
        """
        learner = self.strategy() if learner is None else learner
        search = ArchitectureSearch(learner, learning_rate=self.learning_rate, **_search_data(learner))
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
        module = self.module(searchable)
        trainer.fit(module, datamodule=self.data(), ckpt_path=checkpoint)
        return module

    # The contract.

    @pytest.mark.parametrize("limits", LIMITS)
    def test_what_is_closed_or_beyond_the_cap_is_neither_trained_nor_found(self, limits: str, tmp_path: Path) -> None:
        searchable = self.searchable(limits)
        closed = ~searchable.mask
        with _gates_of(searchable) as seen:
            self.search(searchable, tmp_path)
        assert seen, "the searchable was not called"
        for matrix, _ in seen:
            assert not (matrix[closed] != 0).any(), "a closed option was run"
        if self.strategy().single_path(0.0):
            for architecture in _architectures(searchable, [matrix for matrix, of_weights in seen if of_weights]):
                assert searchable.limits.keeps_limits(architecture), f"beyond the cap was trained: {architecture}"
        self.assert_found(searchable, closed)

    def assert_found(self, searchable: Searchable, closed: Tensor) -> None:
        """The found architecture is valid, open, within the cap, and builds."""
        found = searchable.architecture()
        searchable.space.validate(found)
        assert not (searchable.space.gates(found).matrix.bool() & closed).any(), "a closed option was found"
        assert not (searchable.mask & closed).any(), "an option was opened"
        network = searchable.derive(keep_weights=searchable.supernet.partial_channels == 1)
        cap = searchable.space.max_parameters
        count = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
        assert cap is None or count <= cap

    def test_a_search_is_settled_moves_logits_and_gives_the_searchable_back(self, tmp_path: Path) -> None:
        ends, strategy = [], self.strategy()
        for _ in range(2):  # with one strategy, which forgets the first fit
            searchable = self.searchable()
            before = searchable.logits.detach().clone()
            weights = [weight.detach().clone() for weight in searchable.weight_parameters()]
            others = _plain_state(searchable)
            module = self.search(searchable, tmp_path, learner=strategy)
            assert "training_step" not in vars(module), "the module has kept the strategy's step"
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

    def test_a_search_goes_on_from_a_checkpoint_to_the_last_bit(self, tmp_path: Path) -> None:
        path, begun = tmp_path / "first.ckpt", list[int]()
        unbroken, remembered = self._two_epochs(tmp_path, begun, _SaveFirstEpoch(path))
        torch.load(path, weights_only=True)
        continued, remembered_too = self._two_epochs(tmp_path, begun, checkpoint=path)
        assert begun == [0], "a search begins once, and does not where it goes on"
        assert all(map(torch.equal, unbroken, continued)), "the search ends differently where it was interrupted"
        _assert_equal(remembered, remembered_too)
        fresh = self.strategy()
        fresh.load_state_dict(copy.deepcopy(remembered))
        _assert_equal(remembered, fresh.state_dict())

    def _two_epochs(self, folder: Path, begun: list[int], *callbacks: Any, **given: Any) -> tuple[list[Tensor], Any]:
        """Search for two epochs; what the searchable ends with, and what the strategy remembers."""
        searchable, strategy = self.searchable(), self.strategy()
        begin = strategy.begin

        def counted(step: SearchStep) -> None:
            begun.append(step.number)
            begin(step)

        strategy.begin = counted  # type: ignore[method-assign]
        # Two batches a step: a loss of the weights is then asked for twice.
        trainer: dict[str, Any] = {"max_epochs": 2, "accumulate_grad_batches": 2}
        self.search(searchable, folder, *callbacks, learner=strategy, **trainer, **given)
        tensors = [value for value in searchable.state_dict().values() if isinstance(value, Tensor)]
        return tensors, strategy.state_dict()

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


class _SaveFirstEpoch(pl.Callback):
    """Keeps a checkpoint of the end of the first epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


def _assert_equal(first: Any, second: Any) -> None:
    """Two states of a strategy are the same, to the last bit."""
    leaves, others = torch.utils._pytree.tree_leaves(first), torch.utils._pytree.tree_leaves(second)
    assert len(leaves) == len(others), "the strategy remembers more, or less, than what comes back"
    for mine, other in zip(leaves, others, strict=True):
        same = torch.equal(mine, other) if isinstance(mine, Tensor) else mine == other
        assert same, "what the strategy remembers is not what comes back"


def _search_data(strategy: Strategy) -> dict[str, Any]:
    return {"search_data": "validation"} if strategy.uses_search_data else {}


@contextmanager
def _gates_of(searchable: Searchable) -> Iterator[list[tuple[Tensor, bool]]]:
    """The gates of all of the supernet's runs inside, and whether they were no step of the architecture."""
    seen: list[tuple[Tensor, bool]] = []

    def look(module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        seen.append((options["gates"].matrix.detach().clone(), not searchable.logits.requires_grad))

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
