"""A datamodule made anew, with some of its arguments in place of those that it has."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from automl_plugins.training.description import kept_arguments
from automl_plugins.training.fingerprint import flat_loaders
from automl_plugins.training.lightning import pl


class NotRemadeError(ValueError):
    """A datamodule that cannot be made anew with another argument."""


def remade(data: pl.LightningDataModule, changes: Mapping[str, Any]) -> pl.LightningDataModule:
    """Another datamodule of the same class with other arguments; the first one is left as it is.

    One that has a method `with_arguments(**changes)` makes it by itself, as all of ours do, and shares what it has
    loaded. Any other is made by its class, of the arguments that it keeps: with `save_hyperparameters()`, or under
    their own names. If it does not keep all of them, a `batch_size` that is an attribute, or a hyperparameter, is
    set on a shallow copy, as Lightning's own tuner does, if its training loader then has batches of that size.

    Args:
        data: has been set up.
        changes: arguments of its constructor.

    Raises:
        NotRemadeError: none of this can be done.
    """
    own = getattr(data, "with_arguments", None)
    if callable(own):
        made: pl.LightningDataModule = own(**changes)
        return made
    arguments, missing = _arguments(data)
    if not missing:
        return type(data)(**{**arguments, **changes})
    name = type(data).__name__
    if set(changes) == {"batch_size"} and (other := _resized(data, changes["batch_size"])) is not None:
        return other
    raise NotRemadeError(
        f"{name} does not keep its arguments {', '.join(missing)}, so it cannot be made anew with "
        f"{', '.join(f'{key}={value!r}' for key, value in changes.items())}: have it call save_hyperparameters() in "
        "its constructor, or give it a method with_arguments(**changes)"
    )


def _arguments(data: pl.LightningDataModule) -> tuple[dict[str, Any], list[str]]:
    """The arguments that its class would make it of, and the names of those that it does not keep."""
    kept, _ = kept_arguments(data)
    parameters = inspect.signature(type(data)).parameters.values()
    named = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    missing = [each.name for each in parameters if each.name not in kept or each.name not in named]
    arguments = {name: kept[name] for name in named if name in kept}
    if "_hparams" in vars(data):
        # What it hands on to its parents is known as well.
        missing = [each.name for each in parameters if each.name in missing and each.kind is not each.VAR_KEYWORD]
        arguments = {**arguments, **data.hparams}
    return arguments, missing


def _resized(data: pl.LightningDataModule, batch_size: int) -> pl.LightningDataModule | None:
    """A shallow copy with another `batch_size`; None: its loaders do not heed it."""
    other = copy.copy(data)
    if "_hparams" in vars(other):
        vars(other)["_hparams"] = copy.deepcopy(other.hparams)
        if "batch_size" in other.hparams:
            other.hparams["batch_size"] = batch_size
    if "batch_size" in vars(other):
        vars(other)["batch_size"] = batch_size
    loaders = flat_loaders(other.train_dataloader())
    return other if all(getattr(each, "batch_size", None) == batch_size for each in loaders) else None
