"""The files of a run, and how they are written: whole, or not at all."""

from __future__ import annotations

import glob
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from automl_plugins.errors import StudyError
from automl_plugins.system.processes import is_alive

OWN_CONFIG = "automl-plugins.yaml"
"""The name of a run's configuration in a folder whose `config.yaml` somebody else has written or changed."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

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
        """What the study was set up with, as JSON; a study of other settings is refused in this folder."""
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
    def network(self) -> Path:
        """The winner's network: its `state_dict`, from the seed that validated best."""
        return self.path / "network.pt"

    @property
    def module(self) -> Path:
        """The whole LightningModule around that network, as a checkpoint that Lightning reads."""
        return self.path / "module.ckpt"

    @property
    def found(self) -> RunFolder:
        """The same files of the best architecture that was found, where the winner was made by hand."""
        return RunFolder(self.path / "found")

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

    def outcome(self, study: str, trial: int) -> Path:
        """What a trial came to, as JSON; it is there until the storage has it."""
        return self.path / "workers" / "outcomes" / f"{study}-{trial}.json"

    @property
    def deaths(self) -> Path:
        """The folder of the counts of trainings that have killed their process."""
        return self.path / "workers" / "deaths"

    def result(self, contender: str, seed: int, stage: str) -> Path:
        """What one training (`stage` `train`) or test (`test`) of a contender came to, as JSON."""
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
        """Whether a worker still runs; one of another folder, perhaps of another machine, is taken to."""
        if not self.worker_mark(worker).exists():
            return True
        try:
            with FileLock(self.worker_lock(worker), timeout=0):
                return False
        except Timeout:
            return True


class WriteError(StudyError, OSError):
    """A result that could not be written: the disk is full, say. What was there before is whole.

    Args:
        path: the file.
        cause: what the operating system said.
    """

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(
            f"{path} cannot be written: {cause.strerror or cause}; what was kept so far is whole, so make room there "
            "(or the folder writable), and the same command goes on from here"
        )
        self.errno = cause.errno


def read_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file, or a power cut has left nothing that can be read."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_whole(path: Path, content: str) -> None:
    """Write a text file so that a reader, a kill, a power cut or a full disk never leaves half of it.

    Raises:
        WriteError: it cannot be written; what was there before is whole.
    """
    with whole_file(path) as file:
        file.write(content.encode())


def save_whole(path: Path, content: object) -> None:
    """`torch.save`, so that a reader, a kill, a power cut or a full disk never leaves half of the file.

    Raises:
        WriteError: it cannot be written; what was there before is whole.
    """
    import torch

    with whole_file(path) as file:
        watched: Any = _Watched(file)  # torch asks no more of a file than `write` and `flush`
        try:
            torch.save(content, watched)
        except RuntimeError:
            # torch's own words for a full disk are "unexpected pos 64 vs 0".
            if watched.error is not None:
                raise watched.error from None
            raise


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write, beside `path`; it takes the place of `path` once the block has ended without an error.

    It is on the disk before it is renamed, and so is the folder when this returns: after a power cut there is the old
    content or the new one, never a file of no length. What processes that were killed have left beside it is removed.

    Raises:
        WriteError: it cannot be written; what was there before is whole.
    """
    unfinished = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise WriteError(path, error) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what dead processes of this machine have begun to write in the place of a file."""
    for leftover in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        host, _, process = leftover.name[len(path.name) + 1 : -len(".part")].rpartition(".")
        if host in ("", platform.node()) and process.isdecimal() and not is_alive(int(process)):
            leftover.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have the names in a folder written to the disk; some network file systems cannot be asked to."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _Watched:
    """A file for `torch.save` that remembers why writing failed.

    Args:
        file: what is written to.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()
