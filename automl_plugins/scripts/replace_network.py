"""Another network in a LightningModule that somebody else wrote and that stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import nn

from automl_plugins.scripts.checkpoints import name_networks, named_network
from automl_plugins.scripts.infer_task import find_task
from automl_plugins.scripts.own_call import UnrecordedError, own_calls
from automl_plugins.scripts.places import NoTargetError, Place, places, uncompiled
from automl_plugins.scripts.pretrained import keep_writing
from automl_plugins.scripts.reading import Reader, ReadNetwork
from automl_plugins.spaces.calls import CallReader, UnreadCallError
from automl_plugins.spaces.task import Task
from automl_plugins.training.adapted import Adapted
from automl_plugins.training.late import when_whole
from automl_plugins.training.lightning import pl


class ReplaceNetwork(pl.Callback):
    """Put networks where a LightningModule has its own, before its optimizers are made.

    A searchable put there, with `ArchitectureSearch` as the next callback, makes a search of a
    training; the network of an architecture makes a training of it. The module is changed in memory
    only, and its `training_step`, optimizers and metrics stay what they are.

    A step of the module with its own network shows how it calls that one, and what it fits; nothing else of the step is
    seen.

    Args:
        target: the attribute path of the module's own network (`net`, `encoder.net`), or several; a leading
            `model.` may stand for the LightningModule itself, and a list of networks for all in it.
        make: makes the new network for a task.
        task: what the network must fit, as arguments of `Task`, over those of the datamodule's `task` and what is seen.
        reader: reads calls for the space of the new network; None: it is called as the own one is.
        call: paths in the calls of the network's inputs, by name, where that settles what could be read in two ways.
        named: the `space` and the `architecture` of the new network as plain values, for checkpoints; None: these say
            nothing of it. A searchable's architecture is what its logits stand for.
    """

    def __init__(
        self,
        target: str | Sequence[str],
        make: Callable[[Task], nn.Module],
        task: Mapping[str, Any] | None = None,
        reader: CallReader | None = None,
        call: Mapping[str, str] | None = None,
        named: Mapping[str, Any] | None = None,
    ) -> None:
        self.targets = [target] if isinstance(target, str) else list(target)
        self.make = make
        self.task = dict(task or {})
        self.reader = None if reader is None else Reader(reader, dict(call or {}), self.task)
        self.named = named
        self._put: dict[str, nn.Module] = {}
        self._tasks: dict[str, Task] = {}
        self._replaced: list[nn.Parameter] = []
        self._undo = ExitStack()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Replace the networks; once for each LightningModule, whatever is done with it first.

        Networks that the module makes in its `setup` or `configure_model` are replaced after them.

        Raises:
            ValueError: the Trainer's processes could not give the new network back to this one; (then, or after
                `configure_model`) the module has nothing at a target, or it is not known what the network must fit.
        """
        if getattr(trainer.strategy, "_start_method", "popen") != "popen":
            raise ValueError(
                "the Trainer starts processes whose modules alone would be changed, so that their weights do not fit "
                "the script's own module in the end; use the strategy 'ddp' instead"
            )
        self._fill(trainer, pl_module, is_whole=False)
        self._undo.callback(when_whole(pl_module, partial(self._fill, trainer, pl_module, is_whole=True)))
        self._name_always(trainer, pl_module)

    def _fill(self, trainer: pl.Trainer, module: pl.LightningModule, is_whole: bool) -> None:
        found: list[Place] = []
        for target in self.targets:
            try:
                found += places(module, target)
            except NoTargetError:
                if is_whole:
                    raise
        empty = [place for place in found if not place.is_filled]
        for place, read in zip(empty, self._read(trainer, module, empty, is_whole), strict=True):
            if read is not None:
                self._replaced += place.present.parameters()
                network, task = self._made(read, getattr(trainer, "datamodule", None))
                self._tasks[place.target] = task
                keep_writing(uncompiled(place.present), network, partial(self._named, place.target))
                place.fill(network)
        self._put = {place.target: uncompiled(place.present) for place in found}

    def _read(
        self, trainer: pl.Trainer, module: pl.LightningModule, empty: Sequence[Place], is_whole: bool
    ) -> list[ReadNetwork | None]:
        """The readings of calls of own networks; None where they are to be looked at again once all is there."""
        if self.reader is None or not empty:
            return [ReadNetwork() for _ in empty]
        try:
            calls = own_calls(trainer, module, [uncompiled(place.present) for place in empty])
            return [self.reader.network(place.target, each) for place, each in zip(empty, calls, strict=True)]
        except (UnrecordedError, UnreadCallError) as error:
            if not is_whole:
                return [None] * len(empty)
            if isinstance(error, UnreadCallError):
                raise
            return [ReadNetwork(reason=str(error)) for _ in empty]

    def _made(self, read: ReadNetwork, datamodule: object) -> tuple[nn.Module, Task]:
        task = find_task(self.task, datamodule, read.task, read.reason)
        network = self.make(task)
        return (network if read.adapters is None else Adapted(network, *read.adapters)), task

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a fit that would train a network that was replaced.

        Raises:
            ValueError: the module has put its own network back, or its optimizers have kept that one's parameters.
        """
        owner = type(pl_module).__name__
        for target, network in self._put.items():
            if uncompiled(pl_module.get_submodule(target)) is not network:
                raise ValueError(
                    f"target={target!r}: {owner} makes this network anew after its `configure_model`, when it has been "
                    "replaced; make it in `__init__`, `setup` or `configure_model`"
                )
        held = {
            id(each) for optimizer in trainer.optimizers for group in optimizer.param_groups for each in group["params"]
        }
        if any(id(each) in held for each in self._replaced):
            raise ValueError(
                f"target={', '.join(self.targets)!r}: an optimizer of {owner} holds parameters of the network that was "
                "replaced; `configure_optimizers` must take its own from the module when it is called"
            )
        self._replaced = []

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Name the networks in a checkpoint, so that the module's class can put them in place."""
        if self.named is not None:
            known = {target: network for target, network in self._put.items() if target in self._tasks}
            name_networks(checkpoint, {target: self._named(target, network) for target, network in known.items()})

    def _named(self, target: str, network: nn.Module) -> dict[str, Any]:
        return named_network(uncompiled(network), task=self._tasks[target], **(self.named or {}))

    def _name_always(self, trainer: pl.Trainer, module: Any) -> None:
        """Name them in checkpoints of weights alone, too, for which Lightning asks the module only."""
        own, before = module.on_save_checkpoint, vars(module).get("on_save_checkpoint")

        def on_save_checkpoint(checkpoint: dict[str, Any]) -> None:
            self.on_save_checkpoint(trainer, module, checkpoint)
            own(checkpoint)

        def give_back() -> None:
            if vars(module).get("on_save_checkpoint") is on_save_checkpoint:
                del module.on_save_checkpoint
                if before is not None:
                    module.on_save_checkpoint = before

        module.on_save_checkpoint = on_save_checkpoint
        self._undo.callback(give_back)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._undo.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._undo.close()
