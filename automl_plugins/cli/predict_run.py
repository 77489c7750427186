"""The part of `automl-plugins predict` that needs the networks: predict for inputs, and write it down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from automl_plugins.cli.commands import METHOD_KEYS, over_run
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, say, told_briefly, without_deprecations
from automl_plugins.cli.network_file import network_at
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.predict_asked import Asked
from automl_plugins.cli.record import printed
from automl_plugins.cli.settings import Given
from automl_plugins.errors import FormatError
from automl_plugins.report.predictions import cells_of, header_of, predictions_csv
from automl_plugins.studies.kept_networks import KeptNetworks, naming
from automl_plugins.studies.safe_classes import safe_class
from automl_plugins.system.files import write_whole
from automl_plugins.training.data.unlabelled import Unlabelled
from automl_plugins.training.fingerprint import flat_loaders
from automl_plugins.training.fit import device_of
from automl_plugins.training.lightning import pl
from automl_plugins.training.prediction import Prediction
from automl_plugins.training.preprocessing import Preprocessing
from automl_plugins.training.registered_module import RegisteredModule

_MOST_TOLD = 80
_FOUND_WRONG = (OSError, ImportError, ValueError, RuntimeError, TypeError, LookupError)


def predict(asked: Asked, given: Given, command: str) -> int:
    """Predict, and say how much.

    Raises:
        UsageError: something is wrong with the run, or with the inputs.
    """
    with told_briefly("", 2, ValueError, FormatError), naming(asked.run.preprocessing, "cannot be read"):
        kept = Preprocessing.load(asked.run.preprocessing)
    given = _over_run(asked, given, command)
    reader = safe_class("data", pl.LightningDataModule, kept.data) if kept.reading else None
    keys = ("space", "module", "trainer") if reader is not None else ("space", "data", "module", "trainer")
    settings = Settings(given.without("data") if reader is not None else given, keys)
    if printed(given, settings.plain):
        return 0
    with told_briefly("data", 1, *_FOUND_WRONG), without_deprecations():
        inputs = _of_own(settings.make("data"), asked, kept) if reader is None else _read(reader, asked, kept)
    with told_briefly("", 1, *_FOUND_WRONG), without_deprecations():
        predictor = _networks(asked, kept, settings).predictor(asked.networks, asked.weights)
        predictions = inputs.predictions(predictor.to(device_of(settings.trainer())))
        skipped = (_write_maps if asked.of_pixels else _write_table)(asked, kept, inputs, predictions)
    if len(skipped) == len(inputs):
        raise UsageError(f"none of the {len(inputs):,} inputs is predicted; {_first(inputs, skipped)}", code=1)
    if skipped:
        say(f"{len(skipped):,} of {len(inputs):,} inputs are not predicted; {_first(inputs, skipped)}", command)
    several = f", by {len(predictor.modules)} networks" if len(predictor.modules) > 1 else ""
    output().out(f"kept: {asked.out}; {len(inputs) - len(skipped):,} of {len(inputs):,} inputs predicted{several}")
    return 0


def _over_run(asked: Asked, given: Given, command: str) -> Given:
    """The settings, over those of the run, without what is asked of this command alone."""
    own = ("architecture", "networks", "out", "seed", "seed_everything", "folder", *METHOD_KEYS["predict"])
    found = network_at(str(asked.run.path))
    over = given if given.configs else over_run(command, given, asked.run.config)
    return found.tuned(found.under(over), command).without(*own, "optimizer", "lr_scheduler")


def _networks(asked: Asked, kept: Preprocessing, settings: Settings) -> KeptNetworks:
    found, space = network_at(str(asked.run.path)), settings.make("space")
    make = settings.make("module") or RegisteredModule()
    return KeptNetworks(asked.run, found.contender(space), space, make, kept)


def _read(reader: Any, asked: Asked, kept: Preprocessing) -> Unlabelled:
    """The inputs, read as those of the training."""
    columns = [f"--data.{name}" for name in kept.reading if name.endswith("_column")]
    try:
        found: Unlabelled = reader.unlabelled(asked.inputs, kept, **asked.options)
    except ValueError as error:
        cure = f"; another one is named by {columns[0]}" if columns and "has no column" in str(error) else ""
        raise ValueError(f"{error}{cure}") from error
    return found


def _of_own(data: Any, asked: Asked, kept: Preprocessing) -> Unlabelled:
    """The inputs of a datamodule of one's own, which reads some as ours do or has a `predict_dataloader`."""
    if kept.reading and hasattr(data, "unlabelled"):
        return _read(data, asked, kept)
    data.prepare_data()
    data.setup("predict")

    def batches() -> Iterator[tuple[Sequence[int], Any]]:
        for loader in flat_loaders(data.predict_dataloader()):
            for batch in loader:
                yield (), data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0)

    return _OfLoaders(("place",), [], {}, batches)


