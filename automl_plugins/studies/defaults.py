"""The rules by which a study that was given data alone is set up: its space, epochs, batches, trials and finals.

Each rule says where it comes from. None was fitted to test scores; where it says *rule of thumb*, nothing was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from automl_plugins.spaces.task import Level
from automl_plugins.training.data.draft import Reasoned

SPACES: dict[Level, str] = {
    "node": "gnn-plus",
    "edge": "gnn-plus",
    "graph": "gnn-plus",
    "pixel": "smp-decoder",
    "image": "smp",
}
"""The space of a level: that whose points are the networks which people make by hand, among the registered ones."""
_TRIALS, _TRIALS_OF_IMAGES = 40, 16
_MANY_TRIALS = 60
_EPOCHS_TO_PRUNE = 9
"""Of a trial, from which on stopping some of them early is worth its while: rule of thumb."""
_DECAYS = [0.0, 1e-5, 1e-4, 1e-3]
"""The weight decays of a module that has none by default."""


@dataclass(frozen=True)
class DataFacts:
    """The level and the size of training data.

    Args:
        level: of the task.
        samples: graphs or images of the training split; 1 where it is one graph.
        pixels: of an image; 0 where there are none.
        batch_size: samples of a batch.
        batches: of an epoch, where the batch size stays as it is.
        sets_batch_size: whether the datamodule has an argument `batch_size`, which was not given.
        on_accelerator: whether trainings run on one.
        defaults: of those arguments of the task's registered module that are numbers; empty where a module was given.
        recommended: the arguments that the datamodule recommends for data of this size, and that were not given.
    """

    level: Level
    samples: int
    pixels: int
    batch_size: int
    batches: int
    sets_batch_size: bool
    on_accelerator: bool
    defaults: Mapping[str, float] = field(default_factory=dict)
    recommended: Mapping[str, Reasoned] = field(default_factory=dict)

    @property
    def of_images(self) -> bool:
        """True where samples are images."""
        return self.level in ("pixel", "image")


def chosen(facts: DataFacts, trials: int | None = None, asked: str | None = None) -> dict[str, Any]:
    """The settings of a study of such data, by their dotted keys.

    Args:
        facts: of the data.
        trials: how many were asked for; None: the rule's.
        asked: the sampler that was asked for; None: the rule's.
    """
    size = batch_size(facts) if facts.sets_batch_size else facts.batch_size
    batches = math.ceil(facts.samples / size) if facts.sets_batch_size else facts.batches
    whole = epochs(facts, batches)
    # Of many graphs, and images, by rule of thumb; of one graph by the validation on Cora (benchmarks/README.md).
    short = whole if facts.samples == 1 else max(2, whole // 4)
    trials = (_TRIALS_OF_IMAGES if facts.of_images else _TRIALS) if trials is None else trials
    settings: dict[str, Any] = {"space": SPACES[facts.level]}
    if facts.sets_batch_size:
        settings["data.batch_size"] = size
    settings |= {f"data.{name}": each.value for name, each in facts.recommended.items()}
    settings |= {
        "trainer.max_epochs": whole,
        "trial_epochs": short,
        "trials": trials,
        "sampler": asked or sampler(facts, trials, short),
        # Rules of thumb: a training on images is dear, and differs less from seed to seed.
        "finalists": 2 if facts.of_images else 3,
        "seeds": 3 if facts.of_images else 5,
    }
    if settings["sampler"] != "priorband":  # which comes with Hyperband
        settings["pruner"] = pruner(short)
    if tuned := tune(facts.defaults):
        settings["tune"] = tuned
    if facts.level == "image":
        # The space has no references of its own, so that its networks are measured by the registered ones.
        settings["limits"] = {"references": 4}
    return settings


def batch_size(facts: DataFacts) -> int:
    """The samples of a batch, a power of two.

    Graphs: about thirty steps an epoch, from 16 to 128 (the benchmarks of Dwivedi et al. 2020 have 128 for 10,000
    molecules, chemprop 64). Images: at most 2^19 pixels and a tenth of the images, from 2 to 16; nnU-Net (Isensee et
    al. 2021) has two at least, too, and as many as memory holds.
    """
    if facts.of_images:
        most = min(16.0, 2**19 / max(1, facts.pixels), facts.samples / 10)
        return int(2 ** max(1, math.floor(math.log2(max(2.0, most)))))
    return int(2 ** min(7, max(4, round(math.log2(max(1.0, facts.samples / 30))))))


def epochs(facts: DataFacts, batches: int) -> int:
    """The epochs of a final training.

    One graph: 200 steps, as Kipf and Welling (ICLR 2017, section 5.2) have it. Graphs: 1,500 steps, which are
    chemprop's 50 epochs on ESOL's molecules, from 10 to 100 epochs. Images: 2,000 steps on an accelerator, 500 on the
    CPU, from 5 to 100 epochs: rule of thumb, nnU-Net has 250,000.
    """
    if facts.samples == 1:
        return max(10, round(200 / batches))
    if facts.of_images:
        return min(100, max(5, round((2000 if facts.on_accelerator else 500) / batches)))
    return min(100, max(10, round(1500 / batches)))


def sampler(facts: DataFacts, trials: int, trial_epochs: int) -> str:
    """The sampler, by its name: as the tables of trained architectures in benchmarks/README.md have it.

    With many trials the predictor, which is ahead after 100 of them. With few, `priorband`, which is ahead of random
    search on four graphs of six after 30, and draws round hand-made networks and the defaults of what is tuned: where
    the space has such networks, and trials are long enough for its Hyperband. Else Optuna's own default.
    """
    if trials >= _MANY_TRIALS:
        return "predictor"
    return "priorband" if facts.level != "image" and trial_epochs >= _EPOCHS_TO_PRUNE else "TPESampler"


def tune(defaults: Mapping[str, float]) -> dict[str, Any]:
    """The training settings that are searched along, round a module's defaults; rules of thumb.

    The learning rate within half a decade of its default on both sides, the weight decay within a decade, both log;
    where there is no weight decay by default, none and three decades of it.
    """
    found: dict[str, Any] = {}
    for name, reach in (("learning_rate", 10**0.5), ("weight_decay", 10.0)):
        default = defaults.get(name)
        if default:
            found[f"module.{name}"] = {"low": _rounded(default / reach), "high": _rounded(default * reach), "log": True}
        elif default == 0 and name == "weight_decay":
            found[f"module.{name}"] = list(_DECAYS)
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def pruner(trial_epochs: int) -> dict[str, Any] | None:
    """The pruner of trials, by its class and arguments; None of trials that are too short to prune.

    Median stopping (Golovin et al., KDD 2017, section 3.2.2), not before a third of a trial: rule of thumb.
    """
    if trial_epochs < _EPOCHS_TO_PRUNE:
        return None
    return {"class_path": "MedianPruner", "init_args": {"n_startup_trials": 5, "n_warmup_steps": trial_epochs // 3}}
