"""The data that an architecture learns on: which samples, in which order, from where."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from search_project import LitUser, UserData, differing, loader, samples, state
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader as GraphDataLoader
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import BaseSampler, SamplerOutput

from automl_plugins.search import ArchitectureSearch, split_loader
from automl_plugins.search.batches import SearchBatches, SearchOrder

NUMBERS = list(range(20))


def drawn(batches: Any) -> list[int]:
    return [int(value) for batch in batches for value in batch]


# Splitting.


@given(count=st.integers(2, 60), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_the_parts_are_disjoint_and_all_that_there_is(count: int, fraction: float, seed: int) -> None:
    parts = [drawn(part) for part in split_loader(DataLoader(range(count), 4), fraction, seed)]
    assert all(parts)
    assert sorted(parts[0] + parts[1]) == list(range(count))
    assert abs(len(parts[1]) - fraction * count) <= 1
    again = split_loader(DataLoader(range(count), 7, shuffle=True), fraction, seed)
    assert sorted(drawn(again[1])) == sorted(parts[1]), "a function of the seed and the number of samples"


def test_the_training_part_is_shuffled_as_the_whole_was() -> None:
    kept = [split_loader(DataLoader(NUMBERS, 4, shuffle=shuffle))[0] for shuffle in (False, True)]
    assert isinstance(kept[0].sampler, SequentialSampler)
    assert isinstance(kept[1].sampler, RandomSampler)
    assert kept[0].batch_size == 4


def test_samples_that_a_sampler_leaves_out_stay_out() -> None:
    chosen = [1, 3, 5, 7, 9, 11]
    parts = split_loader(DataLoader(NUMBERS, 2, sampler=SubsetRandomSampler(chosen)))
    assert sorted(drawn(parts[0]) + drawn(parts[1])) == chosen


def test_processes_share_the_training_part() -> None:
    def shares(rank: int) -> list[int]:
        sampler = DistributedSampler(NUMBERS, 2, rank, shuffle=True, seed=3)
        return drawn(split_loader(DataLoader(NUMBERS, 2, sampler=sampler))[0])

    whole = drawn(split_loader(DataLoader(NUMBERS, 2))[0])
    assert sorted(shares(0) + shares(1)) == whole


class Alone(BaseSampler):
    """Samples no neighbours; PyG's own need extensions that are not everywhere."""

    def sample_from_nodes(self, index: Any, **_: Any) -> SamplerOutput:
        none = torch.empty(0, dtype=torch.int64)
        return SamplerOutput(index.node, none, none, None, metadata=(index.input_id, index.time))

    def sample_from_edges(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_loader_of_neighbourhoods_is_split_by_its_seed_nodes(shuffle: bool) -> None:
    node = torch.arange(40)
    graph = Data(x=node.view(-1, 1), edge_index=torch.stack([node, node.roll(1)]))
    whole = NodeLoader(graph, Alone(), input_nodes=node[::2], batch_size=3, shuffle=shuffle)
    training, search = split_loader(whole)

    def seeds(loader: Any) -> list[int]:
        return [int(value) for batch in loader for value in batch.x]

    assert sorted(seeds(training) + seeds(search)) == node[::2].tolist()
    assert (seeds(training) == sorted(seeds(training))) is not shuffle
    batches = SearchBatches(search, seed=1)
    assert batches.samples == 10
    cycle = seeds([next(batches) for _ in range(3)])
    assert len(set(cycle)) == 9
    assert set(cycle) < set(seeds(search))
    assert sorted(seeds(whole)) == node[::2].tolist(), "the user's own loader stays whole"


def test_graphs_are_collated_as_before() -> None:
    graphs = [Data(x=torch.full((2, 1), float(i)), z=torch.zeros(1)) for i in range(8)]
    for part in split_loader(GraphDataLoader(graphs, batch_size=2, follow_batch=["z"])):
        for batch in [*part, next(SearchBatches(part, seed=0))]:
            assert isinstance(batch, Batch)
            assert batch.num_graphs == 2
            assert "z_batch" in batch


class Own(DataLoader[Any]):
    def __init__(self, root: str) -> None:
        super().__init__(NUMBERS, 4)

    def __iter__(self) -> Any:
        return iter([torch.zeros(1)])


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(NUMBERS)


@pytest.mark.parametrize(
    ("whole", "reason"),
    [
        ([1, 2, 3], r"a list is no DataLoader; give it a method split\(fraction, seed\)"),
        (DataLoader(Stream(), 2), "data set has no length"),
        (DataLoader(NUMBERS, batch_size=None), "batch sampler of its own"),
        (DataLoader(NUMBERS, batch_sampler=type("Mine", (BatchSampler,), {})(NUMBERS, 2, False)), r"its own \(Mine\)"),
        (DataLoader(NUMBERS, sampler=WeightedRandomSampler([1.0] * 20, 20)), "WeightedRandomSampler"),
        (DataLoader(NUMBERS, sampler=RandomSampler(NUMBERS, replacement=True)), "draws 20 samples"),
        (Own("x"), "Own iterates in its own way"),
        (DataLoader([1]), r"1 training sample\(s\) cannot be split"),
    ],
)
def test_what_cannot_be_split_is_told_why(whole: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        split_loader(whole)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_a_fraction_is_between_zero_and_one(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_loader(DataLoader(NUMBERS), fraction)
    with pytest.raises(ValueError, match="search_fraction is between 0 and 1"):
        ArchitectureSearch(search_fraction=fraction)


# The order.


@given(count=st.integers(4, 40), batch_size=st.integers(1, 6), ranks=st.integers(1, 4), seed=st.integers(0, 99))
def test_batches_of_all_processes_are_those_of_one_with_the_larger_batch(
    count: int, batch_size: int, ranks: int, seed: int
) -> None:
    one = [sorted(batch) for batch in SearchOrder(range(count), batch_size * ranks, seed, 0, 1)]
    shares = [list(SearchOrder(range(count), batch_size, seed, rank, ranks)) for rank in range(ranks)]
    assert [sorted(chain(*parts)) for parts in zip(*shares, strict=True)] == one
    assert len(one) == max(1, count // (batch_size * ranks))
    assert all(len(set(batch)) == len(batch) for batch in one)


def test_each_cycle_has_an_order_of_its_own() -> None:
    batches = SearchBatches(DataLoader(NUMBERS, 5), seed=1)
    cycles = [[int(value) for _ in range(4) for value in next(batches)] for _ in range(3)]
    assert all(sorted(cycle) == NUMBERS for cycle in cycles)
    assert cycles[0] != cycles[1] != cycles[2]
    assert cycles[0] != [int(value) for _ in range(4) for value in next(SearchBatches(DataLoader(NUMBERS, 5), seed=2))]


class Augmented(torch.utils.data.Dataset[Tensor]):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Tensor:
        return index + torch.rand(())


LOADERS: dict[str, Callable[[], Any]] = {
    "a loader over a data set with a length": lambda: DataLoader(Augmented(), 2),
    "a sampler of its own": lambda: DataLoader(Augmented(), 2, sampler=WeightedRandomSampler([1.0] * 7, 7)),
    "a shuffled loader without batches": lambda: DataLoader(Augmented(), batch_size=None, shuffle=True),
    "a stream": lambda: DataLoader(Stream(), 6),
    "a list": lambda: [torch.tensor(number) for number in range(4)],
}


@pytest.mark.parametrize("kind", LOADERS)
def test_the_order_goes_on_from_any_position(kind: str) -> None:
    torch.manual_seed(0)
    whole = SearchBatches(LOADERS[kind](), seed=3)
    states, batches = [], []
    for _ in range(9):
        states.append(whole.state_dict())
        batches.append(next(whole).clone())
    for start, position in enumerate(states):
        torch.manual_seed(start + 1)
        resumed = SearchBatches(LOADERS[kind](), seed=3)
        resumed.load_state_dict(position)
        assert all(torch.equal(next(resumed), batch) for batch in batches[start:])


def test_reading_draws_nothing_from_the_global_generators() -> None:
    before = torch.get_rng_state()
    batches = SearchBatches(DataLoader(Augmented(), 2, shuffle=True), seed=0)
    for _ in range(5):
        next(batches)
    assert torch.equal(torch.get_rng_state(), before)


def test_looking_at_the_first_batches_does_not_move_the_position() -> None:
    batches = SearchBatches(DataLoader(NUMBERS, 5), seed=1)
    next(batches)
    expected = SearchBatches(DataLoader(NUMBERS, 5), seed=1)
    first = [next(expected).tolist() for _ in range(4)]
    assert [batch.tolist() for batch in batches.first(16)] == first
    assert [batch.tolist() for batch in batches.first(2)] == first[:2]
    assert next(batches).tolist() == first[1]


def test_search_data_of_another_size_cannot_be_gone_on_with() -> None:
    state = SearchBatches(DataLoader(NUMBERS, 5), seed=1).state_dict()
    with pytest.raises(ValueError, match="had 20 samples, these have 10"):
        SearchBatches(DataLoader(NUMBERS[:10], 5), seed=1).load_state_dict(state)


def test_data_without_a_batch_are_an_error_and_not_an_endless_loop() -> None:
    with pytest.raises(ValueError, match=r"the search data \(list\) have no batch"):
        next(SearchBatches([], seed=0))
    with pytest.raises(ValueError, match=r"1 search sample\(s\) are too few for 2 processes"):
        SearchBatches(DataLoader([1]), seed=0, rank=0, world_size=2)


# Where they come from.


class WithSearchData(UserData):
    def search_dataloader(self) -> DataLoader[Any]:
        return loader(6, seed=9)


class OwnLoaders(LitUser):
    def train_dataloader(self) -> DataLoader[Any]:
        return loader(16, seed=1, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return loader(8, seed=2)


def source_of(
    make: Callable[..., pl.Trainer], search_data: Any, module: Any = None, search_fraction: float = 0.5, **fit: Any
) -> tuple[Any, int]:
    """How many samples were searched on, and how many trained on."""
    search = ArchitectureSearch(search_data=search_data, search_fraction=search_fraction)
    trainer = make(search, max_epochs=1)
    trainer.fit(module or LitUser(), **fit)
    assert search.run is not None
    assert search.run.maker.batches is not None
    return search.run.maker.batches.samples, len(trainer.train_dataloader.dataset)


@pytest.mark.parametrize(
    ("search_data", "datamodule", "expected"),
    [
        (None, UserData, (8, 8)),
        (None, WithSearchData, (6, 16)),
        ("split", WithSearchData, (8, 8)),
        ("datamodule", WithSearchData, (6, 16)),
        ("validation", UserData, (8, 16)),
        ("training", UserData, (16, 16)),
        (loader(12), UserData, (12, 16)),
        (lambda: loader(10), WithSearchData, (10, 16)),
    ],
)
def test_where_search_data_come_from(
    trainer: Callable[..., pl.Trainer], search_data: Any, datamodule: type, expected: tuple[int, int]
) -> None:
    assert source_of(trainer, search_data, datamodule=datamodule()) == expected


def test_a_modules_own_training_loader_is_split_too(trainer: Callable[..., pl.Trainer]) -> None:
    module = OwnLoaders()
    assert source_of(trainer, None, module) == (8, 8)
    assert len(module.train_dataloader().dataset) == 16


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
def test_loaders_that_a_datamodule_was_made_of_are_split_too(trainer: Callable[..., pl.Trainer]) -> None:
    data = pl.LightningDataModule.from_datasets(samples(16, 1), samples(8, 2), batch_size=4)
    assert source_of(trainer, None, datamodule=data) == (8, 8)
    assert len(data.train_dataloader().dataset) == 16, "and given back"


def test_bare_loaders_leave_the_validation_data_with_a_warning(trainer: Callable[..., pl.Trainer]) -> None:
    fit = {"train_dataloaders": loader(16), "val_dataloaders": loader(12)}
    with pytest.warns(UserWarning, match="honest selection then needs a third set"):
        assert source_of(trainer, None, **fit) == (12, 16)
    with warnings.catch_warnings(record=True) as caught:
        assert source_of(trainer, "validation", **fit) == (12, 16)
    assert not [each for each in caught if "third set" in str(each.message)], "it was asked for"


def test_a_training_loader_that_was_given_to_fit_is_split_where_that_is_asked_for(
    trainer: Callable[..., pl.Trainer],
) -> None:
    given = loader(16, shuffle=True)
    assert source_of(trainer, "split", train_dataloaders=given, val_dataloaders=loader(12)) == (8, 8)
    assert len(given.dataset) == 16


def test_a_training_loader_that_was_given_to_fit_beside_several_validation_loaders_is_split(
    trainer: Callable[..., pl.Trainer],
) -> None:
    class Several(LitUser):
        def validation_step(self, batch: Any, batch_index: int, dataloader_idx: int = 0) -> None:
            super().validation_step(batch, batch_index)

    given = {"train_dataloaders": loader(16, shuffle=True), "val_dataloaders": [loader(12), loader(12)]}
    assert source_of(trainer, None, Several(), **given) == (8, 8)


class LastBatchesDropped(UserData):
    """12 samples in batches of 8: half of them are no batch."""

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(samples(12, 1), 8, shuffle=True, drop_last=True)


def test_a_split_that_leaves_no_training_batch_is_refused(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    search = ArchitectureSearch(path=tmp_path / "architecture.json")
    with pytest.raises(ValueError, match=r"search_fraction=0.5 leaves 6 of the 12 training samples .* no batch of 8"):
        trainer(search).fit(LitUser(), datamodule=LastBatchesDropped())
    assert not list(tmp_path.glob("*.json"))
    assert source_of(trainer, None, datamodule=LastBatchesDropped(), search_fraction=0.3) == (4, 8)


class Nothing(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(())


@pytest.mark.parametrize(
    ("given", "options", "reason"),
    [
        ({"max_epochs": 0}, {}, "max_epochs=0: a search of no step"),
        ({"max_steps": 0}, {}, "max_steps=0: a search of no step"),
        ({"limit_train_batches": 0}, {}, "limit_train_batches=0: a search of no step"),
        ({"max_steps": 4}, {"warmup_epochs": 1}, r"warmup_epochs=1 \(of 4 steps each\) leaves no step of max_steps=4"),
    ],
)
def test_a_search_of_no_step_is_refused_before_it_starts(
    trainer: Callable[..., pl.Trainer], given: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    module = LitUser()
    before = state(module)
    with pytest.raises(ValueError, match=reason):
        trainer(ArchitectureSearch(search_data=loader(8), **options), **given).fit(module, loader(16), loader(8))
    assert differing(state(module), before) == []


@pytest.mark.parametrize("empty", [DataLoader(samples(4, 1), 8, drop_last=True), DataLoader(Nothing(), 4)])
@pytest.mark.filterwarnings("ignore:Total length of `DataLoader` across ranks is zero")
@pytest.mark.filterwarnings("ignore:Total length of `CombinedLoader` across ranks is zero")
def test_training_data_without_a_batch_are_an_error(trainer: Callable[..., pl.Trainer], empty: Any) -> None:
    with pytest.raises(ValueError, match="the training data gave no batch, so nothing was searched"):
        trainer(ArchitectureSearch(search_data=loader(8))).fit(LitUser(), empty, loader(8))


def test_training_data_that_cannot_be_split_leave_the_validation_data(trainer: Callable[..., pl.Trainer]) -> None:
    class Weighted(UserData):
        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(samples(16, 1), 4, sampler=WeightedRandomSampler([1.0] * 16, 16))

    with pytest.warns(UserWarning, match=r"sampler of its own \(WeightedRandomSampler\)"):
        assert source_of(trainer, None, datamodule=Weighted()) == (8, 16)
    with pytest.raises(ValueError, match=r"search_data='split': .*WeightedRandomSampler"):
        source_of(trainer, "split", datamodule=Weighted())


@pytest.mark.parametrize(
    ("search_data", "fit", "reason"),
    [
        ("datamodule", {"datamodule": UserData()}, "UserData has no such method"),
        ("datamodule", {"train_dataloaders": loader()}, "there is no datamodule"),
        ("split", {"train_dataloaders": [loader(), loader()]}, "search_data='split': a list is no DataLoader"),
        ("validation", {"train_dataloaders": loader()}, "needs one validation loader to learn on, but there is none"),
        (
            None,
            {"train_dataloaders": loader()},
            "the loaders were given to fit; search_data='split' splits the training",
        ),
        ("training", {"train_dataloaders": [loader(), loader()]}, "one training loader to learn on, but there are 2"),
    ],
)
@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_search_data_that_are_not_there_are_an_error_before_training(
    trainer: Callable[..., pl.Trainer], search_data: Any, fit: dict[str, Any], reason: str
) -> None:
    search = ArchitectureSearch(search_data=search_data)
    with pytest.raises(ValueError, match=reason):
        trainer(search).fit(LitUser(), **fit)
    assert search.steps == 0


def test_a_word_that_is_none_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"search_data='valdation' is no source of search data.*validation"):
        ArchitectureSearch(search_data="valdation")
