"""The checkpoint files of a search: written whole, the last two kept, and read only where they are what was written."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from automl_plugins.system.files import save_whole
from automl_plugins.training.lightning import pl


class BrokenCheckpointError(ValueError):
    """A checkpoint that is not what was written: cut off, empty, or with other bits."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is broken ({reason})")
        self.path = path


def check_file(path: Path) -> None:
    """Compare a file of `torch.save` with the checksums in it, which `torch.load` does not look at.

    Files of other kinds are left to whoever reads them.

    Raises:
        BrokenCheckpointError: it is empty, cut off, or has other bits than were written.
    """
    size = path.stat().st_size
    if size == 0:
        raise BrokenCheckpointError(path, "it is empty")
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except Exception as error:  # wrong bits in its directory are met as errors of all kinds
        raise BrokenCheckpointError(path, f"of its {size:,} bytes not all are there, or are right: {error}") from error
    if wrong is not None:
        raise BrokenCheckpointError(path, f"the checksum of {wrong} is another")


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """The content of a checkpoint, on the CPU; nothing is unpickled from it.

    Raises:
        BrokenCheckpointError: it cannot be read, or is no checkpoint.
    """
    check_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = "it is no checkpoint, or it holds objects, which are not unpickled"
        raise BrokenCheckpointError(path, reason) from error
    except Exception as error:  # whatever torch meets in a file that is none of its own
        raise BrokenCheckpointError(path, str(error).partition("\n")[0]) from error
    if not isinstance(content, Mapping):
        raise BrokenCheckpointError(path, f"it holds a {type(content).__name__}")
    return content


class LastTwo:
    """The last two checkpoints of a search: the one before stays until the new one is whole and on the disk.

    Args:
        path: of the last one; the one before is `previous.ckpt` beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.previous = path.with_name("previous.ckpt")
        self._next = path.with_name("next.ckpt")

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """The files that may hold a checkpoint, the newest first."""
        return self._next, self.path, self.previous

    def save(self, trainer: Any) -> None:
        """Have a Trainer write a new one, on all of its processes."""
        trainer.save_checkpoint(self._next, weights_only=False)
        if trainer.is_global_zero:
            if self.path.exists():
                self.path.replace(self.previous)
            self._next.replace(self.path)
        trainer.strategy.barrier("the search's checkpoint")

    def newest(self) -> tuple[Path | None, list[BrokenCheckpointError]]:
        """The newest one that is whole, if any, and what is wrong with newer ones.

        A kill between two renames leaves the newest one under the name that it was written as.
        """
        broken: list[BrokenCheckpointError] = []
        for path in self.paths:
            try:
                if path.exists():
                    read_checkpoint(path)
                    return path, broken
            except BrokenCheckpointError as error:
                broken.append(error)
        return None, broken


class LastCheckpoint(pl.callbacks.Checkpoint):
    """The checkpoint that a search goes on from: after each epoch, the last one after the decoding.

    A search that is killed while it decodes repeats its last epoch, since Lightning would not decode again.

    Args:
        files: where it is kept.
    """

    def __init__(self, files: LastTwo) -> None:
        self.files = files

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        limits = ((trainer.current_epoch + 1, trainer.max_epochs), (trainer.global_step, trainer.max_steps))
        if not trainer.should_stop and not any(done == limit for done, limit in limits):
            self.files.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.files.save(trainer)


class WholeCheckpoints(pl.plugins.TorchCheckpointIO):
    """Writes checkpoints beside their place, and renames them once they are on the disk.

    Lightning writes them to the temporary folder and moves them, which between two devices is a copy in place.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            WriteError: it cannot be written; what was there before is whole.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            save_whole(Path(path), checkpoint)
