"""Equal data have equal fingerprints; whatever else differs is said in words."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
)
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader

from automl_plugins.training.data.batches import FixedBatches
from automl_plugins.training.digest import file_digest
from automl_plugins.training.fingerprint import data_difference, data_fingerprint, datamodule_loaders
from gnn_space.data import ClusterData
from seg_space.data import ImagesAndMasks

Change = Callable[[Tensor], Tensor]


def values(count: int = 40) -> Tensor:
    return torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def loader(x: Tensor, batch_size: int = 4, **options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(x, (x.mean((1, 2, 3)) > 0).long()), batch_size=batch_size, **options)


def difference(before: Any, now: Any, split: str = "train") -> str | None:
    first, second = (json.loads(json.dumps(data_fingerprint({split: loader}))) for loader in (before, now))
    return data_difference(first, second)


def changed(x: Tensor, index: int) -> Tensor:
    x = x.clone()
    x[index, 0, 0, 0] += 0.5
    return x


# What differs is said.


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (loader(values(36)), "40 training samples then, 36 now"),
        (loader(values(), batch_size=8), "training data: batches of 4 then, batches of 8 now"),
        (loader(values(), shuffle=True), "the order SequentialSampler then, the order RandomSampler now"),
        (loader(values(), drop_last=True), "drop_last=False then, drop_last=True now"),
        (loader(values() * 1000), "as many training samples, but others"),
        (loader(values().flip(0)), "as many training samples, but others"),
        (loader(changed(values(), 17)), "as many training samples, but others"),
        ([loader(values()), loader(values())], "1 training loaders then, 2 now"),
    ],
    ids=["fewer", "batch size", "order", "drop_last", "scale", "places", "one value", "loaders"],
)
def test_other_data_are_told_apart_in_words(now: Any, words: str) -> None:
    assert words in str(difference(loader(values()), now))


def test_the_batch_size_of_a_batch_sampler_counts_too() -> None:
    def sampled(batch_size: int) -> DataLoader[Any]:
        data = TensorDataset(values())
        return DataLoader(data, batch_sampler=BatchSampler(SequentialSampler(data), batch_size, drop_last=False))

    assert difference(sampled(4), sampled(4)) is None
    assert difference(sampled(4), sampled(8)) == "training data: batches of 4 then, batches of 8 now"


def test_a_split_that_came_or_went_is_a_difference() -> None:
    both = data_fingerprint({"train": loader(values()), "test": loader(values())})
    one = data_fingerprint({"train": loader(values()), "test": None})
    assert data_difference(one, both) == "no test data then, there were now"
    assert "test data then" in str(data_difference(both, one))


def test_other_indices_of_one_data_set_are_a_difference() -> None:
    first, second, again = (
        loader(values(), sampler=SubsetRandomSampler(indices)) for indices in ([0, 1, 2], [3, 4, 5], [2, 0, 1])
    )
    assert "others of the same data set" in str(difference(first, second))
    assert difference(first, again) is None


@pytest.mark.filterwarnings("ignore:Using 'NeighborSampler' without")
def test_a_neighbour_loader_is_known_by_its_graph() -> None:
    def graph(scale: float) -> NeighborLoader:
        edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
        data = Data(x=scale * torch.ones(4, 2), edge_index=edges, y=torch.arange(4))
        return NeighborLoader(data, num_neighbors=[2], batch_size=2)

    assert difference(graph(1.0), graph(1.0)) is None
    assert "another graph" in str(difference(graph(1.0), graph(2.0)))


# What is harmless is not.


@pytest.mark.parametrize("options", [{"num_workers": 2}, {"pin_memory": False, "timeout": 0}], ids=str)
def test_how_samples_are_fetched_is_no_difference(options: dict[str, Any]) -> None:
    assert difference(loader(values()), loader(values(), **options)) is None


def test_rounding_is_no_difference() -> None:
    """Means that data are normalised with differ in the last bits between machines and numbers of threads."""
    assert difference(loader(values()), loader(values() * (1 + 1e-7))) is None


class Augmented(Dataset[Tensor]):
    """Draws from every generator that there is, and from one of its own."""

    def __init__(self, own: np.random.Generator) -> None:
        self.own = own

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Tensor:
        drawn = random.random() + np.random.rand() + torch.rand(()).item() + self.own.random()  # noqa: NPY002
        return torch.tensor([float(index), drawn])


def test_random_augmentation_is_read_under_a_fixed_seed_and_nothing_is_moved_by_it() -> None:
    first, second = (DataLoader(Augmented(np.random.default_rng()), 2, shuffle=True) for _ in range(2))
    before = random.getstate(), torch.get_rng_state(), first.dataset.own.bit_generator.state
    assert difference(first, second) is None
    after = random.getstate(), torch.get_rng_state(), first.dataset.own.bit_generator.state
    assert before[0] == after[0]
    assert before[1].equal(after[1])
    assert before[2] == after[2]
    fingerprint = data_fingerprint({"train": first})["train"][0]
    assert fingerprint["samples"] == 8
    assert isinstance(fingerprint["items"], list)


def test_of_samples_that_are_never_the_same_only_the_number_counts() -> None:
    class Unseeded(Dataset[Tensor]):
        def __init__(self, count: int) -> None:
            self.count = count

        def __len__(self) -> int:
            return self.count

        def __getitem__(self, index: int) -> Tensor:
            return torch.tensor(np.random.default_rng().random())

    assert difference(DataLoader(Unseeded(8)), DataLoader(Unseeded(8))) is None
    assert difference(DataLoader(Unseeded(8)), DataLoader(Unseeded(9))) == "8 training samples then, 9 now"


# Loaders of all kinds.


class EndlessAndSlow(IterableDataset[Tensor]):
    def __init__(self, value: int) -> None:
        self.value = value

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            time.sleep(0.05)
            yield torch.tensor([self.value])


def test_loaders_that_never_end_and_slow_samples_take_less_than_two_seconds() -> None:
    begin = time.perf_counter()
    assert "others" in str(difference(DataLoader(EndlessAndSlow(0)), DataLoader(EndlessAndSlow(1))))
    assert time.perf_counter() - begin < 4  # two fingerprints


def test_what_can_be_read_only_once_is_not_read() -> None:
    batches = iter([1, 2, 3])
    assert data_fingerprint({"train": batches})["train"][0]["items"] == "unseen"
    assert list(batches) == [1, 2, 3]


def test_batches_of_any_structure() -> None:
    def batches(label: int) -> FixedBatches:
        graph = Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]]))
        return FixedBatches([{"image": (np.zeros(3, np.uint16), None), "name": "a", "y": {label}, "graph": graph}])

    assert difference(batches(0), batches(0)) is None
    assert "as many training batches, but others" in str(difference(batches(0), batches(1)))


def fingerprint(data: Any) -> dict[str, Any]:
    data.prepare_data()
    data.setup()
    return data_fingerprint(datamodule_loaders(data))


def test_our_own_graphs() -> None:
    first, again, other = (fingerprint(ClusterData(4, 2, 2, batch_size=2, seed=seed)) for seed in (0, 0, 1))
    assert set(first) == {"train", "val", "test"}
    assert data_difference(first, again) is None
    assert data_difference(first, other) == "as many training samples, but others (at the first that was compared)"


def test_our_own_images_wherever_they_lie_augmented_or_not(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0)
    for kind, deep in (("images", (12, 12, 3)), ("masks", (12, 12))):
        (tmp_path / "a" / kind).mkdir(parents=True)
        for number in range(10):
            array = pixels.integers(0, 2 if kind == "masks" else 256, deep, np.uint8)
            Image.fromarray(array).save(tmp_path / "a" / kind / f"{number}.png")
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copy)
    options = {"classes": 2, "batch_size": 2, "crop": 8}
    first, moved = (fingerprint(ImagesAndMasks(tmp_path / name, **options)) for name in "ab")
    assert data_difference(first, moved) is None
    Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save(tmp_path / "b" / "images" / "7.png")
    assert data_difference(first, fingerprint(ImagesAndMasks(tmp_path / "b", **options))) is not None


def test_files_that_a_data_set_lists_are_known_by_name_and_size_wherever_they_lie(tmp_path: Path) -> None:
    class Folder(Dataset[int]):
        def __init__(self, root: Path) -> None:
            self.samples = [(str(path), 0) for path in sorted(root.iterdir())]

        def __len__(self) -> int:
            return len(self.samples)

        def __getitem__(self, index: int) -> int:
            return self.samples[index][1]

    for number in range(5):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / f"{number}.bin").write_bytes(b"x" * number)
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copy)
    assert difference(DataLoader(Folder(tmp_path / "a")), DataLoader(Folder(tmp_path / "b"))) is None
    (tmp_path / "b" / "3.bin").write_bytes(b"longer than it was")
    assert "files behind" in str(difference(DataLoader(Folder(tmp_path / "a")), DataLoader(Folder(tmp_path / "b"))))


def test_a_file_is_its_content_not_its_name_or_time(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("1,2\n")
    second.write_text("1,2\n")
    assert file_digest(first) == file_digest(second)
    second.write_text("1,3\n")
    assert file_digest(first) != file_digest(second)


def test_the_fingerprint_is_the_same_in_every_process_on_every_machine() -> None:
    """Sets come in another order in each process; the digest that is expected here was taken in another one."""
    samples = [{"b": {"x", "y", "z"}, "a": 0.5, "c": torch.arange(3)}] * 3
    (taken,) = data_fingerprint({"val": DataLoader(samples)})["val"]
    assert taken["items"][0][:2] == [1, "f086336db20f1ecf4dfe0d87"]
    assert taken["items"][-1][2:] == pytest.approx([1.3914830249830925, 1.5])
