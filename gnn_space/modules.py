"""LightningModules that train a graph network: node, edge and graph level."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection
from torchmetrics.classification import BinaryAccuracy

from automl_plugins.spaces.task import Level, Task
from automl_plugins.training.task_module import TaskModule
from gnn_space.batch_checks import check_batch
from gnn_space.metrics import UNKNOWN, ClassAccuracy, LabelAUROC, LabelF1


class _GraphModule(TaskModule):
    """How a network of graphs is called; by default all targets of a batch count."""

    def forward(self, batch: Data) -> Tensor:
        """The network's outputs for a PyG `Data` or `Batch`: logits, or values in the targets' units."""
        return self._outputs(batch)

    def _outputs(self, batch: Data) -> Tensor:
        membership = getattr(batch, "batch", None)
        # `num_graphs` of a batch is known on the host; asking the tensor would wait for the device.
        num_graphs = None if membership is None else batch.num_graphs
        return self.network(batch.x, batch.edge_index, batch.edge_attr, membership, num_graphs)

    def _select(self, batch: Data, outputs: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        return outputs, batch.y

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


class _GraphClassifier(_GraphModule):
    """Cross entropy; accuracy for classes, AUROC for a binary target, the mean of the labels' AUROC for several.

    A class without a target in a stage, and a label whose known targets are all equal, are left out of the mean, and
    named once. Where nothing is left, the metric is nan.
    """

    def __init__(
        self, network: nn.Module, task: Task, learning_rate: float, weight_decay: float, class_weighted: bool
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay)
        self.direction = "maximize"
        self.class_weighted = class_weighted
        if class_weighted and task.target != "classes":
            raise ValueError(f"class_weighted is for targets of several classes; the task's target is {task.target!r}")
        if task.target == "classes":
            self.monitor = "val_accuracy"
            self._track({"accuracy": ClassAccuracy(task.out_channels, by_class=class_weighted)})
        elif task.target in ("binary", "multilabel"):
            self.monitor = "val_auroc"
            accuracy = BinaryAccuracy(ignore_index=UNKNOWN, validate_args=False)
            metrics: dict[str, Metric | MetricCollection] = {"auroc": LabelAUROC(task.out_channels)}
            self._track(metrics | ({"accuracy": accuracy} if task.target == "binary" else {"f1": LabelF1()}))
        else:
            raise ValueError(f"{type(self).__name__} needs a target of classes; the task's is {task.target!r}")

    def _select(self, batch: Data, outputs: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        mask = None if self.level == "graph" else getattr(batch, f"{stage}_mask", None)
        targets = batch.y
        if mask is not None:
            outputs, targets = outputs[mask], targets[mask]
        if self.task.target == "classes":
            # Some data sets keep classes as floats, or in a column.
            return outputs, targets.view(-1).long()
        # Yes or no comes as a number or a row of one, as integers or, with nan, as floats.
        return outputs, targets.view_as(outputs).to(outputs.dtype)

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.task.target != "classes":
            known = ~targets.isnan()
            losses = functional.binary_cross_entropy_with_logits(outputs[known], targets[known], reduction="sum")
            return losses / known.sum().clamp(min=1)
        if not self.class_weighted:
            return functional.cross_entropy(outputs, targets, reduction="sum") / max(len(targets), 1)
        weights = _class_weights(targets, self.task.out_channels).to(outputs.dtype)
        losses = functional.cross_entropy(outputs, targets, weights, reduction="sum")
        return losses / weights.index_select(0, targets).sum().clamp(min=torch.finfo(outputs.dtype).tiny)

    def _update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        if self.task.target == "classes":
            metrics.update(outputs, targets)
            return
        targets = targets.nan_to_num(UNKNOWN).long()
        for name, metric in metrics.items(keep_base=True):
            metric.update((outputs > 0).long() if name == "accuracy" else outputs, targets)

    def _values(self, stage: str, computed: dict[str, Tensor]) -> dict[str, Tensor]:
        kinds = "classes" if self.task.target == "classes" else "labels"
        return {
            name: value if value.dim() == 0 else self._mean_of_defined(name, value, kinds, self._names())
            for name, value in computed.items()
        }

    def _names(self) -> list[str]:
        """The classes or labels as the datamodule calls them, or their numbers."""
        names = getattr(getattr(self.trainer, "datamodule", None), "target_columns", ())
        count = self.task.out_channels
        return [str(name) for name in (names if len(names) == count else range(count))]


def _class_weights(targets: Tensor, num_classes: int) -> Tensor:
    """(V - V_c) / V for the V targets of a batch, V_c of them of class c, `[num_classes]`.

    A class that has the batch for itself would weigh nothing, and the weighted mean be 0 / 0: it weighs one.
    """
    counts = torch.bincount(targets, minlength=num_classes)
    return torch.where(counts == len(targets), 1.0, (len(targets) - counts) / max(len(targets), 1))


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

    Raises:
        ValueError: a task of another level or target, or a number out of range.
    """

    level: ClassVar[Level] = "node"

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 5e-3,
        weight_decay: float = 5e-4,
        class_weighted: bool = False,
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, class_weighted)


