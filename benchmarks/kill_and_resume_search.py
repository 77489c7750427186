"""Kill searches with SIGKILL at random moments, go on from their checkpoints, and compare the ends bit by bit.

    python benchmarks/kill_and_resume_search.py [--kills 20] [--seed 0]

A child process searches EGNAS's cells on generated graphs and keeps a checkpoint of every step, validation and epoch.
It is killed at a random moment, started again on the checkpoint that was written last, and killed again; the last
start is left alone. Then logits, weights and buffers are compared with those of a search that nobody killed. One
process, then two (DDP, gloo). The last line is the verdict; the exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from automl_plugins.search import ArchitectureSearch
from gnn_space import EGNASSpace
from gnn_space.data import ClusterData
from gnn_space.modules import NodeClassification

EPOCHS = 8
STRATEGIES = ("darts", "gdas")
_PAUSE = 0.03
"""Seconds that a search waits after each checkpoint, so that kills fall between steps as well as into them."""


class KeepLast(pl.callbacks.Checkpoint):
    """Keeps the last checkpoint: of each step, of each validation, and of each epoch's end."""

    def __init__(self, path: Path, pause: float) -> None:
        self.path = path
        self.pause = pause

    def _keep(self, trainer: pl.Trainer) -> None:
        if trainer.sanity_checking:
            return
        unfinished = self.path.with_suffix(".part")
        trainer.save_checkpoint(unfinished)
        if trainer.is_global_zero:
            unfinished.replace(self.path)
        trainer.strategy.barrier()
        time.sleep(self.pause)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._keep(trainer)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._keep(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._keep(trainer)


def search(folder: Path, strategy: str, processes: int, pause: float) -> None:
    """One search, from the last checkpoint where there is one; its end is written to `end.pt`."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    pl.seed_everything(3, verbose=False)
    data = ClusterData(24, 4, 4, batch_size=4 // processes, seed=1)
    space = EGNASSpace(cells=1, nodes=2, node_channels=8, edge_channels=4, dropout=0.2)
    module = NodeClassification(space.searchable(data.task), data.task)
    checkpoint = folder / "last.ckpt"
    options: dict[str, Any] = {"devices": 1}
    if processes > 1:
        several = pl.strategies.DDPStrategy(
            start_method="fork", process_group_backend="gloo", find_unused_parameters=True
        )
        options = {"devices": processes, "strategy": several}
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ArchitectureSearch(strategy, learning_rate=0.02), KeepLast(checkpoint, pause)],
        **options,
    )
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint if checkpoint.exists() else None)
    torch.save(module.state_dict(), folder / "end.pt")


def start(folder: Path, strategy: str, processes: int, pause: float) -> subprocess.Popen[bytes]:
    """The search in a process group of its own, so that a kill takes the ranks with it."""
    command = [sys.executable, __file__, "--search", str(folder), strategy, str(processes), str(pause)]
    return subprocess.Popen(  # noqa: S603 - our own script
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "errors.txt").open("ab"),
    )


def finished(process: subprocess.Popen[bytes], folder: Path) -> dict[str, Tensor]:
    """The end of a search that is left alone."""
    if process.wait() != 0:
        raise SystemExit(f"a search failed:\n{(folder / 'errors.txt').read_text()[-2000:]}")
    end: dict[str, Tensor] = torch.load(folder / "end.pt", weights_only=True)
    return end


def kill_once(folder: Path, strategy: str, processes: int, generator: random.Random) -> str | None:
    """Start or go on, and kill some checkpoints later, at any moment; None: it came to its end first."""
    checkpoint = folder / "last.ckpt"
    seen = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    remaining = generator.randint(1, 5)
    process = start(folder, strategy, processes, _PAUSE)
    while process.poll() is None:
        now = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        if now != seen:
            seen, remaining = now, remaining - 1
        if remaining == 0:
            time.sleep(generator.uniform(0, 4 * _PAUSE))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            state = torch.load(checkpoint, weights_only=True)
            return f"epoch {state['epoch']} step {state['global_step']}"
        time.sleep(_PAUSE / 10)
    finished(process, folder)
    return None


def compare(strategy: str, processes: int, kills: int, seed: int) -> bool:
    """True where a search that was killed so many times ended as one that was not."""
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        for each in (whole, killed):
            each.mkdir()
        expected = finished(start(whole, strategy, processes, 0.0), whole)
        moments = []
        for _ in range(kills):
            moment = kill_once(killed, strategy, processes, generator)
            if moment is None:
                break
            moments.append(moment)
        end = finished(start(killed, strategy, processes, 0.0), killed)
    differing = [name for name in expected if not torch.equal(expected[name], end[name])]
    ranks = "1 process" if processes == 1 else f"{processes} processes"
    print(f"{strategy}, {ranks}: killed {len(moments)} times ({'; '.join(moments)}): ", end="")
    print(f"{len(expected)} tensors equal" if not differing else f"DIFFERENT: {', '.join(differing)}", flush=True)
    return not differing


def main() -> None:
    """Run all, and say whether all ends were equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many in all (20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--search", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.search:
        folder, strategy, processes, pause = arguments.search
        search(Path(folder), strategy, int(processes), float(pause))
        return
    runs = [(strategy, processes) for processes in (1, 2) for strategy in STRATEGIES]
    each = -(-arguments.kills // len(runs))
    equal = [compare(*run, kills=each, seed=arguments.seed + index) for index, run in enumerate(runs)]
    print(f"VERDICT: {'bit-identical' if all(equal) else 'NOT bit-identical'} in {sum(equal)} of {len(equal)} searches")
    raise SystemExit(0 if all(equal) else 1)


if __name__ == "__main__":
    main()
