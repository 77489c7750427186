"""What chemists would pick instead, on the race's sets and splits: chemprop, and boosting on RDKit's descriptors.

    python benchmarks/peers.py --data esol freesolv bbbp
    python benchmarks/peers.py --data esol --peers chemprop-ensemble
    python benchmarks/peers.py --report

`chemprop` is its command line with its own defaults (50 epochs; D-MPNN), `chemprop-ensemble` five of them,
`chemprop-rdkit` with its `v1_rdkit_2d_normalized` features; each in an environment of its own, which is made at first
(CHEMPROP names the `bin` of another one). `boosting` is scikit-learn's histogram gradient boosting with its defaults on
RDKit's descriptors and Morgan counts. Test scores choose nothing.
A peer's training is a line in benchmarks/results, so the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import race
import torch
from measuring import commit, cpu
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score, root_mean_squared_error

from automl_plugins.training.data.splits import random_split
from gnn_space.data.smiles import parse

STORE = Path(__file__).parent / "results" / "peers.jsonl"
SETS = ("esol", "freesolv", "bbbp")
PARTS = ("train", "val", "test")
CHEMPROP: dict[str, tuple[str, ...]] = {
    "chemprop": (),
    "chemprop-rdkit": ("--molecule-featurizers", "v1_rdkit_2d_normalized", "--no-descriptor-scaling"),
    "chemprop-ensemble": ("--ensemble-size", "5"),
}
"""The arguments of each form."""


class Molecules(NamedTuple):
    """A table's molecules and targets, and the part of each."""

    smiles: list[str]
    targets: np.ndarray
    part: list[str]
    regression: bool

    def of(self, part: str) -> tuple[list[str], np.ndarray]:
        """The molecules and targets of a part."""
        chosen = [place for place, each in enumerate(self.part) if each == part]
        return [self.smiles[place] for place in chosen], self.targets[chosen]

    def score(self, part: str, predicted: np.ndarray) -> float:
        """RMSE, or the area under the curve."""
        measure = root_mean_squared_error if self.regression else roc_auc_score
        return float(measure(self.of(part)[1], predicted))


def molecules(name: str) -> Molecules:
    """A set's molecules with the very split of the race, which is made sure of by its targets."""
    data = race.SETTINGS[name].data()
    with data.path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if parse(row[data.smiles_column]) is not None]
    targets = np.array([float(row[data.target_columns[0]]) for row in rows])
    part = [""] * len(rows)
    for which, places in zip(PARTS, random_split(len(rows), data.fractions, data.seed), strict=True):
        for place in places.tolist():
            part[place] = which
    data.descriptors = ()
    data.setup("fit")
    found = Molecules([row[data.smiles_column] for row in rows], targets, part, data.task.target == "regression")
    for which in PARTS:
        ours = torch.cat([graph.y.flatten() for graph in getattr(data.loaded, which)]).numpy()
        if not np.allclose(ours, found.of(which)[1], atol=1e-5):
            raise RuntimeError(f"{name}: the split of {which} is another one than the race's")
    return found


def boosting(data: Molecules, seed: int) -> dict[str, np.ndarray]:
    """Predictions of a part by gradient boosting."""
    model = (HistGradientBoostingRegressor if data.regression else HistGradientBoostingClassifier)(random_state=seed)
    model.fit(_described(data.of("train")[0]), data.of("train")[1])
    predict = model.predict if data.regression else lambda rows: model.predict_proba(rows)[:, 1]
    return {part: predict(_described(data.of(part)[0])) for part in PARTS[1:]}


