"""The calls of a network that a LightningModule makes in a step: recorded once, to measure the network on them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from automl_plugins.system.nested import copied, described, moved, tensors_in
from automl_plugins.training.fit import LEAN, quiet_lightning
from automl_plugins.training.lightning import pl


class UncalledError(ValueError):
    """A module does not call the network that it was given."""


@dataclass(frozen=True)
class Call:
    """One call of a network.

    Args:
        args: its positional arguments.
        kwargs: its keyword arguments.
        autocast: the device type and the dtype of the autocast that it was made under; None: under none.
        weights: the dtype that Lightning's precision had brought the network's weights to; None: their own.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    autocast: tuple[str, torch.dtype] | None = None
    weights: torch.dtype | None = None

    def to(self, device: torch.device) -> Call:
        """The same call on a device."""
        autocast = None if self.autocast is None else (device.type, self.autocast[1])
        return replace(self, args=moved(self.args, device), kwargs=moved(self.kwargs, device), autocast=autocast)

    def repeat(self, network: nn.Module) -> Any:
        """Make the call again; a network that assigns to a graph or a dictionary leaves the recorded one alone."""
        args = [_shallow(each) for each in self.args]
        kwargs = {name: _shallow(each) for name, each in self.kwargs.items()}
        if self.autocast is None:
            return network(*args, **kwargs)
        with torch.autocast(self.autocast[0], self.autocast[1]):
            return network(*args, **kwargs)

    def __str__(self) -> str:
        told = described({**dict(enumerate(self.args)), **self.kwargs} if self.kwargs else self.args)
        dtypes = {"autocast": self.autocast and self.autocast[1], "weights": self.weights}
        return told + "".join(f"; {name} {dtype}" for name, dtype in dtypes.items() if dtype is not None)


class Repeated(nn.Module):
    """A network as a function of recorded calls: what it is called with in one step, call by call."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *calls: Call) -> None:
        for call in calls:
            call.repeat(self.network)


def record_calls(
    network: nn.Module,
    make: Callable[[nn.Module], pl.LightningModule],
    data: pl.LightningDataModule,
    device: torch.device,
    options: Mapping[str, Any],
) -> tuple[Call, ...]:
    """The calls of a network that a LightningModule makes for its first validation batch, on a device.

    Lightning runs the step, so that hooks, precision and the transfer of the batch are as in a training. If the
    validation step does not call the network, the first training batch's calls are recorded.

    Args:
        network: of no further use afterwards.
        make: makes the module of the network; where it makes a copy of the network too (an average of its weights,
            say), calls of the copy are recorded as well.
        data: the datamodule.
        device: where the network is to be called; one that Lightning knows nothing of gets copies from the CPU.
        options: arguments of Lightning's Trainer; those that settle the precision count.

    Raises:
        UncalledError: no step calls the network.
    """
    recorder = _Recorder(network)
    kept = {name: copy.deepcopy(options[name]) for name in ("precision", "plugins") if name in options}
    place: dict[str, Any] = {"accelerator": "cpu", "devices": 1}
    if device.type in ("cuda", "mps"):
        place = {"accelerator": device.type, "devices": [device.index or 0] if device.type == "cuda" else 1}
    limits = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1, "num_sanity_val_steps": 1}
    recorder.listen()
    # What notes the calls of a compiled network would be compiled with it.
    before = data.trainer
    try:
        with quiet_lightning(), torch.compiler.set_stance("force_eager"):
            module = make(network)
            trainer = pl.Trainer(**{**LEAN, **kept, **place, **limits}, callbacks=[recorder])
            trainer.fit(module, datamodule=data)
    finally:
        # It would go along to workers with the data, and the network with it.
        data.trainer = before
    if trainer.interrupted:
        raise KeyboardInterrupt
    if not recorder.calls:
        name = type(module).__name__
        raise UncalledError(
            f"neither validation_step nor training_step of {name} calls the network that {name} was given as "
            "`network(...)`; parts of it that are called by themselves cannot be measured: call it as a whole, or ask "
            "for params alone"
        )
    return tuple(call.to(device) for call in recorder.calls)


class _Recorder(pl.Callback):
    """Notes the calls of one batch, of the first validation loader or else of training, and ends the fit."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.calls: list[Call] = []
        self._dtype = _dtype(network)
        self._depth = 0
        self._records = False

    def listen(self) -> None:
        """Have the network's class note its calls, also those of `forward` by itself and of copies of the network."""
        kind = type(self.network)

        def forward(network: nn.Module, *args: Any, **kwargs: Any) -> Any:
            self._note(network, args, kwargs)
            self._depth += 1
            try:
                return kind.forward(network, *args, **kwargs)
            finally:
                self._depth -= 1

        self.network.__class__ = type(kind.__name__, (kind,), {"forward": forward})

    def _note(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._records or self._depth > 0:
            return
        device = next((tensor.device.type for tensor in tensors_in((args, kwargs))), "cpu")
        autocast = (device, torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else None
        dtype = _dtype(network)
        weights = dtype if dtype != self._dtype else None
        self.calls.append(Call(copied(args, _kept), copied(kwargs, _kept), autocast, weights))

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._records = trainer.sanity_checking and dataloader_idx == 0

    def on_validation_batch_end(self, *_: Any) -> None:
        self._records = False

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = bool(self.calls)

    def on_train_batch_start(self, *_: Any) -> None:
        self._records = not self.calls

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._records = False
        trainer.should_stop = True


def _kept(tensor: Tensor) -> Tensor:
    # A tensor of inference mode could not be used outside of it.
    with torch.inference_mode(mode=False):
        return tensor.detach().clone()


def _dtype(network: nn.Module) -> torch.dtype | None:
    return next((each.dtype for each in network.parameters() if each.is_floating_point()), None)


def _shallow(value: Any) -> Any:
    return value if isinstance(value, Tensor | nn.Module) else copy.copy(value)


def describe_inputs(inputs: Sequence[Any]) -> str:
    """Names, dtypes and shapes of what a network is called with."""
    return ", ".join(str(each) if isinstance(each, Call) else described(each) for each in inputs)
