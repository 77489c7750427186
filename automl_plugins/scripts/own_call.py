"""One call of somebody's own network: recorded in one step of their LightningModule, which is left as it was."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from automl_plugins.scripts.losses import LossWatch, SeenLoss
from automl_plugins.search.isolation import isolated
from automl_plugins.search.set_aside import state_of


class UnrecordedError(ValueError):
    """No step of a module could be run far enough to see its network called; the message says why."""


@dataclass
class OwnCall:
    """One call of a network, and what was seen beside it.

    Args:
        args: positional arguments, as they were before the call.
        kwargs: keyword arguments.
        parameters: names of the positional parameters of the network's `forward`.
        outputs: what it gave.
        batch: of the step that made the call.
        training: whether it was made in training mode.
        embedded: the inputs of embeddings inside of the network, with the numbers of their values.
        losses: of the whole step.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    parameters: tuple[str, ...]
    outputs: Any
    batch: Any
    training: bool
    embedded: list[tuple[Tensor, int]] = field(default_factory=list)
    losses: list[SeenLoss] = field(default_factory=list)


@dataclass(frozen=True)
class _Step:
    """A step of a module, and where its batches come from."""

    name: str
    source: Any
    training: bool


def own_calls(trainer: Any, module: Any, networks: Sequence[nn.Module]) -> list[list[OwnCall]]:
    """The first call of each network in a step of training and in one of validation, as far as they make one.

    Nothing of it is seen afterwards: see `automl_plugins.search.isolation.isolated`. The data are asked for a loader
    and a batch once more.

    Args:
        trainer: the Trainer, whose data have been set up.
        module: the LightningModule.
        networks: parts of it.

    Returns:
        For each network, at least one call.

    Raises:
        UnrecordedError: a network is called in none of them.
    """
    found: list[list[OwnCall]] = [[] for _ in networks]
    reasons: list[str] = []
    for step in _steps(trainer, module):
        for own, call in zip(found, _calls_of(step, trainer, module, networks, reasons), strict=True):
            own += [] if call is None else [call]
    uncalled = [type(network).__name__ for network, own in zip(networks, found, strict=True) if not own]
    if uncalled:
        why = "; ".join(dict.fromkeys(reasons)) or "its steps do not call it as a whole"
        raise UnrecordedError(f"no call of {', '.join(uncalled)} could be recorded: {why}")
    return found


def _steps(trainer: Any, module: Any) -> Iterator[_Step]:
    """The steps that the Trainer is about to run."""
    stage = str(trainer.state.fn.value)
    if stage == "fit":
        validation = _Step("validation_step", trainer.fit_loop.epoch_loop.val_loop._data_source, False)
        # A step that optimizes by itself would move the weights.
        if module.automatic_optimization:
            yield _Step("training_step", trainer.fit_loop._data_source, True)
        yield validation
    elif stage in ("validate", "test", "predict"):
        name = "validation_step" if stage == "validate" else f"{stage}_step"
        yield _Step(name, getattr(trainer, f"{stage}_loop")._data_source, False)


def _calls_of(
    step: _Step, trainer: Any, module: Any, networks: Sequence[nn.Module], reasons: list[str]
) -> list[OwnCall | None]:
    """The first call of each network in a step; why the step ended early is added to the reasons."""
    device = trainer.strategy.root_device
    with ExitStack() as stack:
        stack.enter_context(isolated(trainer, module, seed=0))
        recorder, watch = _Recorder(networks, stack), LossWatch()
        try:
            recorder.batch = _first_batch(step.source, module, device)
            stack.enter_context(_on(module, device, step.training))
            with torch.enable_grad(), torch.compiler.set_stance("force_eager"), watch:
                _run(getattr(module, step.name), recorder.batch)
        except Exception as error:  # noqa: BLE001 - of the user's code; what was recorded before it counts
            told = str(error).strip().partition("\n")[0]
            reasons.append(f"{step.name} ended with {type(error).__name__}: {told}")
        for call in recorder.first:
            if call is not None:
                call.losses = watch.seen
    return recorder.first


def _run(step: Callable[..., Any], batch: Any) -> None:
    parameters = inspect.signature(step).parameters
    given = {"batch_idx": 0, "dataloader_idx": 0}
    names = list(parameters)[1:]
    step(batch, *[given.get(name, 0) for name in names if parameters[name].default is inspect.Parameter.empty])