class EdgeClassification(_GraphClassifier):
    """Classify edges; targets are `[num_edges]`, in the order of `edge_index`.

    A batch with `train_mask`, `val_mask` and `test_mask` over edges counts those of the stage's mask.

    Args:
        network: gives logits `[num_edges, out_channels]`.
        task: of level `edge`.
        learning_rate: Adam's.
        weight_decay: Adam's L2 penalty.
        class_weighted: weight classes and average recalls over them, as in `NodeClassification`.

    Raises:
        ValueError: a task of another level or target, or a number out of range.
    """

    level: ClassVar[Level] = "edge"

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        class_weighted: bool = False,
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, class_weighted)


class GraphClassification(_GraphClassifier):
    """Classify graphs.

    Args:
        network: gives logits `[num_graphs, out_channels]`.
        task: of level `graph`.
        learning_rate: Adam's.
        weight_decay: Adam's L2 penalty.

    Raises:
        ValueError: a task of another level or target, or a number out of range.
    """

    level: ClassVar[Level] = "graph"

    def __init__(self, network: nn.Module, task: Task, learning_rate: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(network, task, learning_rate, weight_decay, class_weighted=False)


class GraphRegression(_GraphModule):
    """Predict real values of graphs.

    The network learns standardised targets: losses are of those, `forward` and the metrics in the targets' own
    units. Mean and scale come from the datamodule's `target_statistics` (of its training graphs)
    where it has them, and are kept in the `state_dict`. Targets that are nan do not count.

    Args:
        network: gives values `[num_graphs, out_channels]`.
        task: of level `graph`, target `regression`.
        learning_rate: Adam's.
        weight_decay: Adam's L2 penalty.
        loss: `squared` errors, judged by RMSE, or `absolute` ones, judged by MAE, as on ZINC.

    Raises:
        ValueError: a task of another level or target, another loss, or a number out of range.
    """

    level: ClassVar[Level] = "graph"
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        loss: Literal["squared", "absolute"] = "squared",
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay)
        if loss not in ("squared", "absolute"):
            raise ValueError(f"loss is squared or absolute; got {loss!r}")
        self.loss = loss
        if task.target != "regression":
            raise ValueError(f"GraphRegression needs a target of real values; the task's is {task.target!r}")
        self.monitor, self.direction = ("val_rmse" if loss == "squared" else "val_mae"), "minimize"
        self.register_buffer("mean", torch.zeros(task.out_channels))
        self.register_buffer("scale", torch.ones(task.out_channels))
        self._track({"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError()})

    def setup(self, stage: str) -> None:
        statistics: Any = getattr(getattr(self.trainer, "datamodule", None), "target_statistics", None)
        if stage == "fit" and statistics is not None:
            mean, scale = statistics
            self.mean.copy_(mean)
            self.scale.copy_(scale.masked_fill(scale == 0, 1.0))

    def forward(self, batch: Data) -> Tensor:
        return self._outputs(batch) * self.scale + self.mean

    def _select(self, batch: Data, outputs: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        return outputs, (batch.y.view_as(outputs) - self.mean) / self.scale

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        known = ~targets.isnan()
        error = functional.mse_loss if self.loss == "squared" else functional.l1_loss
        return error(outputs[known], targets[known], reduction="sum") / known.sum().clamp(min=1)

    def _update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        known = ~targets.isnan()
        restored = [(values * self.scale + self.mean)[known] for values in (outputs, targets)]
        metrics.update(*restored)
