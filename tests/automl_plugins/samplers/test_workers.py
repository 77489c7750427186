"""Three workers share a study with each sampler; one of them is killed in the midst of a trial."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import worker
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from automl_plugins.studies.storage import open_storage
from automl_plugins.testing.toy_space import ToySpace, score


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as client:
            if client.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"nothing answers at port {port}")


def postgresql_program(name: str) -> str | None:
    """On the PATH, or where Debian's package puts it."""
    debians = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))
    return shutil.which(name) or (debians[-1] if debians else None)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "study.journal")


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


@pytest.fixture
def grpc(tmp_path: Path) -> Iterator[str]:
    if importlib.util.find_spec("grpc") is None:
        pytest.skip("grpcio is not installed")
    port = free_port()
    serve = (
        "import optuna; from automl_plugins.studies.storage import open_storage;"
        f"optuna.storages.run_grpc_proxy_server(open_storage({str(tmp_path / 'study.journal')!r}), port={port})"
    )
    server = subprocess.Popen([sys.executable, "-W", "ignore", "-c", serve], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield f"grpc:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    initdb, pg_ctl = postgresql_program("initdb"), postgresql_program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed (Debian's package `postgresql`)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed")
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.getuid() == 0 else None
    data = Path(tmp_path / "postgresql")
    data.mkdir()
    if user is not None:
        shutil.chown(data, user)
        for parent in (data, *data.parents):
            if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    port = free_port()
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "user": user, "cwd": "/"}
    subprocess.run([initdb, "--auth=trust", "--username=tester", "-D", data], **quiet)
    options = f"-p {port} -k {data} -c listen_addresses=localhost -c fsync=off"
    subprocess.run([pg_ctl, "start", "-w", "-D", data, "-o", options, "-l", data / "log"], **quiet)
    try:
        yield f"postgresql+psycopg://tester@localhost:{port}/postgres"
    finally:
        subprocess.run([pg_ctl, "stop", "-m", "immediate", "-D", data], **quiet)


def close(storage: BaseStorage) -> None:
    """Let go of a database's connections, which Optuna leaves to the collector."""
    storage.remove_session()
    engine = getattr(getattr(storage, "_backend", None), "engine", None)
    if engine is not None:
        engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["journal", "sqlite", "grpc", "postgresql"])
def test_all_workers_have_learned_the_same_and_the_study_goes_on(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    location = request.getfixturevalue(kind)
    context = multiprocessing.get_context("fork")
    # This process opens what the proxy's server writes to: it is better not to fork once gRPC has been used.
    direct = str(tmp_path / "study.journal") if kind == "grpc" else location
    first = context.Process(target=worker.prepare, args=(direct,))
    first.start()
    first.join(60)
    workers = [
        context.Process(target=worker.run, args=(location, str(number), tmp_path / f"{number}.json"))
        for number in range(worker.WORKERS)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join(240)
    assert [process.exitcode for process in workers] == [-signal.SIGKILL, 0, 0]
    told = [json.loads((tmp_path / f"{number}.json").read_text()) for number in (1, 2)]
    storage = open_storage(direct)
    request.addfinalizer(lambda: close(storage))
    space = ToySpace()
    for name, sampler in worker.samplers().items():
        study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
        completed = sum(trial.state is TrialState.COMPLETE for trial in study.get_trials())
        assert worker.TRIALS <= completed < worker.TRIALS + worker.WORKERS
        # Those that learned trial by trial, and one that reads all at once.
        assert [states[name] for states in told] == [worker.state(sampler, study)] * 2
        for _ in range(3):
            trial = study.ask()
            study.tell(trial, score(space.suggest(trial)))
        architectures = [tuple(sorted(trial.params.items())) for trial in study.get_trials()]
        assert len(set(architectures[-3:]) - set(architectures[:-3])) == 3
    left = [trial.state for trial in optuna.load_study(study_name=worker.LAST, storage=storage).trials]
    assert left.count(TrialState.RUNNING) == 1
