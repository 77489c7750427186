"""A study whose architectures kill its process, whose disk is full, or whose database goes away: what is lost?

- `poison`: some architectures kill the process that trains them; with one worker and with three, the study is
  started until it ends. It must end, with every other trial trained and those recorded as killed.
- `disk`: the run's folder lies on a file system of `--size` (a tmpfs where this process may mount one, else files
  may not grow beyond it). The study must end in one line, and the same command must go on where there is room.
- `database`: a PostgreSQL server is stopped for `--seconds` in the midst of a study. It must end as if nothing
  had happened, in one line for each process.

Exit code 1 where anything of this does not hold.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import optuna
import torch

from automl_plugins.errors import StudyError
from automl_plugins.report.trial_cost import counts
from automl_plugins.report.trials import outcome
from automl_plugins.studies.study import Study
from gnn_space import AGNNSpace, NodeClassification
from gnn_space.data import ClusterData

TRIALS = 8
POISONOUS = 30_000
MOST_STARTS = 4


class Poisoned(NodeClassification):
    """Kills its process where it is large, as the kernel does when memory runs out."""

    def on_train_start(self) -> None:
        """Once the training has begun."""
        if sum(parameter.numel() for parameter in self.parameters()) > POISONOUS:
            os.kill(os.getpid(), signal.SIGKILL)


def study(folder: Path, workers: int = 1, storage: str | None = None, poisoned: bool = False) -> Study:
    """A small search without a reference."""
    return Study(
        AGNNSpace(layers=2, max_parameters=50_000),
        ClusterData(4, 2, 2, batch_size=2),
        folder,
        module=Poisoned if poisoned else NodeClassification,
        trials=TRIALS,
        trainer={"max_epochs": 1 if poisoned else 4, "accelerator": "cpu"},
        references=[],
        random_search=False,
        finalists=1,
        seeds=1,
        workers=workers,
        storage=storage,
    )


def start(*arguments: str) -> subprocess.Popen[str]:
    """This script again, for one study."""
    command = [sys.executable, "-W", "ignore", __file__, *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 - this very file


def told(searched: Study) -> str:
    """The number of trials that ended, by outcome."""
    trials = [trial for trial in searched.arm_trials("search") if counts(trial)]
    kinds = Counter(map(outcome, trials))
    return f"{len(trials)} of {TRIALS} trials (" + ", ".join(f"{count} {kind}" for kind, count in kinds.items()) + ")"


def poison(home: Path) -> list[str]:
    """Start a study with poisonous architectures until it ends."""
    problems = []
    for workers in (1, 3):
        folder = home / f"poison-{workers}"
        for number in range(1, MOST_STARTS + 1):
            began = time.perf_counter()
            process = start("run", str(folder), "--workers", str(workers), "--poisoned")
            process.communicate()
            searched = study(folder, poisoned=True)
            seconds = time.perf_counter() - began
            how = f"poison, {workers} worker(s), start {number}: exit {process.returncode}"
            print(f"{how}, {told(searched)}, {seconds:.0f} s", flush=True)
            if process.returncode == 0:
                break
        if not searched.folder.summary.exists():
            problems.append(f"poison, {workers} worker(s): the study did not end in {MOST_STARTS} starts")
    return problems


def disk(home: Path, size: int) -> list[str]:
    """Run a study where there is too little room, then where there is enough."""
    problems = []
    small = home / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(small)]
    mounted = os.getuid() == 0 and subprocess.run(mount, check=False).returncode == 0  # noqa: S603
    how = f"a tmpfs of {size:,} bytes" if mounted else f"files of at most {size:,} bytes"
    try:
        arguments = [] if mounted else ["--file-size", str(size)]
        process = start("run", str(small / "run"), *arguments)
        _, errors = process.communicate()
        lines = [line for line in errors.splitlines() if "cannot be written" in line or "Traceback" in line]
        print(f"disk, {how}: exit {process.returncode}, {told(study(small / 'run'))}; {lines}")
        if process.returncode == 0 or len(lines) != 1 or "Traceback" in errors:
            problems.append(f"disk: {len(lines)} lines, exit code {process.returncode}")
        shutil.copytree(small / "run", home / "room")
    finally:
        if mounted:
            subprocess.run(["umount", str(small)], check=True)  # noqa: S603, S607
    process = start("run", str(home / "room"))
    process.communicate()
    print(f"disk, copied to where there is room: exit {process.returncode}, {told(study(home / 'room'))}")
    return problems if process.returncode == 0 else [*problems, "disk: it does not go on where there is room"]


def database(home: Path, seconds: float) -> list[str]:
    """Stop PostgreSQL for a while in the midst of a study."""
    programs = [shutil.which(name) or _debians(name) for name in ("initdb", "pg_ctl")]
    if None in programs:
        print("database: PostgreSQL is not installed, so this is left out")
        return []
    initdb, pg_ctl = map(str, programs)
    user = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    data = home / "postgresql"
    data.mkdir()
    if user is not None:
        shutil.chown(data, user)
        home.chmod(0o755)
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    url = f"postgresql+psycopg://tester@localhost:{port}/postgres"

    def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=user, cwd="/")  # noqa: S603

    options = f"-p {port} -k {data} -c listen_addresses=localhost"
    up = (pg_ctl, "start", "-w", "-D", str(data), "-o", options, "-l", str(data / "log"))
    down = (pg_ctl, "stop", "-m", "immediate", "-D", str(data))
    run(initdb, "--auth=trust", "--username=tester", "-D", str(data))
    run(*up)
    try:
        process = start("run", str(home / "database"), "--storage", url)
        while process.poll() is None and not list((home / "database" / "workers").glob("*.started")):
            time.sleep(0.1)
        time.sleep(1)
        run(*down)
        time.sleep(seconds)
        run(*up)
        _, errors = process.communicate()
        lines = [line for line in errors.splitlines() if "storage postgresql" in line]
        print(f"database, {seconds:g} s away: exit {process.returncode}, {told(study(home / 'database', storage=url))}")
        print("  " + "\n  ".join(lines))
    finally:
        run(*down)
    if process.returncode != 0 or "Traceback" in errors or not lines:
        return [f"database: exit code {process.returncode}; {errors[-500:]}"]
    return []


def _debians(name: str) -> str | None:
    found = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))
    return found[-1] if found else None


def main() -> int:
    """Run what is asked for; 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("poison", "disk", "database", "all", "run"), default="all", nargs="?")
    parser.add_argument("folder", type=Path, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=65_536, help="bytes of the disk")
    parser.add_argument("--seconds", type=float, default=10, help="that the database is away")
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--storage", help=argparse.SUPPRESS)
    parser.add_argument("--poisoned", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--file-size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    if options.what == "run":
        if options.file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_size, resource.RLIM_INFINITY))
        try:
            study(options.folder, options.workers, options.storage, options.poisoned).run()
        except StudyError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        return 0
    os.environ["OMP_NUM_THREADS"] = "1"
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        if options.what in ("poison", "all"):
            problems += poison(home)
        if options.what in ("disk", "all"):
            problems += disk(home, options.size)
        if options.what in ("database", "all"):
            problems += database(home, options.seconds)
    print("\n".join(f"VIOLATED: {problem}" for problem in problems) if problems else "verdict: all held")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
