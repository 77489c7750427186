"""Running statistics of a network that takes over a supernet's weights: measured anew before it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from automl_plugins.training.lightning import pl


def recalibrate(
    network: nn.Module, loader: Iterable[Any], run: Callable[[nn.Module, Any], object] | None = None
) -> None:
    """Measure the running statistics of a network's batch normalisations anew, with its weights as they are.

    Weights that were trained in a mixture come with statistics of the mixture, which are right for no architecture;
    single-path one-shot search measures them anew before each evaluation (Guo et al. 2020, arXiv 1904.00420). Each
    statistic becomes the mean over the batches, of which each counts alike. All else is in evaluation mode meanwhile:
    nothing is dropped, as nothing will be in the evaluation. Weights and modes stay as they are.

    Args:
        network: a network, such as `Searchable.derive(keep_weights=True)`, or a LightningModule around one.
        loader: batches as it was trained on; `itertools.islice(loader, 50)` of them are often enough.
        run: runs the network on a batch, which is on the network's device; None: the first part of a tuple or
            list is the network's input, as for a pair of images and labels, and any other batch is it itself, as a
            graph is for our LightningModules.

    Raises:
        ValueError: the loader gives nothing, or the network is a supernet that keeps statistics of its own.
    """
    kinds = {type(part).__name__ for part in network.modules() if getattr(part, "keeps_running_statistics", False)}
    if kinds:
        raise ValueError(
            f"{type(network).__name__} keeps running statistics for all of its options ({', '.join(sorted(kinds))}); "
            "recalibrate the network of an architecture, `searchable.derive(keep_weights=True)`"
        )
    norms = [part for part in network.modules() if isinstance(part, _BatchNorm)]
    before = [(norm, norm.momentum, {name: each.clone() for name, each in norm.named_buffers()}) for norm in norms]
    modes = {part: part.training for part in network.modules()}
    runner = _Runner(network, run or _first_part)
    done = False
    try:
        update_bn(runner.batches(loader), runner)
        if norms and runner.count == 0:
            raise ValueError("the loader gives no batch to measure running statistics on")
        done = True
    finally:
        for part, mode in modes.items():
            part.training = mode
        for norm, momentum, buffers in before:
            norm.momentum = momentum
            if not done:
                for name, buffer in norm.named_buffers():
                    buffer.copy_(buffers[name])


class _Runner(nn.Module):
    """A network as `update_bn` wants it: called with one thing, and only its normalisations ever in training mode."""

    def __init__(self, network: nn.Module, run: Callable[[nn.Module, Any], object]) -> None:
        super().__init__()
        self.network = network
        self.run = run
        self.count = 0

    def batches(self, loader: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """The batches, packed: of a tuple, `update_bn` would hand on the first part alone."""
        return ({"batch": batch} for batch in loader)

    def train(self, mode: bool = True) -> _Runner:
        self.network.eval()
        for part in self.network.modules():
            if isinstance(part, _BatchNorm):
                part.train(mode)
        return self

    def forward(self, packed: Mapping[str, Any]) -> None:
        self.count += 1
        like = next(self.network.parameters(), None)
        batch = packed["batch"]
        self.run(self.network, batch if like is None else pl.utilities.move_data_to_device(batch, like.device))


def _first_part(network: nn.Module, batch: Any) -> object:
    return network(batch[0] if isinstance(batch, list | tuple) else batch)
