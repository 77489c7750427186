"""The call of networks whose outputs are pixels."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from automl_plugins.spaces.task import Level
from seg_space.modules.base import VisionModule
from seg_space.modules.deep_supervision import SupervisedAtLevels, loss_of_levels


class PixelModule(VisionModule):
    """A network that gives `[batch, out_channels, height, width]` of the targets' height and width.

    One that is `SupervisedAtLevels` is trained by the outputs of all its levels, see `loss_of_levels`.
    """

    level: ClassVar[Level] = "pixel"

    def _outputs(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, targets = batch
        outputs: Tensor = self.network(images)
        self._check_size(outputs, targets)
        return outputs

    def _training_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        if not isinstance(self.network, SupervisedAtLevels):
            return super()._training_loss(batch)
        images, targets = batch
        levels = self.network.forward_levels(images)
        self._check_size(levels[0], targets)
        return loss_of_levels(
            levels, targets, lambda *level: self._loss(*self._select((images, level[1]), level[0], "train"))
        )

    def _check_size(self, outputs: Tensor, targets: Tensor) -> None:
        if outputs.dim() != 4 or outputs.shape[-2:] != targets.shape[-2:]:
            raise ValueError(
                f"the network gives outputs of shape {list(outputs.shape)} for targets of shape {list(targets.shape)}; "
                "it has to give [batch, channels, height, width] of the targets' height and width"
            )
