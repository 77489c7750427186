"""Our own scores of built networks whose accuracy is known, kept line by line: `estimators.py built`.

NAS-Bench-201: cells without unreachable operations, in the benchmark's skeleton (five cells a stage, 16 channels), on
32 images of noise of 16x16; the published scores are of images of 32x32. NAS-Bench-Graph: rows of the table on Cora, 64
channels, on the whole graph with its features mapped at random to 128.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import commit, cpu
from rich.console import Console
from rich.table import Table as RichTable
from scipy.stats import spearmanr

from automl_plugins import Architecture, Task
from automl_plugins.estimators.context import Context
from automl_plugins.estimators.make import make_estimator
from automl_plugins.estimators.rank_sum import log_rank_sum
from automl_plugins.estimators.scoring import kendall
from automl_plugins.tables import nas_bench_201, nas_bench_graph
from automl_plugins.tables.files import numbers, read_csv
from gnn_space.nas_bench_graph import NASBenchGraphSpace
from seg_space.nas_bench_201 import NASBench201Space

RESULTS = Path(__file__).parent / "results"
SUMS = (("naswot", "jacov", "macs"), ("jacov", "macs"))
DRAWS = 500
BOOTSTRAP = 200
_IMAGES, _PIXELS = 32, 16
_CHANNELS, _FEATURES = 64, 128


@dataclass(frozen=True)
class Built:
    """Networks of a table that are scored.

    Args:
        architectures: by the name that they have in the store.
        context: that they are scored in.
        truths: accuracies in percent, by the name of what was measured.
        published: scores of others for the same architectures, by our names.
        estimators: what scores them.
    """

    architectures: Mapping[str, Architecture]
    context: Context
    truths: Mapping[str, np.ndarray]
    published: Mapping[str, np.ndarray]
    estimators: Sequence[str]


def cells(folder: Path, count: int) -> Built:
    """Random cells of NAS-Bench-201 that have published scores."""
    content = read_csv(folder / "tables" / "nas_bench_201" / "nb201_zc_cifar10.csv.gz")
    chosen = np.random.default_rng(0).permutation(len(content["ops"]))[:count]
    digits = [content["ops"][row] for row in chosen]
    table = nas_bench_201("cifar10", folder)
    rows = [table.rows[each] for each in digits]
    columns = {"CIFAR-10": "c10_test", "ImageNet16": "in16_test"}
    truths = {name: table.columns[column][rows] for name, column in columns.items()}
    theirs = {"naswot": "nwot", "macs": "flops", "grad-norm": "grad_norm"}
    names = ("params", "macs", "naswot", "jacov", "synflow", "grad-norm", "swap", "zico")
    published = {
        name: numbers(content[theirs.get(name, name)])[chosen] for name in names if theirs.get(name, name) in content
    }
    task, space = Task("image", "classes", in_channels=3, out_channels=10), NASBench201Space()
    noise = torch.randn(_IMAGES, 3, _PIXELS, _PIXELS, generator=torch.Generator().manual_seed(0))
    architectures = {each: space.named(each) for each in digits}
    return Built(architectures, Context(space, task, example=(noise,)), truths, published, names)


def graph_networks(folder: Path, count: int) -> Built:
    """Random rows of NAS-Bench-Graph on Cora."""
    content = read_csv(folder / "tables" / "nas_bench_graph" / "cora.csv.gz")
    chosen = np.random.default_rng(0).permutation(len(content["link"]))[:count]
    space, table = NASBenchGraphSpace(channels=_CHANNELS, dropout=0.0), nas_bench_graph("cora", folder)
    names = [f"{content['link'][row]} {content['ops'][row]}" for row in chosen]
    architectures = {name: space.named(name[:4], name[5:]) for name in names}
    rows = [table.row(each) for each in architectures.values()]
    truths = {"Cora": 100 * table.columns["test_perf"][rows]}
    task = Task("node", "classes", in_channels=_FEATURES, out_channels=7)
    estimators = ("params", "macs", "naswot", "naswot normalised", "jacov", "synflow", "grad-norm", "swap", "zico")
    context = Context(space, task, example=_cora(folder / "graph" / "cora.npz"))
    return Built(architectures, context, truths, {}, (*estimators, "nasi", "gennas"))


def _cora(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Features, divided by their sums and mapped at random, and the edges."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    starts, shape = arrays["x_indptr"].long(), arrays["x_shape"].tolist()
    rows = torch.arange(shape[0]).repeat_interleave(starts.diff())
    x = torch.zeros(shape)
    x[rows, arrays["x_indices"].long()] = arrays["x_data"].float()
    x = x / x.sum(dim=1, keepdim=True).clamp(min=1)
    mapped = x @ torch.randn(shape[1], _FEATURES, generator=torch.Generator().manual_seed(0))
    sources = torch.arange(shape[0]).repeat_interleave(arrays["adj_indptr"].long().diff())
    return mapped, torch.stack([sources, arrays["adj_indices"].long()])


SETS: Mapping[str, Callable[[Path, int], Built]] = {"nas-bench-201": cells, "nas-bench-graph": graph_networks}
_ARGUMENTS: Mapping[str, Any] = {"naswot normalised": {"class_path": "naswot", "init_args": {"normalised": True}}}


def fill(built: Built, store: Path) -> None:
    """Compute the scores that the store lacks, architecture by architecture, a line for each."""
    found = scores_in(store)
    estimators = {name: make_estimator(_ARGUMENTS.get(name, name), built.context.space) for name in built.estimators}
    for label, architecture in built.architectures.items():
        missing = [name for name in built.estimators if name not in found.get(label, {})]
        if not missing:
            continue
        scores = {}
        for name in missing:
            began = time.process_time()
            (estimate,) = estimators[name].estimate_all([architecture], built.context)
            spent = round(time.process_time() - began, 3)
            value = estimate.score if estimate.valid else None
            scores[name] = {"score": value, "cpu_s": spent, "reason": estimate.reason}
        line = {"architecture": label, "scores": scores, "commit": commit(), "cpu": cpu()}
        with store.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def scores_in(store: Path) -> dict[str, dict[str, Any]]:
    """The scores of each architecture in the store, by estimator."""
    found: dict[str, dict[str, Any]] = {}
    for line in store.read_text(encoding="utf-8").splitlines() if store.exists() else ():
        row = json.loads(line)
        found.setdefault(row["architecture"], {}).update(row["scores"])
    return found


def report(name: str, built: Built, store: Path) -> dict[str, float]:
    """Print the scores beside the truth, where they were computed, and give tau with the first truth by score."""
    found, labels = scores_in(store), list(built.architectures)
    kept = {each: [found.get(label, {}).get(each) for label in labels] for each in built.estimators}
    columns = {
        each: np.array([np.nan if one is None or one["score"] is None else one["score"] for one in rows])
        for each, rows in kept.items()
    }
    sums = {f"ranks: {', '.join(names)}": log_rank_sum(np.stack([columns[each] for each in names])) for names in SUMS}
    title = f"{name}: {len(labels)} built networks"
    title += "".join(f"; {truth}: best {of.max():.2f}, mean {of.mean():.2f}" for truth, of in built.truths.items())
    table = RichTable(title=title, title_justify="left")
    of_truths = [column for truth in built.truths for column in (f"{truth}: tau (95 %)", "published", "best of 100")]
    for column in ("score", "networks", "valid", "CPU s", *of_truths, "rho with published"):
        table.add_column(column, justify="right")
    for each, scores in {**columns, **sums}.items():
        done = np.array([one is not None for one in kept.get(each, labels)])
        if not done.any():
            continue
        spent = f"{np.mean([one['cpu_s'] for one in kept[each] if one is not None]):.2f}" if each in kept else ""
        theirs, cells = built.published.get(each), [each, str(done.sum()), str(np.isfinite(scores).sum()), spent]
        for truth in built.truths.values():
            low, high = interval(scores[done], truth[done])
            cells.append(f"{kendall(scores, truth):.3f} ({low:.2f} to {high:.2f})")
            cells += ["" if theirs is None else f"{kendall(theirs[done], truth[done]):.3f}"]
            cells += [best_of_hundred(scores[done], truth[done])]
        rho = "" if theirs is None else f"{spearmanr(scores[done], theirs[done], nan_policy='omit').statistic:.3f}"
        table.add_row(*cells, rho)
    Console(width=170).print(table)
    truth = next(iter(built.truths.values()))
    return {each: kendall(scores, truth) for each, scores in columns.items()}


def interval(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of tau, by a bootstrap over networks."""
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(truth), size=len(truth)) for _ in range(BOOTSTRAP)]
    low, high = np.nanquantile([kendall(scores[rows], truth[rows]) for rows in drawn], (0.025, 0.975))
    return float(low), float(high)


def best_of_hundred(scores: np.ndarray, truth: np.ndarray) -> str:
    """The truth of the best by a score of 100 networks drawn at random, mean and deviation of many draws."""
    generator, known = np.random.default_rng(0), np.where(np.isfinite(scores), scores, -np.inf)
    drawn = [generator.choice(len(truth), min(100, len(truth)), replace=False) for _ in range(DRAWS)]
    found = [truth[rows[np.argmax(known[rows])]] for rows in drawn]
    return f"{np.mean(found):.2f} ± {np.std(found):.2f}"


def run(name: str, folder: Path, count: int, fills: bool) -> dict[str, float]:
    """Score the networks of a set, unless only the report is asked for, and print the report."""
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    built, store = SETS[name](folder, count), RESULTS / f"built_{name}.jsonl"
    if fills:
        fill(built, store)
    return report(name, built, store)
