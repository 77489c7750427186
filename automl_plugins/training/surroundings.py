"""Weights and scales that a LightningModule has trained around its network: carried to a module around another one."""

from __future__ import annotations

from torch import Tensor, nn


def outside(module: nn.Module, network: nn.Module) -> dict[str, Tensor]:
    """The parameters and kept buffers of a module that are not those of its network, by their names.

    Raises:
        ValueError: the network is not in the module.
    """
    inside = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
    places = [name for name, part in module.named_modules() if part is network]
    if not places:
        raise ValueError(f"the network is no submodule of the {type(module).__name__} that was made of it")
    return {
        name: tensor
        for name, tensor in module.state_dict(keep_vars=True).items()
        if id(tensor) not in inside and not any(name.startswith(f"{place}.") for place in places)
    }


def refuse_untrained(module: nn.Module, network: nn.Module) -> None:
    """Refuse a new module around a trained network that has weights of its own: they would judge untrained.

    Raises:
        ValueError: it has.
    """
    mine = {id(parameter) for parameter in network.parameters()}
    if any(id(parameter) not in mine for parameter in module.parameters()):
        raise ValueError(
            f"{type(module).__name__} learns more than its network, and a new one would judge with untrained weights; "
            "give the module that was trained: module = project.make_module(network), project.fit(module), "
            "project.score(module)"
        )


def carry_over(trained: nn.Module, network: nn.Module, module: nn.Module, other: nn.Module) -> None:
    """Give a module around another network what a trained one has around its own: heads, means, scales.

    Args:
        trained: a module that was trained around `network`.
        network: its network.
        module: a module of the same kind around `other`.
        other: its network, which is left as it is.
    """
    state = {name: tensor.detach() for name, tensor in outside(trained, network).items()}
    wanted = outside(module, other)
    for name, tensor in state.items():
        if name in wanted:
            wanted[name].data.copy_(tensor)
