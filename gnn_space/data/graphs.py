"""Many graphs: batches of them to train on, and fixed batches to evaluate on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from automl_plugins.spaces.task import Task
from automl_plugins.system.arguments import at_least
from automl_plugins.training.data.base import TaskDataModule
from automl_plugins.training.data.batches import FixedBatches, ResumableLoader, SeededOrder, generator
from automl_plugins.training.data.unlabelled import Unlabelled
from automl_plugins.training.preprocessing import Preprocessing
from gnn_space.data.store import GraphStore, collate
from gnn_space.data.unlabelled_graphs import unlabelled_graphs


@dataclass(frozen=True)
class ManyGraphs:
    """The graphs of each split, the task on them, and the evaluation batches made so far."""

    task: Task
    train: GraphStore
    val: GraphStore
    test: GraphStore
    fixed: dict[str, FixedBatches] = field(default_factory=dict)


class ManyGraphsData(TaskDataModule[ManyGraphs]):
    """Batches of PyG graphs with `x`, `edge_index`, `edge_attr` (or none), `y`, `batch` and `ptr`.

    Training batches are shuffled, in an order that is a function of the seed and the epoch alone.
    Validation and test batches are collated once, at first use, and kept. In a distributed run,
    each process trains on its share and evaluates on everything.

    Subclasses implement `_load`.

    Args:
        batch_size: graphs of a batch; the last batch of an epoch may have fewer.
        seed: of the split and of the order of training batches.

    Raises:
        ValueError: an argument is out of range.
    """

    after_loading: ClassVar[frozenset[str]] = frozenset(("batch_size",))

    def __init__(self, batch_size: int, seed: int) -> None:
        super().__init__(seed)
        self.batch_size = at_least("batch_size", batch_size, 1)

    @property
    def target_statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation of the training graphs' real-valued targets, each `[num_targets]`; else None.

        Missing targets do not count. The standard deviation of a constant is given as 1, so that
        one can divide by it.
        """
        y = self.loaded.train.y
        if not y.is_floating_point():
            return None
        # In float64: targets may be large, and differ little.
        columns = y.double().view(len(y), -1)
        mean = columns.nanmean(dim=0)
        deviation = (columns - mean).square().nanmean(dim=0).sqrt()
        return mean.to(y.dtype), deviation.masked_fill(deviation == 0, 1.0).to(y.dtype)

    def reading(self) -> dict[str, Any]:
        """The arguments of `unlabelled` with which further graphs become what these are."""
        return {"undirected": False}

    @classmethod
    def unlabelled(cls, path: Path, kept: Preprocessing, **options: Any) -> Unlabelled:
        """Graphs in npz files without targets, see `unlabelled_graphs`."""
        return unlabelled_graphs(path, kept.task, **{**kept.reading, **options})

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled batches; each call begins again with the order of epoch 0."""
        store = self.loaded.train
        world_size, rank = (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
        return ResumableLoader(
            store,
            batch_size=self.batch_size,
            sampler=SeededOrder(store, self.seed, world_size, rank),
            collate_fn=collate,
            generator=generator(self.seed),
        )

    def val_dataloader(self) -> FixedBatches:
        """The validation graphs, in a fixed order."""
        return self._fixed("val")

    def test_dataloader(self) -> FixedBatches:
        """The test graphs, in a fixed order."""
        return self._fixed("test")

    def predict_dataloader(self) -> FixedBatches:
        """The test graphs, in a fixed order."""
        return self._fixed("test")

    def _without_batches(self, loaded: ManyGraphs) -> ManyGraphs:
        return replace(loaded, fixed={})

    def _fixed(self, split: Literal["val", "test"]) -> FixedBatches:
        loaded = self.loaded
        if split not in loaded.fixed:
            store = loaded.val if split == "val" else loaded.test
            starts = range(0, len(store), self.batch_size)
            chunks = (range(start, min(start + self.batch_size, len(store))) for start in starts)
            loaded.fixed[split] = FixedBatches([store.batch(list(chunk)) for chunk in chunks])
        return loaded.fixed[split]
