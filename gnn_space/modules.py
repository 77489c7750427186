"""LightningModules that train a graph network: node, edge and graph level."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from automl_plugins.spaces.task import Level, Task
from automl_plugins.training.classification import ClassificationModule
from automl_plugins.training.regression import RegressionModule
from automl_plugins.training.schedule import Shape
from automl_plugins.training.task_module import TaskModule
from gnn_space.batch_checks import check_batch


class _GraphModule(TaskModule):
    """The call of a network of graphs with a PyG `Data` or `Batch`, and the checks of its first batches."""

    def _outputs(self, batch: Data) -> Tensor:
        membership = getattr(batch, "batch", None)
        # `num_graphs` of a batch is known on the host; asking the tensor would wait for the device.
        num_graphs = None if membership is None else batch.num_graphs
        inputs = (batch.x, batch.edge_index, batch.edge_attr, membership, num_graphs)
        # A network that somebody else wrote need not know of features of whole graphs.
        return self.network(*inputs, batch.graph_attr) if self.task.graph_channels else self.network(*inputs)

    @property
    def _type(self) -> torch.dtype:
        """The type of the network's weights."""
        return next((one.dtype for one in self.network.parameters()), torch.get_default_dtype())

    def on_train_batch_start(self, batch: Data, batch_index: int) -> None:
        if batch_index == 0 and self.trainer.current_epoch == 0:
            check_batch(batch, self.task, "train", self._type)

    def on_validation_batch_start(self, batch: Data, batch_index: int, dataloader_idx: int = 0) -> None:
        if batch_index == 0 and self.trainer.current_epoch == 0 and self.trainer.state.fn == "fit":
            check_batch(batch, self.task, "val", self._type)


class _GraphClassifier(_GraphModule, ClassificationModule):
    """Classification of nodes, edges or graphs; those that a stage's mask names, if there is one."""

    def _select(self, batch: Data, outputs: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        mask = None if self.level == "graph" else getattr(batch, f"{stage}_mask", None)
        if mask is not None:
            return self._rows(outputs[mask], batch.y[mask])
        return self._rows(outputs, batch.y)

    def _item_sizes(self, batch: Data, targets: Tensor, stage: str) -> list[int]:
        # Nodes and edges of one graph depend on one another: where there are several graphs, each is an item.
        membership = getattr(batch, "batch", None)
        if self.level == "graph" or membership is None or batch.num_graphs == 1:
            return super()._item_sizes(batch, targets, stage)
        if self.level == "edge":
            membership = membership[batch.edge_index[0]]
        mask = getattr(batch, f"{stage}_mask", None)
        counts: list[int] = torch.bincount(membership if mask is None else membership[mask]).tolist()
        return counts


class NodeClassification(_GraphClassifier):
    """Classify nodes: of one graph with masks, or of many graphs.

    A batch with `train_mask`, `val_mask` and `test_mask` counts the nodes of the stage's mask, one
    without counts all of its nodes.

    Args:
        network: gives logits `[num_nodes, out_channels]`.
        task: of level `node`.
        learning_rate: Adam's.
        weight_decay: Adam's L2 penalty.
        class_weighted: weight each class by the share of the batch that is *not* of it, and report the mean of
            the classes' recalls as accuracy, as CLUSTER and PATTERN do (Dwivedi et al. 2023). Recalls are of the
            whole epoch, theirs of each batch; a class that does not occur in it does not count.
        schedule: of the learning rate: `cosine` (with warm-up) or `poly`, to zero over the Trainer's steps; or
            `constant`.

    Raises:
        ValueError: a task of another level or target, another schedule, or a number out of range.
    """

    level: ClassVar[Level] = "node"

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 5e-3,
        weight_decay: float = 5e-4,
        class_weighted: bool = False,
        schedule: Shape = "cosine",
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, class_weighted, schedule)


class EdgeClassification(_GraphClassifier):
    """Classify edges; targets are `[num_edges]`, in the order of `edge_index`.

    A batch with `train_mask`, `val_mask` and `test_mask` over edges counts those of the stage's mask.

    Args:
        network: gives logits `[num_edges, out_channels]`.
        task: of level `edge`.
        learning_rate: Adam's.
        weight_decay: Adam's L2 penalty.
        class_weighted: weight classes and average recalls over them, as in `NodeClassification`.
        schedule: of the learning rate: `cosine` (with warm-up) or `poly`, to zero over the Trainer's steps; or
            `constant`.

    Raises:
        ValueError: a task of another level or target, another schedule, or a number out of range.
    """

    level: ClassVar[Level] = "edge"

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        class_weighted: bool = False,
        schedule: Shape = "cosine",
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, class_weighted, schedule)


class GraphClassification(_GraphClassifier):
    """Classify graphs.

    Args:
        network: gives logits `[num_graphs, out_channels]`.
        task: of level `graph`.
        learning_rate: Adam's.
        weight_decay: Adam's L2 penalty.
        schedule: of the learning rate: `cosine` (with warm-up) or `poly`, to zero over the Trainer's steps; or
            `constant`.

    Raises:
        ValueError: a task of another level or target, another schedule, or a number out of range.
    """

    level: ClassVar[Level] = "graph"

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        schedule: Shape = "cosine",
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, class_weighted=False, schedule=schedule)


class GraphRegression(_GraphModule, RegressionModule):
    """Predict real values of graphs.

    The network learns standardised targets: losses are of those, `forward` and the metrics in the targets' own
    units. Mean and scale come from the datamodule's `target_statistics` (of its training graphs)
    where it has them, and are kept in the `state_dict`. Targets that are nan do not count.

    Args:
        network: gives values `[num_graphs, out_channels]`.
        task: of level `graph`, target `regression`.
        learning_rate: Adam's; chosen by validation on ESOL and FreeSolv, where random networks of GNN+'s space end a
            trial of 15 epochs with errors 8 and 26 % lower than at 1e-3, and hand-made ones with none higher by more
            than their seeds'.
        weight_decay: Adam's L2 penalty.
        loss: `squared` errors, judged by RMSE, or `absolute` ones, judged by MAE, as on ZINC; several values by NRMSE
            or NMAE, see `RegressionModule`.
        schedule: of the learning rate: `cosine` (with warm-up) or `poly`, to zero over the Trainer's steps; or
            `constant`.

    Raises:
        ValueError: a task of another level or target, another loss, another schedule, or a number out of range.
    """

    level: ClassVar[Level] = "graph"

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.0,
        loss: Literal["squared", "absolute"] = "squared",
        schedule: Shape = "cosine",
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, loss, schedule)

    def _select(self, batch: Data, outputs: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        return outputs, self._standardised(batch.y.view_as(outputs))
