"""Cells on the skip connections of a model of smp whose trained weights are in a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seg_space.smp.implant import ImplantSpace
from seg_space.smp.trained import load_trained


class TrainedImplantSpace(ImplantSpace):
    """`ImplantSpace` of a model that is said in plain values, for the command line and YAML.

    ```yaml
    space:
      class_path: smp-implant
      init_args:
        model: {arch: Unet, encoder_name: resnet18, in_channels: 1, classes: 4}
        checkpoint: unet.pt
    ```

    Args:
        model: the arguments of `smp.create_model` that it was made with; `encoder_weights` among them is not read.
        checkpoint: a file of its trained weights (`.pt`, `.pth`, `.ckpt`, `.safetensors`), see `trained.load_trained`.
        frozen: leave its weights and batch statistics as they are, and drop nothing in it.
        blocks: of the cell.
        state_channels: of each of the cell's states.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: smp makes no such model, the file has no weights of it, or see `ImplantSpace`.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        checkpoint: str,
        frozen: bool = True,
        blocks: int = 2,
        state_channels: int = 16,
        max_parameters: int | None = None,
    ) -> None:
        super().__init__(load_trained(model, checkpoint), frozen, blocks, state_channels, max_parameters)
        self.model, self.checkpoint = dict(model), checkpoint
