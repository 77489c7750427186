"""Measures and architectures of a search: in lines, in the user's loggers, and in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from automl_plugins.decoders.base import Found
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.files import write_whole
from automl_plugins.system.finite import strict_json
from automl_plugins.training.lightning import pl

_UNDECIDED = 0.99
"""The entropy, as a share of that of equal probabilities, from which on nothing has been decided."""


def measures(searchables: Mapping[str, Searchable]) -> dict[str, float]:
    """Entropy, share of parameter-free options, and temperature of each searchable."""
    values: dict[str, float] = {}
    for name, searchable in searchables.items():
        suffix = f"_{name}" if len(searchables) > 1 else ""
        values[f"search_entropy{suffix}"] = float(searchable.entropy())
        values[f"search_parameter_free{suffix}"] = searchable.parameter_free_share()
        values[f"search_temperature{suffix}"] = searchable.relaxation.temperature
    return values


def log_measures(trainer: Any, module: Any, values: Mapping[str, float]) -> None:
    """Log through the module, so that loggers, progress bar and other callbacks have them; one line without a bar."""
    if trainer.barebones:
        return
    entropies = {name: value for name, value in values.items() if name.startswith("search_entropy")}
    others = {name: value for name, value in values.items() if name not in entropies}
    # All ranks have the same values; Lightning wants to hear that they may be reduced.
    for logged, in_bar in ((entropies, True), (others, False)):
        module.log_dict(
            {name: torch.tensor(value) for name, value in logged.items()}, prog_bar=in_bar, sync_dist=True, batch_size=1
        )


def line(text: str) -> None:
    """Say something on the first rank, as Lightning does."""
    rank_zero: Any = pl.utilities.rank_zero
    rank_zero.rank_zero_info(text)


def tell_undecided(searchables: Mapping[str, Searchable]) -> None:
    """Say whose logits have hardly moved from where they began."""
    for name, searchable in searchables.items():
        entropy = float(searchable.entropy())
        if entropy > _UNDECIDED:
            line(
                f"the logits of {name} have hardly moved (entropy {entropy:.4f} of at most 1): what was found is "
                "little better than drawn; more epochs, or a higher learning_rate of the search, let them decide"
            )


def tell_architectures(trainer: Any, architectures: Mapping[str, Architecture]) -> None:
    """Give the architectures to the loggers that take text."""
    if not trainer.is_global_zero:
        return
    for name, architecture in architectures.items():
        for logger in trainer.loggers:
            _log_text(logger, f"search_architecture_{name}".rstrip("_"), architecture.to_json(), trainer.global_step)


def _log_text(logger: Any, name: str, text: str, step: int) -> None:
    """TensorBoard and Weights & Biases take text, each in its own way; other loggers are left alone."""
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_text"):
        experiment.add_text(name, f"```json\n{text}\n```", step)
    elif type(logger).__name__ == "WandbLogger":
        logger.log_text(name, columns=["step", "architecture"], data=[[step, text]])


def write(path: Path, architectures: Mapping[str, Architecture]) -> None:
    """Write each architecture as JSON; several ones into files named after their searchables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, architecture in architectures.items():
        own = path if len(architectures) == 1 else path.with_stem(f"{path.stem}-{name}")
        write_whole(own, architecture.to_json())


def write_found(path: Path, found: Mapping[str, Sequence[Found]]) -> None:
    """Write all that was found, with its figures, as a JSON list; several ones into files named as `write` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, several in found.items():
        file = path if len(found) == 1 else path.with_stem(f"{path.stem}-{name}")
        write_whole(file, strict_json([one.to_dict() for one in several]))
