"""The settings and data that a search was begun with, kept in its checkpoints: others do not go on from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.nn.modules.dropout import _DropoutNd

from automl_plugins.strategies import Strategy
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.training.description import describe, first_difference
from automl_plugins.training.fingerprint import data_difference, data_fingerprint

_WORLD = "processes"
_DATA = {"data": "", "search_data": "search data: "}


class OtherSearchError(ValueError):
    """A checkpoint that is of another search than the one that is to go on from it."""

    def __init__(self, difference: str) -> None:
        super().__init__(
            f"the checkpoint is of another search: {difference}; go on with what it was begun with, or begin anew "
            "without a checkpoint (`automl-plugins search`: with another --folder)"
        )


def of_settings(
    trainer: Any,
    module: Any,
    searchables: Mapping[str, Searchable],
    strategy: Strategy,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """The settings of a search, as JSON: what is searched, how, and how the weights are trained.

    Epochs, loggers, workers of loaders and the like are none: a search may go on with others.

    Args:
        trainer: the Trainer; its optimizers are made.
        module: the LightningModule.
        searchables: what is searched, by name.
        strategy: how.
        settings: of the callback.
    """
    return {
        "search": {**describe(dict(settings)), "strategy": describe(strategy)},
        "spaces": {name: describe(each.space) for name, each in searchables.items()},
        "tasks": {name: each.task.to_dict() for name, each in searchables.items()},
        "relaxations": {name: type(each.relaxation).__name__ for name, each in searchables.items()},
        "hparams": describe(dict(getattr(module, "hparams", {}))),
        "dropout": {name: part.p for name, part in module.named_modules() if isinstance(part, _DropoutNd)},
        "optimizers": {
            str(index): {"class": type(each).__name__, **describe(dict(each.defaults))}
            for index, each in enumerate(trainer.optimizers)
        },
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "precision": str(trainer.precision),
    }


def of_data(trainer: Any, search_loader: Any) -> dict[str, Any]:
    """The fingerprint of a search's data, as JSON; it takes less than two seconds.

    Args:
        trainer: the Trainer; its loaders are made.
        search_loader: what the logits learn on; None: the training data.
    """
    loaders = {"train": trainer.train_dataloader, "val": trainer.val_dataloaders}
    return {
        _WORLD: trainer.world_size,
        "data": data_fingerprint(loaders),
        "search_data": data_fingerprint({"train": search_loader}),
    }


def check_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare settings.

    Raises:
        OtherSearchError: they differ; the message names the first that does.
    """
    difference = first_difference(before, now)
    if difference is not None:
        key, old, new = difference
        raise OtherSearchError(f"{key} was {old!r}, and is {new!r}")


def check_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare fingerprints of data.

    Raises:
        OtherSearchError: they differ; the message says in what.
    """
    for key, word in _DATA.items():
        old, new = before[key], now[key]
        if before[_WORLD] != now[_WORLD]:
            # Lightning gives each of several processes a sampler, which is no other order of the user's.
            old, new = _without_order(old), _without_order(new)
        # Lightning makes no validation loader where no step is left.
        shared = old.keys() & new.keys()
        difference = data_difference(*({split: each[split] for split in shared} for each in (old, new)))
        if difference is not None:
            raise OtherSearchError(word + difference)


def _without_order(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    return {
        split: [{key: value for key, value in part.items() if key not in ("order", "chosen")} for part in parts]
        for split, parts in fingerprint.items()
    }
