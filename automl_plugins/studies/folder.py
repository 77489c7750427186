"""The files of a run, by their names in its folder."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

OWN_CONFIG = "automl-plugins.yaml"
"""The name of a run's configuration in a folder whose `config.yaml` somebody else has written or changed."""


@dataclass(frozen=True)
class RunFolder:
    """The folder in which a run keeps its files.

    Args:
        path: the folder; it is made when the run starts.
    """

    path: Path

    def __post_init__(self) -> None:
        # A shell knows what ~ is; a YAML file and Python do not.
        object.__setattr__(self, "path", Path(self.path).expanduser())

    @property
    def config(self) -> Path:
        """The whole configuration, as YAML that starts the same run; of another name where a file was in its way."""
        other = self.path / OWN_CONFIG
        return other if other.is_file() else self.path / "config.yaml"

    @property
    def description(self) -> Path:
        """The settings of the study, as JSON; a study of other settings is refused in this folder."""
        return self.path / "study.json"

    @property
    def journal(self) -> Path:
        """The study's trials, unless another storage was asked for."""
        return self.path / "study.journal"

    @property
    def winner(self) -> Path:
        """Who the winner is, as JSON: its label, who found it, and where its trainings are."""
        return self.path / "winner.json"

    @property
    def architecture(self) -> Path:
        """The winner's architecture; a network that was made by hand has none."""
        return self.path / "architecture.json"

    @property
    def settings(self) -> Path:
        """The training settings that were tuned for the winner, as JSON; not there where none were."""
        return self.path / "settings.json"

    @property
    def network(self) -> Path:
        """The winner's network: its `state_dict`, from the seed that validated best."""
        return self.path / "network.pt"

    @property
    def module(self) -> Path:
        """The whole LightningModule around that network, as a checkpoint that Lightning reads."""
        return self.path / "module.ckpt"

    @property
    def preprocessing(self) -> Path:
        """The task, the making of inputs and the meaning of outputs, as JSON; see `Preprocessing`."""
        return self.path / "preprocessing.json"

    @property
    def found(self) -> RunFolder:
        """The same files of the best architecture that was found, where the winner was made by hand."""
        return RunFolder(self.path / "found")

    @property
    def ensemble(self) -> RunFolder:
        """The network and module of the ensemble, where one was asked for."""
        return RunFolder(self.path / "ensemble")

    @property
    def members(self) -> Path:
        """The members of an ensemble, in its folder, as JSON."""
        return self.path / "members.json"

    @property
    def evaluation(self) -> RunFolder:
        """The folder of an evaluation of what the run has found, where no other was asked for."""
        return RunFolder(self.path / "evaluation")

    @property
    def trials(self) -> Path:
        """All trials of the search, as CSV."""
        return self.path / "trials.csv"

    @property
    def summary(self) -> Path:
        """The final table, as JSON."""
        return self.path / "summary.json"

    @property
    def results(self) -> tuple[Path, ...]:
        """The files that a study has for its user; some of them may not be there."""
        own = (self.architecture, self.settings, self.network, self.module, self.config, self.trials, self.summary)
        found = (self.found.architecture, self.found.settings, self.found.network, self.found.module)
        return (*own, self.preprocessing, *found, self.ensemble.members, self.ensemble.network, self.ensemble.module)

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint of a differentiable search."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def search(self) -> Path:
        """The outcome of a differentiable search, as JSON; it is there once the search has ended."""
        return self.path / "search.json"

    @property
    def logits(self) -> Path:
        """The probabilities of all options after each epoch of a differentiable search, a line of JSON each."""
        return self.path / "logits.jsonl"

    @property
    def claim_lock(self) -> Path:
        """Held while a worker takes a trial."""
        return self.path / "workers" / "claim.lock"

    def worker_lock(self, worker: str) -> Path:
        """Held by a worker for as long as it lives; the kernel lets go of it when the worker is killed."""
        return self.path / "workers" / f"{worker}.lock"

    def outcome(self, study: str, trial: int) -> Path:
        """The outcome of a trial, as JSON; it is there until the storage has it."""
        return self.path / "workers" / "outcomes" / f"{study}-{trial}.json"

    @property
    def settled_seeds(self) -> Path:
        """The number of seeds for which the time of a study has been enough, as JSON."""
        return self.path / "workers" / "seeds.json"

    @property
    def done(self) -> Path:
        """The settings with which the study has ended, as JSON; not there while there is something to do."""
        return self.path / "workers" / "done.json"

    @property
    def deaths(self) -> Path:
        """The folder of the counts of trainings that have killed their process."""
        return self.path / "workers" / "deaths"

    def result(self, contender: str, seed: int, stage: str) -> Path:
        """The result of one training (`stage` `train`) or test (`test`) of a contender, as JSON."""
        return self.path / "contenders" / contender / f"seed{seed}-{stage}.json"

    def contender(self, contender: str) -> Path:
        """The folder of a contender: its architecture, and its trainings."""
        return self.path / "contenders" / contender

    def weights(self, contender: str, seed: int) -> Path:
        """The weights of one training of a contender, as a Lightning checkpoint."""
        return self.path / "contenders" / contender / f"seed{seed}.pt"

    def shared_weights(self, study: str) -> Path:
        """The folder of the weights that the trials of one search share."""
        return self.path / "shared_weights" / study

    @property
    def latencies(self) -> Path:
        """The folder of measured latencies, one file each."""
        return self.path / "latencies"

    def worker_mark(self, worker: str) -> Path:
        """Says that a worker is, or was, one of this folder; some versions of filelock remove a lock's file."""
        return self.path / "workers" / f"{worker}.started"

    def pulse(self, process: int) -> Path:
        """The sign of life of a training in a process of this machine, see `automl_plugins.studies.pulse`."""
        return self.path / "workers" / f"{platform.node()}-{process}.pulse"

    def may_run(self, worker: str) -> bool:
        """True where a worker still runs; one of another folder, perhaps of another machine, is taken to."""
        if not self.worker_mark(worker).exists():
            return True
        try:
            with FileLock(self.worker_lock(worker), timeout=0):
                return False
        except Timeout:
            return True
