"""Building networks of smp, without the weights that it carries along without using them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from automl_plugins.spaces.task import Task
from seg_space.pretrained.encoders import pretrain
from seg_space.pretrained.sources import Weights
from seg_space.smp.arguments import smp_arguments
from seg_space.smp.network import SmpImageNetwork, SmpNetwork

# What smp and timm raise where parts do not fit.
_REFUSALS = (AssertionError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)

_SIZES = frozenset(("width", "channels", "pyramid_channels", "segmentation_channels", "rates", "interpolation"))
"""Values that change how large a network's parts are, and not which of them count."""


def create_network(values: Mapping[str, Any], task: Task, weights: Weights = None) -> SmpNetwork:
    """Build a network of smp's, on torch's default device, without the parts that never count.

    smp keeps all of an encoder's stages whatever the depth (92 % of a ResNet-18 of depth 3), the last
    convolution of an EfficientNet's classifier, and more. Nothing depends on them, so a module without weights
    stands in their place. `smp.from_pretrained(folder, strict=False)` loads what such a model saved.

    Args:
        values: see `smp_arguments`.
        task: of level `pixel` or `image`; the channels of images and of outputs.
        weights: of the encoder, see `pretrained.sources.Weights`; None: random.

    Raises:
        ValueError: smp cannot build it; the message says why.
        WeightsError: the weights cannot be had, or do not fit.
    """
    model = _model(smp_arguments(values), task.in_channels, task.out_channels)
    encoder: Any = model.encoder
    normalisation = pretrain(encoder, values["encoder"], weights, task.in_channels)
    if task.level == "image":
        network: SmpNetwork = SmpImageNetwork(model, task.out_channels, normalisation)
    else:
        network = SmpNetwork(model, normalisation)
    modules = dict(network.named_modules())
    for name in idle_parts(tuple(values.items())):
        if name in modules:
            parent, _, child = name.rpartition(".")
            setattr(modules[parent], child, _Idle())
        else:
            network.get_parameter(name).requires_grad_(False)
    return network


class _Idle(nn.Module):
    """The stand-in of a module whose output is not used; smp calls some with further arguments."""

    def forward(self, x: Tensor, *others: Any) -> Tensor:
        return x


def idle_parts(values: tuple[tuple[str, Any], ...]) -> tuple[str, ...]:
    """The names of modules, and of parameters beside them, that no output of an `SmpNetwork` depends on.

    Found in autograd's graph of a pass of two images; values that change nothing but sizes share it.

    Args:
        values: the items of what `smp_arguments` takes.

    Raises:
        ValueError: smp cannot build or run it.
    """
    return _idle_parts(tuple(item for item in values if item[0] not in _SIZES))


@cache
def _idle_parts(values: tuple[tuple[str, Any], ...]) -> tuple[str, ...]:
    # It may be asked for amid a count of work, which wants no gradients; without a graph all parts would be idle.
    with torch.inference_mode(False), torch.enable_grad():
        return _without_gradient(values)


def _without_gradient(values: tuple[tuple[str, Any], ...]) -> tuple[str, ...]:
    arguments = smp_arguments(dict(values))
    # Built on `meta`, where no weight is drawn; run on the CPU, which takes a fifth of the time of a pass on `meta`.
    with torch.device("meta"):
        network = SmpNetwork(_model(arguments, 3, 1))
    network.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.zero_()
    with _explained(arguments):
        return idle_in(network, 3)


def idle_in(network: SmpNetwork, in_channels: int) -> tuple[str, ...]:
    """The names of a network's modules, and of parameters beside them, that no output depends on.

    Args:
        network: on the CPU; in training mode its batch statistics are changed.
        in_channels: of images.

    Raises:
        ValueError: the outputs have another size than the images.
    """
    images = torch.zeros(2, in_channels, network.least, network.least, device="cpu")
    outputs = network(images)
    if outputs.shape[-2:] != images.shape[-2:]:
        raise ValueError(f"the outputs have the size {tuple(outputs.shape[-2:])}, not the images'")
    read = _leaves(outputs)
    return tuple(_idle(network, "", {name for name, parameter in network.named_parameters() if id(parameter) in read}))


def _leaves(outputs: Tensor) -> set[int]:
    """The identities of all tensors that autograd's graph of the outputs ends in: a backward pass would take longer."""
    open_nodes = [outputs.grad_fn]
    seen, found = set(open_nodes), set[int]()
    while open_nodes:
        node = open_nodes.pop()
        if node is None:
            continue
        found.add(id(getattr(node, "variable", None)))
        following = {next_node for next_node, _ in node.next_functions} - seen
        seen |= following
        open_nodes += following
    return found


def _idle(module: nn.Module, prefix: str, used: set[str]) -> list[str]:
    idle = [prefix + name for name, _ in module.named_parameters(recurse=False) if prefix + name not in used]
    for name, child in module.named_children():
        inside = {f"{prefix}{name}.{parameter}" for parameter, _ in child.named_parameters()}
        if inside and not inside & used:
            idle.append(prefix + name)
        elif not inside <= used:
            idle += _idle(child, f"{prefix}{name}.", used)
    return idle


def _model(arguments: Mapping[str, Any], in_channels: int, out_channels: int) -> nn.Module:
    import segmentation_models_pytorch as smp

    device = torch.get_default_device()
    empty = device.type == "meta"
    # A MiT reads its drop rates while it is built, which `meta` cannot; and smp's own encoders replace their first
    # convolution without heed of the device. Nothing is drawn from torch's global generator for weights of no value.
    device_of_build = torch.device("cpu") if arguments["encoder_name"].startswith("mit_b") else device
    with device_of_build, torch.random.fork_rng(devices=[], enabled=empty), _explained(arguments):
        model: nn.Module = smp.create_model(
            **arguments, encoder_weights=None, in_channels=in_channels, classes=out_channels
        )
    return model.to(device)


@contextmanager
def _explained(arguments: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except _REFUSALS as error:
        raise ValueError(f"{_named(arguments)} cannot be had from smp: {error}") from error


def _named(arguments: Mapping[str, Any]) -> str:
    return f"{arguments['arch']} on {arguments['encoder_name']!r} of depth {arguments['encoder_depth']}"
