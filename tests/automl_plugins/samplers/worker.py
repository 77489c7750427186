"""One of several worker processes on one storage: runs a study with each sampler, then says what they have learned."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import optuna
from optuna.storages import BaseStorage

from automl_plugins.samplers import (
    ArchitectureSampler,
    ControllerSampler,
    EvolutionSampler,
    PredictorSampler,
    PriorBandSampler,
    ReinforceSampler,
)
from automl_plugins.studies.storage import open_storage
from automl_plugins.testing.toy_space import ToySpace, all_b, score

TRIALS = 16
WORKERS = 3
LAST = "reinforce"
"""The study in which worker 0 dies."""


def samplers() -> dict[str, ArchitectureSampler]:
    space = ToySpace()
    return {
        "controller": ControllerSampler(space, startup=4, hidden=8),
        "evolution": EvolutionSampler(space, population=6, tournament=3),
        "predictor": PredictorSampler(space, startup=5, candidates=5),
        "priorband": PriorBandSampler(space, priors=[all_b(space, 2)]),
        "reinforce": ReinforceSampler(space),
    }


def storage_at(location: str) -> BaseStorage:
    if location.startswith("grpc:"):
        return optuna.storages.GrpcStorageProxy(port=int(location.removeprefix("grpc:")))
    return open_storage(location)


def state(sampler: ArchitectureSampler, study: optuna.Study) -> str:
    """A digest of all that a sampler has learned, to the last bit, and of what it would propose."""
    log = sampler.log(study)
    digest = hashlib.sha256()
    for observation in log.observations:
        digest.update(
            repr((observation.number, observation.architecture, observation.scores, observation.note)).encode()
        )
    if isinstance(sampler, ReinforceSampler):
        policy = sampler.policy(log)
        digest.update(policy.weights.tobytes() + repr((policy.baseline, policy.variance)).encode())
    if isinstance(sampler, ControllerSampler):
        controller = sampler.controller(log)
        digest.update(repr((controller.best, controller.baseline)).encode())
        for encoder in controller.policies.values():
            for parameter in encoder.parameters():
                digest.update(parameter.numpy().tobytes())
    digest.update(repr(sampler.propose(log, np.random.default_rng(0))).encode())
    return digest.hexdigest()


def work(study: optuna.Study, name: str, die: bool) -> None:
    """Run trials until enough have ended, or die in the middle of the second one."""
    space = ToySpace()
    own = 0
    pause = np.random.default_rng(int(name))
    while (ended := sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))) < TRIALS:
        if study.study_name == LAST and not die and ended >= TRIALS // 2 and not _died(study):
            time.sleep(0.01)  # however slow the machine, worker 0 dies while there is work left
            continue
        trial = study.ask()
        trial.set_user_attr("worker", name)
        architecture = space.suggest(trial)
        own += 1
        if die and own == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(pause.uniform(0, 0.02))
        study.tell(trial, score(architecture))
    # Others may still be in their last trials.
    study.set_user_attr(f"done {name}", True)
    others = [str(number) for number in range(1 if study.study_name == LAST else 0, WORKERS)]
    deadline = time.monotonic() + 120
    while not all(f"done {other}" in study.user_attrs for other in others):
        if time.monotonic() > deadline:
            raise TimeoutError(f"worker {name} waited too long for the others")
        time.sleep(0.1)


def _died(study: optuna.Study) -> bool:
    """Whether worker 0 has asked for the trial in which it dies."""
    return sum(trial.user_attrs.get("worker") == "0" for trial in study.get_trials(deepcopy=False)) == 2


def prepare(location: str) -> None:
    """Make the studies; databases do not like three processes to make their tables at once."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_storage(location)
    for kind in samplers():
        optuna.create_study(study_name=kind, storage=storage, direction="maximize")


def run(location: str, name: str, results: Path) -> None:
    """What one worker does; worker 0 dies in the midst of the last study."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = storage_at(location)
    states = {}
    for kind, sampler in samplers().items():
        study = optuna.load_study(study_name=kind, storage=storage, sampler=sampler)
        work(study, name, name == "0" and kind == LAST)
        states[kind] = state(sampler, study)
    results.write_text(json.dumps(states))
