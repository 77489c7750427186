"""The parts of exported networks of smp; see `automl_plugins.spaces.plain_source`."""

import segmentation_models_pytorch as smp
from torch import Tensor, nn

__all__ = ["Unused", "smp"]


class Unused(nn.Module):
    """In place of a part that smp makes and that no output depends on."""

    def forward(self, x: Tensor, *others: object) -> Tensor:
        return x