def _described(smiles: Sequence[str]) -> np.ndarray:
    """RDKit's descriptors and Morgan counts."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import Descriptors
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    generator = GetMorganGenerator(radius=2, fpSize=2048)
    with rdBase.BlockLogs():
        found = [Chem.MolFromSmiles(each) for each in smiles]
        describe: Callable[..., dict[str, float]] = Descriptors.CalcMolDescriptors
        columns = [list(describe(each, missingVal=np.nan).values()) for each in found]
        counts = [generator.GetCountFingerprintAsNumPy(each) for each in found]
    described = np.concatenate([np.array(columns, dtype=np.float64), np.array(counts, dtype=np.float64)], axis=1)
    return np.where(np.isfinite(described), described, np.nan)


def chemprop(data: Molecules, seed: int, options: Sequence[str]) -> dict[str, np.ndarray]:
    """Predictions of a part by chemprop's command line."""
    command = _chemprop()
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder, "all.csv"), data.smiles, data.targets, data.part)
        kind = "regression" if data.regression else "classification"
        told = ["--smiles-columns", "smiles", "--target-columns", "y", "--splits-column", "part", "--task-type", kind]
        where = ["--accelerator", "cpu", "--num-workers", "0"]
        train = ["train", "-i", "all.csv", *told, *where, "--pytorch-seed", str(seed), "-o", "model", *options]
        _run([command, *train], folder)
        predicted = {}
        featurized = options if "--molecule-featurizers" in options else ()
        for part in PARTS[1:]:
            _write(Path(folder, f"{part}.csv"), *data.of(part), [part] * len(data.of(part)[0]))
            asked = [
                "-i",
                f"{part}.csv",
                "--smiles-columns",
                "smiles",
                "--model-paths",
                "model",
                "-o",
                f"{part}.out.csv",
            ]
            _run([command, "predict", *asked, *where, *featurized[:2]], folder)
            with Path(folder, f"{part}.out.csv").open(newline="") as file:
                predicted[part] = np.array([float(row["y"]) for row in csv.DictReader(file)])
    return predicted


def _chemprop() -> str:
    """The command of an environment of its own."""
    if "CHEMPROP" in os.environ:
        return str(Path(os.environ["CHEMPROP"], "chemprop"))
    environment = race.RUNS / "peers" / "chemprop"
    if not (environment / "bin" / "chemprop").exists():
        pip = str(environment / "bin" / "pip")
        _run([sys.executable, "-m", "venv", str(environment)])
        _run([pip, "install", "-q", "torch", "chemprop==2.*"])
    return str(environment / "bin" / "chemprop")


def _write(path: Path, smiles: Sequence[str], targets: np.ndarray, part: Sequence[str]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("smiles", "y", "part"), *zip(smiles, targets.tolist(), part, strict=True)])


def _run(command: Sequence[str], folder: str | None = None) -> None:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our words
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{ended.stderr[-2000:]}")


def _cpu_seconds() -> float:
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


PEERS: Mapping[str, Callable[[Molecules, int], dict[str, np.ndarray]]] = {
    "boosting": boosting,
    **{name: partial(chemprop, options=given) for name, given in CHEMPROP.items()},
}


def lines() -> list[dict[str, Any]]:
    """What the store has."""
    return [json.loads(line) for line in STORE.read_text().splitlines()] if STORE.exists() else []


def table(every: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each set and peer."""
    shown = Table(title="RMSE, or area under the curve, over seeds")
    for column in ("data", "peer", "seeds", "validation", "test", "CPU s"):
        shown.add_column(column)
    for name, peer in dict.fromkeys((line["data"], line["peer"]) for line in every):
        chosen = [line for line in every if (line["data"], line["peer"]) == (name, peer)]
        cells = [
            f"{np.mean([line[part] for line in chosen]):.3f} ± {np.std([line[part] for line in chosen]):.3f}"
            for part in PARTS[1:]
        ]
        seconds = np.mean([line["cpu_seconds"] for line in chosen])
        shown.add_row(name, peer, str(len(chosen)), *cells, f"{seconds:.0f}")
    return shown


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", action="store_true", help="run nothing, print what is there")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    every = lines()
    asked = [(name, peer, seed) for seed in range(options.seeds) for name in options.data for peer in options.peers]
    for name, peer, seed in [] if options.report else asked:
        if any((line["data"], line["peer"], line["seed"]) == (name, peer, seed) for line in every):
            continue
        data, began = molecules(name), _cpu_seconds()
        predicted = PEERS[peer](data, seed)
        scores = {part: round(data.score(part, each), 6) for part, each in predicted.items()}
        line = {"data": name, "peer": peer, "seed": seed, **scores, "cpu_seconds": round(_cpu_seconds() - began, 2)}
        every.append({**line, "commit": commit(), "cpu": cpu()})
        with STORE.open("a") as file:
            file.write(json.dumps(every[-1]) + "\n")
    Console(width=120).print(table(every))


if __name__ == "__main__":
    main()