class _Recorder:
    """Notes the first call of each network, while it lasts."""

    def __init__(self, networks: Sequence[nn.Module], stack: ExitStack) -> None:
        self.first: list[OwnCall | None] = [None] * len(networks)
        self.batch: Any = None
        self._inside: list[list[tuple[Tensor, int]]] = []
        for place, network in enumerate(networks):
            self._listen(place, network, stack)
            for part in network.modules():
                if isinstance(part, nn.Embedding):
                    stack.callback(part.register_forward_pre_hook(self._embed).remove)

    def _embed(self, part: nn.Embedding, args: tuple[Any, ...]) -> None:
        for embedded in self._inside:
            embedded.append((args[0], part.num_embeddings))

    def _listen(self, place: int, network: nn.Module, stack: ExitStack) -> None:
        # An attribute before the class's method: `net.forward(x)` is noted as `net(x)` is.
        forward = network.forward
        own = vars(network).get("forward")

        def noted(*args: Any, **kwargs: Any) -> Any:
            if self.first[place] is not None:
                return forward(*args, **kwargs)
            before = tuple(map(_shallow, args)), {name: _shallow(value) for name, value in kwargs.items()}
            self._inside.append([])
            outputs = forward(*args, **kwargs)
            parameters = tuple(_positional(forward))
            self.first[place] = OwnCall(
                *before, parameters, outputs, self.batch, network.training, embedded=self._inside.pop()
            )
            return outputs

        network.forward = noted
        if own is None:
            stack.callback(vars(network).pop, "forward", None)
        else:
            stack.callback(setattr, network, "forward", own)


def _positional(forward: Callable[..., Any]) -> Iterator[str]:
    for parameter in inspect.signature(forward).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            yield parameter.name


def _shallow(value: Any) -> Any:
    # A network may put its states into the graph or the dictionary that it is given.
    return value if isinstance(value, Tensor | nn.Module) else copy.copy(value)


@contextmanager
def _on(module: Any, device: torch.device, training: bool) -> Iterator[None]:
    """Have a module on a device, and in training or in evaluation mode, inside."""
    modes = {part: part.training for part in module.modules()}
    before = next((weight.device for weight in module.parameters()), device)
    module.train(training)
    if before != device:
        module.to(device)
    try:
        yield
    finally:
        if before != device:
            module.to(before)
        for part, mode in modes.items():
            part.training = mode


def _first_batch(source: Any, module: Any, device: torch.device) -> Any:
    """The first batch of the loaders that a Trainer was given, or asks for, on a device.

    Raises:
        ValueError: there are none, or one could not be read without being used up.
    """
    if source.instance is None or (not source.is_defined()):
        raise ValueError("there are no data")
    loaders = source.dataloader()
    batch = module._on_before_batch_transfer(_first_of(loaders), dataloader_idx=0)
    return module._apply_batch_transfer_handler(batch, device=device, dataloader_idx=0)


def _first_of(loaders: Any) -> Any:
    if isinstance(loaders, list | tuple):
        firsts = [_first_of(loader) for loader in loaders]
        return firsts[0] if len(firsts) == 1 else firsts
    if isinstance(loaders, dict):
        return {name: _first_of(loader) for name, loader in loaders.items()}
    if isinstance(loaders, Iterator):
        raise ValueError("the data are an iterator, which one batch would be missing from")
    with _generators_aside(loaders):
        return next(iter(_without_workers(loaders)))


def _without_workers(loader: Any) -> Any:
    """A copy of a loader that reads in this process: workers would be started for one batch."""
    if not isinstance(loader, DataLoader) or loader.num_workers == 0:
        return loader
    made = copy.copy(loader)
    alone = {"num_workers": 0, "prefetch_factor": None, "persistent_workers": False, "timeout": 0, "_iterator": None}
    vars(made).update(alone)  # DataLoader refuses to have some of these set, since an iterator may be under way
    return made


@contextmanager
def _generators_aside(loader: Any) -> Iterator[None]:
    """Put back the generators that a loader and its samplers have of their own."""
    owners = (loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None))
    states: Iterable[Any] = [state_of(getattr(owner, "generator", None)) for owner in owners]
    kept = [(put, get()) for get, put in filter(None, states)]
    try:
        yield
    finally:
        for put, state in kept:
            put(state)