class _OfLoaders(Unlabelled):
    """Inputs of loaders; their predictions tell how many there are."""

    def predictions(self, predict: Callable[[Any], Prediction]) -> Iterator[tuple[Sequence[int], Prediction]]:
        count = 0
        for _, batch in self:
            prediction = predict(batch)
            places = range(count, count + len(prediction.values))
            cast("list[Any]", self.rows).extend((place,) for place in places)
            count = len(self.rows)
            yield places, prediction


def _write_table(
    asked: Asked, kept: Preprocessing, inputs: Unlabelled, predictions: Iterable[tuple[Sequence[int], Prediction]]
) -> dict[int, str]:
    """Write predictions as a table; the inputs without one, and why."""
    target, names = kept.task.target, kept.names
    predicted: dict[int, list[str]] = {}
    skipped: dict[int, str] = {}
    has_spread = False
    for places, prediction in predictions:
        if prediction.values.dim() != 2:
            raise ValueError(f"predictions of the shape {list(prediction.values.shape)} are no rows of a table")
        has_spread = prediction.spread is not None
        spread = None if prediction.spread is None else prediction.spread.numpy()
        cells = cells_of(target, names, prediction.values.numpy(), spread)
        for place, row, is_number in zip(places, cells, prediction.values.isfinite().all(dim=1), strict=True):
            if is_number:
                predicted[place] = row
            else:
                skipped[place] = "the network gives no number"
    skipped |= inputs.skipped
    if predicted:
        header = header_of(target, names, has_spread)
        write_whole(asked.out, predictions_csv(inputs.columns, inputs.rows, predicted, header, skipped))
    return skipped


def _write_maps(
    asked: Asked, kept: Preprocessing, inputs: Unlabelled, predictions: Iterable[tuple[Sequence[int], Prediction]]
) -> dict[int, str]:
    """Write the prediction of each input as images; the inputs without one, and why."""
    skipped: dict[int, str] = {}
    for places, prediction in predictions:
        for index, place in enumerate(places):
            one = prediction[index]
            if one.values.isfinite().all():
                inputs.write(place, one, asked.out, asked.probabilities)
            else:
                skipped[place] = "the network gives values that are no numbers"
    skipped |= inputs.skipped
    if 0 < len(skipped) < len(inputs):
        places = sorted(skipped)
        rows, reasons = [inputs.rows[place] for place in places], [skipped[place] for place in places]
        table = predictions_csv(inputs.columns, rows, {}, (), dict(enumerate(reasons)))
        write_whole(asked.out / "skipped.csv", table)
    return skipped


def _first(inputs: Unlabelled, skipped: Mapping[int, str]) -> str:
    place = min(skipped, default=None)
    if place is None:
        return "there are none"
    told = ", ".join(f"{name} {cell}" for name, cell in zip(inputs.columns, inputs.rows[place], strict=True))
    return f"the first of them: {told[:_MOST_TOLD]}: {skipped[place]}"
