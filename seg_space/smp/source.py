"""Networks of smp as plain source, which imports smp and nothing of ours."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.source_text import call, class_text, listed
from seg_space.auto_deeplab import plain as shared
from seg_space.smp import plain

NORMALISED = "images = images * self.factor.view(-1, 1, 1) + self.summand.view(-1, 1, 1)"
"""The line that brings images to what pretrained weights expect."""


def smp_source(
    model: nn.Module, normalises: bool, multiple: int, least: int, classifier: nn.Linear | None = None
) -> PlainSource:
    """The source of an `SmpNetwork`, or of an `SmpImageNetwork`.

    Args:
        model: of smp.
        normalises: whether images are brought to what pretrained weights expect.
        multiple: that both sides of images are padded to.
        least: side of a padded image.
        classifier: of whole images; None: outputs are of pixels.
    """
    parts: Any = model
    config = {name: value for name, value in parts.config.items() if name not in ("encoder_weights",)}
    name, encoder = type(model).__name__, config.pop("encoder_name")
    arguments = [repr_of(encoder), "encoder_weights=None"]
    arguments += [f"{each}={repr_of(value)}" for each, value in config.items() if _differs(type(model), each, value)]
    init = [call(f"self.model = smp.{name}(", arguments, ")", 8)]
    unused = [each for each, module in model.named_modules() if type(module).__name__ == "_Idle"]
    if unused:
        init.append(listed("unused = [", [repr_of(each) for each in unused], "]", 8))
        init += ["for name in unused:", "            self.model.set_submodule(name, Unused())"]
    channels = parts.encoder.out_channels[0]
    names: dict[str, str | None] = {}
    if normalises:
        init += normalising(channels)
        names = normalisation_names("normalisation")
    forward = [NORMALISED] if normalises else []
    if classifier is None:
        forward = ["height, width = images.shape[-2:]", *forward]
        forward.append(f"outputs = self.model(padded(images, multiple={multiple}, least={least}))")
        forward.append("return outputs[..., :height, :width]")
    else:
        init.append("self.model.segmentation_head = nn.Identity()")
        init.append(f"self.classifier = nn.Linear({classifier.in_features}, {classifier.out_features})")
        forward.append(f"features = self.model.encoder(padded(images, multiple={multiple}, least={least}))")
        forward.append("pooled = [x.mean(dim=(2, 3)) for x in (features[-1], self.model.decoder(features))]")
        forward.append("return self.classifier(torch.cat(pooled, dim=1))")
    told = f"{name} on {encoder}, for images of any size."
    network = class_text("Network", told, init, forward, ["images: Tensor"])
    return PlainSource(network, (shared, plain), names, ("segmentation_models_pytorch",))


def encoder_source(name: str, channels: int, classifier: nn.Linear, normalises: bool) -> PlainSource:
    """The source of a hand-made classifier of images: an encoder of smp, averaged, and a linear map.

    Args:
        name: of the encoder.
        channels: of the images.
        classifier: its linear map.
        normalises: whether images are brought to what pretrained weights expect.
    """
    init = [f'self.encoder = smp.encoders.get_encoder("{name}", in_channels={channels}, depth=5, weights=None)']
    init.append(f"self.classifier = nn.Linear({classifier.in_features}, {classifier.out_features})")
    init += normalising(channels) if normalises else []
    forward = [NORMALISED] if normalises else []
    forward.append("return self.classifier(self.encoder(images)[-1].mean(dim=(2, 3)))")
    names = normalisation_names("normalisation") if normalises else {}
    network = class_text("Network", f"A classifier on {name}.", init, forward, ["images: Tensor"])
    return PlainSource(network, (plain,), names, ("segmentation_models_pytorch",))


def normalising(channels: int) -> list[str]:
    """The lines of `__init__` that `NORMALISED` needs."""
    return [f'self.register_buffer("{each}", torch.ones({channels}))' for each in ("factor", "summand")]


def normalisation_names(prefix: str) -> dict[str, str | None]:
    """The names of an `InputNormalisation`'s buffers, see `automl_plugins.spaces.plain_source.PlainSource`."""
    kept = {f"{prefix}.{each}": each for each in ("factor", "summand")}
    return {**kept, f"{prefix}.mean": None, f"{prefix}.deviation": None}


def repr_of(value: Any) -> str:
    """A plain value in Python as ruff formats it."""
    return repr(list(value) if isinstance(value, tuple) else value).replace("'", '"')


def _differs(cls: type[nn.Module], name: str, value: Any) -> bool:
    """True where an argument is not the default of a class of smp."""
    parameter = inspect.signature(cls).parameters.get(name)
    default = None if parameter is None else parameter.default
    return parameter is not None and (list(default) if isinstance(default, tuple) else default) != value
