"""The source of the search data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

from automl_plugins.search.loaders import batches_in, reads_by_position
from automl_plugins.search.split import split_loader
from automl_plugins.system.arguments import is_number
from automl_plugins.system.nearest import did_you_mean

Word = Literal["datamodule", "split", "validation", "training"]


class SearchSource:
    """Finds the search loader, and keeps its samples out of the training where it splits.

    Args:
        given: a loader, a callable that gives one, a word, or None: the first that there is of the datamodule's
            `search_dataloader()`, a split of the training data, and the validation data.
        fraction: of the training data, for the split.
        seed: of the split.

    Raises:
        ValueError: there is no such word, what was given is no loader, or the fraction is out of range.
    """

    def __init__(self, given: Any, fraction: float, seed: int) -> None:
        if isinstance(given, str) and given not in get_args(Word):
            raise ValueError(
                f"search_data={given!r} is no source of search data; {did_you_mean(given, get_args(Word))}"
            )
        if given is not None and not callable(given) and not hasattr(given, "__iter__"):
            words = ", ".join(get_args(Word))
            raise ValueError(f"search_data is a loader, a callable that gives one, or one of {words}; got {given!r}")
        if not is_number(fraction) or not 0 < fraction < 1:
            raise ValueError(f"search_fraction is between 0 and 1; got {fraction!r}")
        self.given, self.fraction, self.seed = given, fraction, seed
        self._replaced: tuple[Any, Any] | None = None
        self._split: Any = None
        self._reason = ""

    @property
    def settings(self) -> dict[str, Any]:
        """The request as JSON: a loader of the user's is not described."""
        data = self.given if isinstance(self.given, str) else self.given is not None
        return {"search_fraction": self.fraction, "search_data": data}

    def prepare(self, trainer: Any, module: Any) -> None:
        """Choose among what there is, before Lightning asks for the training loader.

        Raises:
            ValueError: what was asked for is not there.
        """
        datamodule = trainer.datamodule
        if self.given == "datamodule" and not hasattr(datamodule, "search_dataloader"):
            whose = (
                "there is no datamodule" if datamodule is None else f"{type(datamodule).__name__} has no such method"
            )
            raise ValueError(f"search_data='datamodule' is its search_dataloader(), but {whose}")
        if self.given == "split" or (self.given is None and not hasattr(datamodule, "search_dataloader")):
            loaders = trainer.fit_loop._data_source
            if not loaders.is_module():
                # They were given to `fit`. Many projects judge on the validation data, so it is asked for first; of
                # several validation loaders none is more to be searched on than another.
                validation = trainer.fit_loop.epoch_loop.val_loop._data_source.instance
                several = isinstance(validation, list | tuple) and len(validation) > 1
                if (self.given == "split" or several) and loaders.instance is not None:
                    loaders.instance = self._training_part(trainer, loaders.instance)
            else:
                self._split_training(trainer, module if datamodule is None else datamodule)

    def _split_training(self, trainer: Any, owner: Any) -> None:
        original: Callable[[], Any] = owner.train_dataloader

        # A plain function: Lightning looks at its code to see whether the hook is there.
        def train_dataloader() -> Any:
            return self._training_part(trainer, original())

        # Lightning's own hook raises: there are no training data.
        if getattr(original, "__qualname__", "") != "DataHooks.train_dataloader":
            self._replaced = owner, vars(owner).get("train_dataloader")
            owner.train_dataloader = train_dataloader

    def _training_part(self, trainer: Any, loader: Any) -> Any:
        """The part of a training loader that is left for the weights; all of it where it cannot be split.

        Raises:
            ValueError: nothing is left, or a split was asked for and cannot be had.
        """
        try:
            training, search = split_loader(loader, self.fraction, self.seed)
            if trainer.world_size > 1 and reads_by_position(loader):
                kind = type(loader).__name__
                raise ValueError(f"Lightning makes a {kind} anew for each of several processes, over all its samples")
        except ValueError as error:
            if self.given == "split":
                raise ValueError(f"search_data='split': {error}") from error
            self._reason = str(error)
            return loader
        if batches_in(training) == 0:
            raise ValueError(
                f"search_fraction={self.fraction} leaves {_samples(training)} of the {_samples(loader)} training "
                f"samples for the weights, which is no batch of {getattr(loader, 'batch_size', 'its size')}; take a "
                "smaller search_fraction or batch_size, or no drop_last, or other data (search_data='validation')"
            )
        if self._split is None:
            self._split = search
        return training

    def loader(self, trainer: Any) -> Any:
        """The search loader; the training loader is made by now.

        Raises:
            ValueError: there is none.
        """
        given, datamodule = self.given, trainer.datamodule
        if given is not None and not isinstance(given, str):
            return given() if callable(given) else given
        if given == "training":
            return _single(trainer.train_dataloader, "training")
        if given == "validation":
            return _single(trainer.val_dataloaders, "validation")
        if self._split is not None:
            return self._split
        if given == "split":
            raise ValueError("search_data='split' is of the training data, and there are none")
        if given == "datamodule" or hasattr(datamodule, "search_dataloader"):
            return datamodule.search_dataloader()
        reason = self._reason or "the loaders were given to fit; search_data='split' splits the training loader"
        loader = _single(trainer.val_dataloaders, "validation", f" (the training data cannot be split: {reason})")
        warnings.warn(
            f"the architecture is searched on the validation data, because the training data could not be split "
            f"({reason}); an honest selection then needs a third set. search_data='validation' says that this is meant",
            stacklevel=2,
        )
        return loader

    def restore(self) -> None:
        """Give the training data back."""
        if self._replaced is not None:
            owner, before = self._replaced
            if before is None:
                vars(owner).pop("train_dataloader", None)
            else:
                owner.train_dataloader = before
        self._replaced = self._split = None
        self._reason = ""


def _samples(loader: Any) -> int | str:
    return len(loader.dataset) if hasattr(getattr(loader, "dataset", None), "__len__") else "too few"


def _single(loader: Any, kind: str, why: str = "") -> Any:
    if isinstance(loader, list | tuple) and len(loader) == 1:
        loader = loader[0]
    if loader is None or isinstance(loader, list | tuple | dict):
        found = "there is none" if not loader else f"there are {len(loader)}"
        raise ValueError(
            f"the architecture needs one {kind} loader to learn on, but {found}{why}; give ArchitectureSearch "
            "search_data='split' (--search.search_data split), or a loader"
        )
    return loader
