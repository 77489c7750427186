"""The searchable, the loss and the pass that tests of supernets share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from automl_plugins.spaces.task import Task
from automl_plugins.supernets.relaxations import Relaxation
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.testing.numeric import float64, tensors_of
from automl_plugins.testing.space_suite import SpaceSuite


class _Pass(NamedTuple):
    """One forward and backward pass: what came out, and what reached the inputs."""

    outputs: list[Tensor]
    loss: Tensor
    input_gradients: list[Tensor]


class SupernetSuite(SpaceSuite):
    """A space with a supernet, in float64."""

    @abstractmethod
    def space(self) -> SupernetSpace:
        """The space, equal at every call; give it no parameter cap."""

    def _searchable(self, task: Task, relaxation: str | Relaxation = "softmax", seed: int = 0) -> Searchable:
        """A searchable in float64, with no weight and no buffer as it was initialised."""
        torch.manual_seed(seed)
        searchable = self.space().searchable(task, relaxation, seed).double()
        with torch.no_grad():
            for weight in searchable.weight_parameters():
                weight.add_(0.05 * torch.randn_like(weight))
            self._loss(searchable.train(), task)
        return searchable.eval()

    def _loss(self, network: nn.Module, task: Task) -> Tensor:
        """The loss on the same data and with the same draws every time."""
        with float64():
            torch.manual_seed(1)
            return self.loss(network, task)

    def _pass(self, network: nn.Module, task: Task) -> _Pass:
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []

        def before(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any]:
            def tracked(value: Any) -> Any:
                if isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided:
                    inputs.append(value.detach().clone().requires_grad_())
                    return inputs[-1]
                return value

            return tuple(map(tracked, arguments)), {name: tracked(value) for name, value in options.items()}

        def after(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            outputs.extend(tensor.detach() for tensor in tensors_of(output))

        handles = (network.register_forward_pre_hook(before, with_kwargs=True), network.register_forward_hook(after))
        network.zero_grad()
        loss = self._loss(network, task)
        loss.backward()
        for handle in handles:
            handle.remove()
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in inputs]
        return _Pass(outputs, loss.detach(), gradients)
