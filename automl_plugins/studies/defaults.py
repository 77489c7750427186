"""The rules by which a study that was given data alone is set up: its space, epochs, batches, trials and finals.

Each rule says where it comes from. None was fitted to test scores; where it says *rule of thumb*, nothing was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from automl_plugins.spaces.task import Level

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
    """

    level: Level
    samples: int
    pixels: int
    batch_size: int
    batches: int
    sets_batch_size: bool
    on_accelerator: bool

    @property
    def of_images(self) -> bool:
        """True where samples are images."""
        return self.level in ("pixel", "image")


def chosen(facts: DataFacts, trials: int | None = None) -> dict[str, Any]:
    """The settings of a study of such data, by their dotted keys.

    Args:
        facts: of the data.
        trials: how many were asked for; None: the rule's.
    """
    size = batch_size(facts) if facts.sets_batch_size else facts.batch_size
    batches = math.ceil(facts.samples / size) if facts.sets_batch_size else facts.batches
    whole = epochs(facts, batches)
    short = max(2, whole // 4)  # rule of thumb: a trial is a quarter of a final training
    trials = (_TRIALS_OF_IMAGES if facts.of_images else _TRIALS) if trials is None else trials
    settings: dict[str, Any] = {"space": SPACES[facts.level]}
    if facts.sets_batch_size:
        settings["data.batch_size"] = size
    settings |= {
        "trainer.max_epochs": whole,
        "trial_epochs": short,
        "trials": trials,
        # The sampler of docs/samplers.md, where it has trials enough to learn from; below, Optuna's own default.
        "sampler": "predictor" if trials >= _MANY_TRIALS else "TPESampler",
        # Median stopping (Golovin et al., KDD 2017, section 3.2.2), not before a third of a trial: rule of thumb.
        "pruner": pruner(short),
        # Rules of thumb: a training on images is dear, and differs less from seed to seed.
        "finalists": 2 if facts.of_images else 3,
        "seeds": 3 if facts.of_images else 5,
    }
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


def pruner(trial_epochs: int) -> dict[str, Any] | None:
    """The pruner of trials, by its class and arguments; None of trials that are too short to prune."""
    if trial_epochs < 9:
        return None
    return {"class_path": "MedianPruner", "init_args": {"n_startup_trials": 5, "n_warmup_steps": trial_epochs // 3}}
