"""Running statistics of a network that takes over a supernet's weights: measured anew before it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from automl_plugins.training.lightning import pl


@torch.no_grad()
def recalibrate(
    network: nn.Module,
    loader: Iterable[Any],
    run: Callable[[nn.Module, Any], object] | None = None,
    fixed: Collection[nn.Module] = (),
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
        fixed: normalisations whose statistics are used as they are, as those of a frozen encoder.

    Raises:
        ValueError: the loader gives nothing, or the network is a supernet that keeps statistics of its own.
    """
    kinds = {type(part).__name__ for part in network.modules() if getattr(part, "keeps_running_statistics", False)}
    if kinds:
        raise ValueError(
            f"{type(network).__name__} keeps running statistics for all of its options ({', '.join(sorted(kinds))}); "
            "recalibrate the network of an architecture, `searchable.derive(keep_weights=True)`"
        )
    left = set(map(id, fixed))
    norms = [part for part in network.modules() if isinstance(part, _BatchNorm) and id(part) not in left]
    if not norms:
        return
    before = [(norm, norm.momentum, {name: each.clone() for name, each in norm.named_buffers()}) for norm in norms]
    modes = {part: part.training for part in network.modules()}
    like = next(network.parameters(), None)
    is_empty = True
    try:
        network.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.train()
        for batch in loader:
            batch = batch if like is None else pl.utilities.move_data_to_device(batch, like.device)
            (run or _first_part)(network, batch)
            is_empty = False
        if is_empty:
            raise ValueError("the loader gives no batch to measure running statistics on")
    except BaseException:
        for norm, _, buffers in before:
            for name, buffer in norm.named_buffers():
                buffer.copy_(buffers[name])
        raise
    finally:
        for part, mode in modes.items():
            part.training = mode
        for norm, momentum, _ in before:
            norm.momentum = momentum


def _first_part(network: nn.Module, batch: Any) -> object:
    return network(batch[0] if isinstance(batch, list | tuple) else batch)
