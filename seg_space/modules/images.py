"""The LightningModules of whole images: classification and regression."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from automl_plugins.spaces.task import Level, Task
from automl_plugins.training.classification import ClassificationModule
from automl_plugins.training.regression import RegressionModule
from automl_plugins.training.schedule import Shape
from seg_space.image_targets import check_targets
from seg_space.modules.base import Optimizer, VisionModule


class ImageModule(VisionModule):
    """A network that gives a row `[out_channels]` for each image."""

    level: ClassVar[Level] = "image"

    def _outputs(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, targets = batch
        outputs: Tensor = self.network(images)
        if outputs.shape != (len(images), self.task.out_channels):
            raise ValueError(
                f"the network gives outputs of shape {list(outputs.shape)} for {len(images)} images; it has to give "
                f"[batch, out_channels], which is [{len(images)}, {self.task.out_channels}] here"
            )
        check_targets(targets, outputs, self.task)
        return outputs


class ImageClassification(ImageModule, ClassificationModule):
    """Label whole images: with one of several classes, with yes or no, or with several labels.

    Batches are `(images, targets)`: images `[batch, in_channels, height, width]`; targets are classes, `[batch]`; or 0
    and 1, `[batch]` or `[batch, out_channels]`, and nan where a label is not known.

    Classes are judged by accuracy (`val_accuracy`), labels by the mean of their areas under the ROC curve
    (`val_auroc`), all of the whole epoch and of all ranks.

    Args:
        network: gives logits `[batch, out_channels]`.
        task: of level `image`, target `classes`, `binary` or `multilabel`.
        learning_rate: the optimizer's.
        weight_decay: its L2 penalty.
        optimizer: `adam`, or `sgd` with momentum 0.9.
        schedule: of the learning rate: `poly` (of the power 0.9) or `cosine` (with warm-up), to zero over the Trainer's
            steps; or `constant`.
        encoder_learning_rate: the optimizer's for a pretrained encoder, with the same schedule; None: `learning_rate`.
        frozen_epochs: the first epochs, in which a pretrained encoder stays as it is.
        fixed_statistics: a pretrained encoder's batch statistics stay as they are in all epochs.

    Raises:
        ValueError: a task of another level or target, or a value out of range; (in training) outputs or targets of
            another shape, or targets that are no classes.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        optimizer: Optimizer = "adam",
        schedule: Shape = "poly",
        encoder_learning_rate: float | None = None,
        frozen_epochs: int = 0,
        fixed_statistics: bool = False,
    ) -> None:
        encoder = encoder_learning_rate, frozen_epochs, fixed_statistics
        super().__init__(network, task, learning_rate, weight_decay, optimizer, schedule, *encoder)

    def _select(self, batch: tuple[Tensor, Tensor], outputs: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        return self._rows(outputs, batch[1])


class ImageRegression(ImageModule, RegressionModule):
    """Predict real values of whole images.

    Batches are `(images, targets)`: images `[batch, in_channels, height, width]`, targets `[batch, out_channels]` (or
    `[batch]` for one value), nan where one is not known. The network learns standardised targets: `forward` and the
    metrics are in the targets' own units. Mean and scale come from the datamodule's `target_statistics` where it has
    them, and are kept in the `state_dict`.

    Args:
        network: gives values `[batch, out_channels]`.
        task: of level `image`, target `regression`.
        learning_rate: the optimizer's.
        weight_decay: its L2 penalty.
        optimizer: `adam`, or `sgd` with momentum 0.9.
        schedule: of the learning rate: `poly` (of the power 0.9) or `cosine` (with warm-up), to zero over the Trainer's
            steps; or `constant`.
        loss: `squared` errors, judged by RMSE, or `absolute` ones, judged by MAE; several values by NRMSE or NMAE, see
            `RegressionModule`.
        encoder_learning_rate: the optimizer's for a pretrained encoder, with the same schedule; None: `learning_rate`.
        frozen_epochs: the first epochs, in which a pretrained encoder stays as it is.
        fixed_statistics: a pretrained encoder's batch statistics stay as they are in all epochs.

    Raises:
        ValueError: a task of another level or target, another loss, or a value out of range; (in training) outputs or
            targets of another shape, or infinite targets.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        optimizer: Optimizer = "adam",
        schedule: Shape = "poly",
        loss: Literal["squared", "absolute"] = "squared",
        encoder_learning_rate: float | None = None,
        frozen_epochs: int = 0,
        fixed_statistics: bool = False,
    ) -> None:
        encoder = encoder_learning_rate, frozen_epochs, fixed_statistics
        super().__init__(network, task, learning_rate, weight_decay, optimizer, schedule, *encoder, loss=loss)

    def forward(self, images: Tensor) -> Tensor:
        """The predictions `[batch, out_channels]`, in the targets' units."""
        return self._restored(self.network(images))

    def _select(self, batch: tuple[Tensor, Tensor], outputs: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        return outputs, self._standardised(batch[1].view_as(outputs).to(outputs.dtype))
