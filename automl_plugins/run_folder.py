"""The files of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

    Args:
        path: the folder; it is made when the run starts.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The whole configuration, as YAML that starts the same run."""
        return self.path / "config.yaml"

    @property
    def description(self) -> Path:
        """What the study was set up with, as JSON; a study of other settings is refused in this folder."""
        return self.path / "study.json"

    @property
    def journal(self) -> Path:
        """The study's trials, unless another storage was asked for."""
        return self.path / "study.journal"

    @property
    def architecture(self) -> Path:
        """The winner."""
        return self.path / "architecture.json"

    @property
    def network(self) -> Path:
        """The winner's network: its `state_dict`, from the seed that validated best."""
        return self.path / "network.pt"

    @property
    def module(self) -> Path:
        """The `state_dict` of the whole LightningModule around that network."""
        return self.path / "module.pt"

    @property
    def trials(self) -> Path:
        """All trials of the search, as CSV."""
        return self.path / "trials.csv"

    @property
    def summary(self) -> Path:
        """The final table, as JSON."""
        return self.path / "summary.json"

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint of a differentiable search."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def search(self) -> Path:
        """What a differentiable search came to, as JSON; it is there once the search has ended."""
        return self.path / "search.json"

    @property
    def claim_lock(self) -> Path:
        """Held while a worker takes a trial."""
        return self.path / "workers" / "claim.lock"

    def worker_lock(self, worker: str) -> Path:
        """Held by a worker for as long as it lives; the kernel lets go of it when the worker is killed."""
        return self.path / "workers" / f"{worker}.lock"

    def result(self, contender: str, seed: int, stage: str) -> Path:
        """What one training (`stage` `train`) or test (`test`) of a contender came to, as JSON."""
        return self.path / "contenders" / contender / f"seed{seed}-{stage}.json"

    def weights(self, contender: str, seed: int) -> Path:
        """The weights of one training of a contender."""
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

    def may_run(self, worker: str) -> bool:
        """Whether a worker still runs; one of another folder, perhaps of another machine, is taken to."""
        if not self.worker_mark(worker).exists():
            return True
        try:
            with FileLock(self.worker_lock(worker), timeout=0):
                return False
        except Timeout:
            return True


def write_whole(path: Path, content: str) -> None:
    """Write a text file so that a reader, or a kill, never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    unfinished.write_text(content, encoding="utf-8")
    unfinished.replace(path)
