"""The call of networks whose outputs are pixels."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from automl_plugins.spaces.task import Level
from seg_space.modules.base import VisionModule


class PixelModule(VisionModule):
    """A network that gives `[batch, out_channels, height, width]` of the targets' height and width."""

    level: ClassVar[Level] = "pixel"

    def _outputs(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, targets = batch
        outputs: Tensor = self.network(images)
        if outputs.dim() != 4 or outputs.shape[-2:] != targets.shape[-2:]:
            raise ValueError(
                f"the network gives outputs of shape {list(outputs.shape)} for targets of shape {list(targets.shape)}; "
                "it has to give [batch, channels, height, width] of the targets' height and width"
            )
        return outputs
