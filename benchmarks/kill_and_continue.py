"""Kill a study with SIGKILL at random moments, start it again each time, and check that nothing was lost.

`--workers 1` (default): the whole process group is killed `--kills` times, then the study may end. It must
have exactly the asked number of trials, every trial that had ended before a kill, no architecture trained
twice, and the trials, values and final trainings of a study that was never killed.

`--workers 3 --kill-one`: `--kills` studies, in each of which one worker process is killed; that very run
must end with exactly the asked number of trials and nothing lost.

Exit code 1 where anything of this does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from optuna.trial import FrozenTrial, TrialState

from automl_plugins.report.trial_cost import counts
from automl_plugins.studies.study import Study
from gnn_space import AGNNSpace
from gnn_space.data import ClusterData

POLL_SECONDS = 0.02


def study(options: argparse.Namespace, folder: Path) -> Study:
    """A small search with random search beside it, one reference, and final trainings over two seeds."""
    return Study(
        AGNNSpace(layers=2, max_parameters=50_000),
        ClusterData(num_train=6, num_val=2, num_test=2, batch_size=2, seed=options.seed),
        folder,
        trials=options.trials,
        trainer={"max_epochs": options.epochs, "accelerator": "cpu"},
        references=["gcn"],
        finalists=1,
        seeds=2,
        seed=options.seed,
        workers=options.workers,
        sharing=options.sharing,
    )


def start(options: argparse.Namespace, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """The study in a process group of its own, so that a kill takes its workers with it and nothing else."""
    passed = ("trials", "epochs", "seed", "workers")
    flags = [f"--{name}={getattr(options, name)}" for name in passed] + ["--sharing"] * options.sharing
    with log.open("ab") as file:
        return subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, "-W", "ignore", __file__, "--run", str(folder), *flags],
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def outcome(trial: FrozenTrial) -> tuple[Any, ...]:
    """The state that stays as it was once a trial has ended."""
    return trial.number, trial.state.name, tuple(sorted(trial.params.items())), trial.value


def finished(searched: Study) -> dict[str, set[tuple[Any, ...]]]:
    """The trials of each arm that have ended and count; it opens the journal anew, as a new process would."""
    reader = study_like(searched)
    return {arm: {outcome(trial) for trial in reader.arm_trials(arm) if counts(trial)} for arm in reader.plan.arms}


def study_like(searched: Study) -> Study:
    """The same study, as another process sees it."""
    return Study.of(searched.project.replace(), trials=searched.plan.trials)


def trained_twice(searched: Study) -> int:
    """Architectures of an arm that were trained to the end more than once."""
    reader = study_like(searched)
    twice = 0
    for arm in reader.plan.arms:
        trained = [
            tuple(sorted(trial.params.items())) for trial in reader.arm_trials(arm) if "steps" in trial.user_attrs
        ]
        twice += len(trained) - len(set(trained))
    return twice


def course(searched: Study) -> dict[str, list[tuple[Any, ...]]]:
    """The trials in order, and the final trainings, without numbers and times."""
    reader = study_like(searched)
    told: dict[str, list[tuple[Any, ...]]] = {
        arm: [outcome(trial)[1:] for trial in reader.arm_trials(arm) if counts(trial)] for arm in reader.plan.arms
    }
    for path in sorted(reader.folder.path.glob("contenders/*/*.json")):
        content = json.loads(path.read_text())
        times = ("seconds", "cpu_seconds")
        told[f"{path.parent.name}/{path.name}"] = [(name, content[name]) for name in content if name not in times]
    return told


def check(searched: Study, seen: dict[str, set[tuple[Any, ...]]]) -> list[str]:
    """The faults of a study that has ended, in words."""
    problems = []
    end = finished(searched)
    for arm, trials in end.items():
        if len(trials) != searched.plan.trials:
            problems.append(f"{arm}: {len(trials)} trials, {searched.plan.trials} were asked for")
        if lost := seen.get(arm, set()) - trials:
            problems.append(f"{arm}: {len(lost)} finished trials lost or changed: {sorted(lost)[:2]}")
        values = sum(trial[1] == TrialState.COMPLETE.name for trial in trials)
        if values == 0:
            problems.append(f"{arm}: no trial ended with a value")
    if twice := trained_twice(searched):
        problems.append(f"{twice} architectures were trained twice")
    if not searched.folder.summary.exists():
        problems.append("there is no summary")
    return problems


def describe(seen: dict[str, set[tuple[Any, ...]]]) -> str:
    """The number of trials of each arm that have ended."""
    return ", ".join(f"{arm} {len(trials)}" for arm, trials in seen.items())


def kill_all(options: argparse.Namespace, home: Path, startup: float) -> list[str]:
    """Kill the whole study again and again, then let it end."""
    moments = random.Random(options.seed)
    print("a study that is never killed ...", flush=True)
    reference = study(options, home / "reference")
    began = time.perf_counter()
    reference.run()
    work = time.perf_counter() - began
    print(f"it took {work:.1f} s after a start-up of about {startup:.1f} s; {describe(finished(reference))} trials\n")

    searched = study(options, home / "killed")
    seen: dict[str, set[tuple[Any, ...]]] = {}
    problems: list[str] = []
    print(f"{'kill':>4}  {'after':>7}  {'while it was':<26}  trials ended by then")
    for kill in range(options.kills):
        # One life in five is cut off while it starts; the others together reach about the study's end.
        starting = moments.random() < 0.2
        delay = moments.uniform(0, startup if starting else 2 * work / (options.kills + 1))
        marks = _marks(searched)
        process = start(options, searched.folder.path, home / "log.txt")
        launched = time.monotonic()
        while not starting and process.poll() is None and not _marks(searched) - marks:
            time.sleep(POLL_SECONDS)
        try:
            code = process.wait(timeout=delay)
            activity = f"over (exit code {code})"
            if code != 0:
                problems.append(f"life {kill + 1} ended with exit code {code}")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            activity = "starting" if not _marks(searched) - marks else _activity(searched)
        after = time.monotonic() - launched
        now = finished(searched) if searched.folder.journal.exists() else {}
        for arm, trials in seen.items():
            if lost := trials - now.get(arm, set()):
                problems.append(f"after kill {kill + 1}, {arm}: {len(lost)} finished trials lost or changed")
        seen = now
        print(f"{kill + 1:>4}  {after:>6.2f}s  {activity:<26}  {describe(seen) or 'none'}", flush=True)
    process = start(options, searched.folder.path, home / "log.txt")
    if process.wait() != 0:
        problems.append(f"the last start ended with exit code {process.returncode}; see the log")
    problems += check(searched, seen)
    print(f" end{'':>39}{describe(finished(searched))}; {_interrupted(searched)} trials were cut off")
    expected, found = course(reference), course(searched)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            problems.append(f"{name} differs from that of the study that was never killed")
    return problems


def _marks(searched: Study) -> set[Path]:
    """Those of all workers so far; after a kill in a training, a study works in a process of its own."""
    return set((searched.folder.path / "workers").glob("*.started"))


def _activity(searched: Study) -> str:
    """The stage of a study when it was killed."""
    if list(searched.folder.path.glob("contenders/*")):
        return "in the final trainings"
    reader = study_like(searched)
    running = [
        trial for arm in reader.plan.arms for trial in reader.arm_trials(arm) if trial.state is TrialState.RUNNING
    ]
    return f"training trial {running[0].number}" if running else "between trials"


def _interrupted(searched: Study) -> int:
    """Trials that a kill cut off; they do not count."""
    reader = study_like(searched)
    return sum("interrupted" in trial.user_attrs for arm in reader.plan.arms for trial in reader.arm_trials(arm))


def kill_one(options: argparse.Namespace, home: Path, startup: float) -> list[str]:
    """In each of several studies, kill one of the workers; the others must end the study."""
    moments = random.Random(options.seed)
    problems: list[str] = []
    longest = 1.0
    print(f"{'study':>5}  {'killed after':>12}  {'of the worker at work':<22}  trials ended by then and at the end")
    for number in range(options.kills):
        searched = study(options, home / f"killed-{number}")
        process = start(options, searched.folder.path, home / "log.txt")
        try:
            workers = _workers(process, options.workers, startup)
            # Workers announce themselves when they have started; what follows is training.
            delay = moments.uniform(0, longest)
            while process.poll() is None and not any((searched.folder.path / "workers").glob("*.started")):
                time.sleep(POLL_SECONDS)
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < delay:
                time.sleep(POLL_SECONDS)
            victim = moments.choice(workers)
            alive = victim.is_running()
            if alive:
                os.kill(victim.pid, signal.SIGKILL)
            seen = finished(searched) if searched.folder.journal.exists() else {}
            code = process.wait()
            longest = max(longest, 0.8 * (time.monotonic() - began))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        cut = _interrupted(searched)
        told = f"{describe(seen) or 'none'} -> {describe(finished(searched))}; {cut} trial cut off and asked for again"
        print(f"{number + 1:>5}  {delay:>11.2f}s  {'yes' if alive else 'it had ended':<22}  {told}", flush=True)
        found = check(searched, seen)
        if code != 0:
            found.append(f"it ended with exit code {code}; see the log")
        problems += [f"study {number + 1}: {problem}" for problem in found]
    return problems


def _workers(process: subprocess.Popen[bytes], expected: int, startup: float) -> list[psutil.Process]:
    """The worker processes of a run, once all of them are there."""
    deadline = time.monotonic() + 20 * startup + 60
    while time.monotonic() < deadline and process.poll() is None:
        children = psutil.Process(process.pid).children()
        workers = [child for child in children if any("spawn_main" in word for word in _command(child))]
        if len(workers) == expected:
            return workers
        time.sleep(POLL_SECONDS)
    raise RuntimeError(f"the study never had {expected} workers; exit code {process.poll()}")


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def main() -> int:
    """Run the benchmark; 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--trials", type=int, default=12, help="of the search, and of random search beside it")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kill-one", action="store_true", help="kill one worker instead of the whole study")
    parser.add_argument("--sharing", action="store_true", help="trials inherit weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.run is not None:
        study(options, options.run).run()
        return 0
    startup = time.time() - psutil.Process().create_time()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        problems = (kill_one if options.kill_one else kill_all)(options, home, startup)
        if problems and (home / "log.txt").exists():
            print((home / "log.txt").read_text()[-3000:])
    print("\n" + "\n".join(f"VIOLATED: {problem}" for problem in problems) if problems else "\nverdict: all held")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
