"""The reading of calls of image networks: which part is the image, and what a prediction belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from automl_plugins.spaces.calls import Reading, SeenCall, UnreadCallError, last_name, one_of

_IMAGES = ("image", "images", "img", "imgs", "pixel_values", "x", "input", "inputs", "data")
_TARGETS = ("mask", "masks", "label", "labels", "target", "targets", "y")


class ImageReader:
    """The reading of calls of image networks, see `automl_plugins.spaces.calls.CallReader`."""

    inputs = ("image",)
    numbers = ()

    def read(self, seen: SeenCall, named: Mapping[str, str], task: Mapping[str, Any]) -> Reading:
        """See `CallReader.read`."""
        tensors = {path: part for path, part in seen.parts.items() if isinstance(part, Tensor)}
        path = named.get("image")
        if path is not None and path not in tensors:
            raise UnreadCallError(f"call.image={path!r}: the call has {', '.join(tensors) or 'no tensors'}")
        if path is None:
            images = [each for each, part in tensors.items() if part.dim() == 4 and last_name(each) not in _TARGETS]
            path = one_of("image", images, _IMAGES, "the images")
        if path is None:
            shapes = [f"{each} {list(part.shape)}" for each, part in tensors.items()]
            raise UnreadCallError(
                f"the call has no images [batch, channels, height, width]: it has {', '.join(shapes) or 'no tensors'}"
            )
        image = tensors[path]
        level, channels, scale = _prediction(seen.outputs, image, task)
        return Reading(
            inputs={"image": path},
            task={"level": level, "in_channels": image.shape[1], "out_channels": channels},
            reals=() if image.is_floating_point() else ("image",),
            squeezed=seen.outputs.dim() in (1, 3),
            scale=scale,
        )


def _prediction(outputs: Tensor, image: Tensor, task: Mapping[str, Any]) -> tuple[str, int, float]:
    """The level of a prediction, its channels, and the scale of its height to the image's."""
    if outputs.dim() > 0 and len(outputs) == len(image):
        if outputs.dim() in (3, 4):
            scale = outputs.shape[-1] / image.shape[-1]
            if outputs.shape[-2] == round(scale * image.shape[-2]):
                return "pixel", outputs.shape[1] if outputs.dim() == 4 else 1, scale
        elif outputs.dim() in (1, 2):
            return "image", outputs.shape[1] if outputs.dim() == 2 else 1, 1.0
    raise UnreadCallError(
        f"the network gives a tensor of the shape {list(outputs.shape)} for images {list(image.shape)}; networks here "
        "give [batch, classes], or [batch, classes, height, width] of the images' proportions"
    )
