"""The reasons for what `studies.defaults` chooses, in a line each, for those who read a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automl_plugins.studies.defaults import DataFacts


def reason(key: str, chosen: Mapping[str, Any], facts: DataFacts) -> str:
    """The reason for a setting.

    Args:
        key: dotted, one of `chosen`.
        chosen: all settings that `studies.defaults.chosen` gave.
        facts: of the data.
    """
    images = facts.of_images
    of_level = {
        "space": f"for the level {facts.level}: it holds the networks that people make by hand, as points",
        "data.batch_size": _BATCH_OF_IMAGES if images else "about thirty steps an epoch, from 16 to 128",
        "trainer.max_epochs": _epochs(facts),
        "trial_epochs": _trial_epochs(facts),
        "trials": "images: trainings are dear" if images else "as many as make the search worth more than chance",
        "finalists": "the best trials, which are trained in full; one of them is chosen",
        "seeds": "of the final trainings; images differ less from seed to seed" if images else "of the final trainings",
        "sampler": _SAMPLERS.get(chosen["sampler"], "as it was asked for"),
        "pruner": "stops trials that fall behind, not before a third" if chosen.get("pruner") else _NO_PRUNER,
        "tune": "arguments of the module, searched along with the architecture, round their defaults",
        "limits": "no network is dearer than four times the dearest hand-made one",
    }
    of_data = {f"data.{name}": each.reason for name, each in facts.recommended.items()}
    return (of_level | of_data)[key]


def _epochs(facts: DataFacts) -> str:
    if facts.samples == 1:
        return "200 steps on one graph, as Kipf and Welling (2017) have it"
    if facts.of_images:
        return "2,000 steps on an accelerator" if facts.on_accelerator else "500 steps, which a CPU can pay for"
    return "1,500 steps, from 10 to 100 epochs"


def _trial_epochs(facts: DataFacts) -> str:
    if facts.samples == 1:
        return "a trial of the search is as long as a final training, which is short"
    return "a trial of the search is a quarter of a final training"


_BATCH_OF_IMAGES = "at most 2^19 pixels and a tenth of the images, from 2 to 16"
_NO_PRUNER = "trials are too short to stop them early"
_SAMPLERS = {
    "predictor": "after many trials it is ahead (benchmarks/README.md)",
    "priorband": "after few trials it is ahead (benchmarks/README.md); it brings its own pruner, Hyperband",
    "TPESampler": "Optuna's own default",
}
