"""Train contenders over the same seeds with the same budget, choose by validation, test once."""

from __future__ import annotations

import copy
import gc
import pickle
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import Any

import torch
from filelock import Timeout
from torch import nn

from automl_plugins import registry
from automl_plugins.errors import StudyError
from automl_plugins.objectives.contender import Contender, Tested, Trained
from automl_plugins.report.row import Row, row_of
from automl_plugins.studies.attempts import Attempts
from automl_plugins.studies.deaths import Deaths, KilledError
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.pulse import Pulse
from automl_plugins.studies.time_limit import TimeLimitError, time_limit
from automl_plugins.system.failure import failure_of, full_traceback
from automl_plugins.system.files import read_object, save_whole, write_whole
from automl_plugins.system.finite import finite, strict_json
from automl_plugins.system.interruption import interrupts_as_such
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.training.ensemble import Ensemble
from automl_plugins.training.fit import TrainingResult, seeded, test
from automl_plugins.training.item_error import item_error
from automl_plugins.training.items import ItemError
from automl_plugins.training.lightning import pl
from automl_plugins.training.lightning_checkpoint import checkpoint_of, first_not_finite
from automl_plugins.training.project import Project
from automl_plugins.training.surroundings import outside
from automl_plugins.training.tuned import TunedProjects


class Comparison:
    """Trainings of contenders, kept as files, so that workers share them and a kill loses at most one.

    Args:
        project: what is trained on what; its folder has the files.
        seeds: the seeds, the same for all contenders.
        minutes: a training or a test that takes longer has failed; None: it may.
    """

    def __init__(self, project: Project, seeds: Sequence[int], minutes: float | None = None) -> None:
        self.project = project
        self.projects = TunedProjects(project)
        self.minutes = minutes
        self.seeds = tuple(seeds)
        self.folder = RunFolder(project.folder)

    def over(self, seeds: Sequence[int]) -> Comparison:
        """The same comparison on other seeds; trainings on seeds that they share are shared."""
        other = copy.copy(self)
        other.seeds = tuple(seeds)
        return other

    def hand_made(self) -> list[Contender]:
        """The registered hand-made networks that fit the task's level, as contenders."""
        level = self.project.task.level
        loaded = {name: registry.load("references", name) for name in registry.names("references")}
        # Those that are far dearer than others ask to be named.
        fitting = (name for name, each in loaded.items() if level in getattr(each, "levels", ()))
        names = [name for name in fitting if not getattr(loaded[name], "on_request", False)]
        return [Contender(label=name, reference=name, found_by="hand") for name in names]

    def build(self, contender: Contender) -> nn.Module:
        """A contender's network, freshly initialised."""
        return contender.network(self.project.space, self.project.task, self.project.data)

    def train(self, contenders: Iterable[Contender], since: datetime | None = None) -> bool:
        """Train what no worker has trained or is training; False where others are still at it.

        A training that fails is a result too. It is tried again where it failed before `since`, so when the study
        is started again, and at most `attempts.MOST_ATTEMPTS` times in all; one that diverged is not.
        """
        return self._share(contenders, "train", since)

    def test(self, contenders: Iterable[Contender], since: datetime | None = None) -> bool:
        """Test, on the seeds that were trained, what no worker has tested or is testing; see `train`."""
        return self._share(contenders, "test", since)

    def _share(self, contenders: Iterable[Contender], stage: str, since: datetime | None) -> bool:
        complete = True
        for contender in contenders:
            self._describe(contender)
            for seed in self.seeds:
                if stage == "test" and self.trained_on(contender, seed).score is None:
                    continue
                attempts = Attempts(self.folder.result(contender.key, seed, stage), since)
                try:
                    with attempts.taken() as due:
                        if due:
                            attempts.make(partial(self._done, stage, contender, seed, since))
                            # A Trainer and its module refer to each other: only the collector frees their memory.
                            gc.collect()
                except Timeout:
                    complete = False
        return complete

    def _done(self, stage: str, contender: Contender, seed: int, since: datetime | None) -> dict[str, Any]:
        """The result of a training or a test, which are counted where they kill their process."""
        deaths = Deaths(self.folder.deaths, "" if since is None else since.isoformat())
        name = f"{contender.key}-seed{seed}"
        if stage == "train":
            return asdict(self._train(contender, seed, self._guarded(deaths, name)))
        return asdict(self._test(contender, seed, self._guarded(deaths, f"{name}-test")))

    @contextmanager
    def _guarded(self, deaths: Deaths, name: str) -> Iterator[None]:
        """Count what kills its process, end what takes too long, and let nothing end the process in order."""
        limit = time_limit(self.minutes, "final_minutes", partial(deaths.give_up, name))
        with deaths.attempt(name), limit, interrupts_as_such():
            yield

    def _describe(self, contender: Contender) -> None:
        """Write an architecture and its settings beside its trainings, so that the folder says whose they are."""
        folder = RunFolder(self.folder.contender(contender.key))
        if contender.architecture is not None and not folder.architecture.exists():
            write_whole(folder.architecture, contender.architecture.to_json())
        if contender.settings and not folder.settings.exists():
            write_whole(folder.settings, strict_json(contender.settings))

    def _train(self, contender: Contender, seed: int, guarded: AbstractContextManager[None]) -> Trained:
        count, started = None, time.perf_counter()
        try:
            with guarded, seeded(seed):
                with to_be_loaded() if contender.members else nullcontext():
                    network = self.build(contender)
                count = sum(each.numel() for each in network.parameters() if each.requires_grad)
                project = self.projects(contender.settings)
                module = project.make_module(network)
                pulse = Pulse(self.folder, f"{contender.label}, seed {seed}", project.monitor)
                if isinstance(network, Ensemble) and contender.members:
                    result = self._combined(contender.members, seed, network, module)
                else:
                    result = project.fit(module, callbacks=[pulse], keep_weights=True)
        except StudyError:
            raise
        except Exception as error:  # noqa: BLE001 - one contender's failure must not lose the others' results
            return Trained(
                score=None,
                best_epoch=-1,
                steps=0,
                seconds=time.perf_counter() - started,
                cpu_seconds=0.0,
                params=count,
                failure=f"failed: {failure_of(error)}",
                traceback=full_traceback(error),
                settled=isinstance(error, KilledError | TimeLimitError),
            )
        trained = Trained(
            score=finite(result.score),
            best_epoch=result.best_epoch,
            steps=result.steps,
            seconds=result.seconds,
            cpu_seconds=result.cpu_seconds,
            params=count,
        )
        broken = first_not_finite(module)
        if trained.score is None or broken is not None:
            which = "the last validation gave no" if self.project.judged_by == "last" else "no validation gave a"
            reason = f"{which} finite {self.project.monitor}" if broken is None else f"{broken} is not finite"
            return replace(trained, score=None, failure=f"diverged: {reason}", settled=True)
        checkpoint, note = checkpoint_of(module, result.best_epoch, result.steps)
        save_whole(self.folder.weights(contender.key, seed), {"network": network.state_dict(), **checkpoint})
        return replace(trained, note=note)

    def _combined(
        self, members: Sequence[Contender], seed: int, ensemble: Ensemble, module: pl.LightningModule
    ) -> TrainingResult:
        """The validation of an ensemble of what members have learned on a seed; its training is theirs.

        Raises:
            ValueError: a member's training failed, or the module learns more than its network.
        """
        started, around = time.perf_counter(), outside(module, ensemble)
        learned = [name for name, tensor in around.items() if isinstance(tensor, nn.Parameter)]
        if learned:
            raise ValueError(
                f"{type(module).__name__} learns more than its network, {', '.join(learned)}, so the mean of networks "
                "alone says nothing"
            )
        results = [self.trained_on(member, seed) for member in members]
        for member, part, result in zip(members, ensemble.members, results, strict=True):
            if result.score is None:
                raise ValueError(f"its member {member.label} has no score on this seed")
            part.load_state_dict(self.weights(member, seed)["network"])
        # Means and scales, which all members have of the same data.
        kept = self.weights(members[0], seed)["state_dict"]
        module.load_state_dict({name: kept[name] for name in around if name in kept}, strict=False)
        return TrainingResult(
            score=self.project.score(module),
            best_epoch=max(result.best_epoch for result in results),
            steps=sum(result.steps for result in results),
            seconds=time.perf_counter() - started,
            cpu_seconds=sum(result.cpu_seconds for result in results),
        )

    def _test(self, contender: Contender, seed: int, guarded: AbstractContextManager[None]) -> Tested:
        try:
            with guarded, seeded(seed):
                data = self.projects(contender.settings).data
                metrics = test(self.load(contender, seed), data, self.project.trainer)
        except StudyError:
            raise
        except Exception as error:  # noqa: BLE001 - one contender's failure must not lose the others' results
            return Tested({}, f"failed: {failure_of(error)}", settled=isinstance(error, KilledError | TimeLimitError))
        return Tested({name: finite(value) for name, value in metrics.items()})

    def item_error(self, contender: Contender) -> ItemError | None:
        """The standard error of the score on its best seed over the items of the validation, see `item_error`."""
        seed, project = self.best_seed(contender), self.projects(contender.settings)
        with seeded(seed):
            module = self.load(contender, seed)
            with suppress(Exception):  # a look at what is there must not lose it
                return item_error(module, project.data, project.trainer, project.monitor)
        return None

    def load(self, contender: Contender, seed: int) -> pl.LightningModule:
        """The LightningModule of a trained contender, with its weights."""
        with to_be_loaded():
            module = self.projects(contender.settings).make_module(self.build(contender))
        module.load_state_dict(self.weights(contender, seed)["state_dict"])
        return module

    def weights(self, contender: Contender, seed: int) -> dict[str, dict[str, torch.Tensor]]:
        """The kept files of a training: a Lightning checkpoint, and the `state_dict` of its `network` beside it."""
        path = self.folder.weights(contender.key, seed)
        try:
            weights: dict[str, dict[str, torch.Tensor]] = torch.load(path, weights_only=True, map_location="cpu")
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            # Without its weights a training is none.
            for stage in ("train", "test"):
                self.folder.result(contender.key, seed, stage).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise StudyError(
                f"{path} is gone or damaged ({type(error).__name__}), so it was removed; the same command trains that "
                "network again, on the same seed"
            ) from error
        return weights

    def trained(self, contender: Contender) -> list[Trained]:
        """The result of each seed's training."""
        return [self.trained_on(contender, seed) for seed in self.seeds]

    def trained_on(self, contender: Contender, seed: int) -> Trained:
        """The result of the training on a seed."""
        return Trained(**self._read(contender, seed, "train"))

    def is_trained(self, contender: Contender) -> bool:
        """True where the trainings on all seeds have ended, in whatever way."""
        return all(read_object(self.folder.result(contender.key, seed, "train")) is not None for seed in self.seeds)

    def tested(self, contender: Contender) -> dict[int, Tested]:
        """Results of the tests, by seed; those that were never run, since the training failed, are left out."""
        paths = {seed: self.folder.result(contender.key, seed, "test") for seed in self.seeds}
        seeds = [seed for seed, path in paths.items() if read_object(path) is not None]
        return {seed: Tested(**self._read(contender, seed, "test")) for seed in seeds}

    def _read(self, contender: Contender, seed: int, stage: str) -> dict[str, Any]:
        path = self.folder.result(contender.key, seed, stage)
        content = read_object(path)
        if content is None:
            raise StudyError(f"{path} is gone or damaged; remove it, and the same command makes it again")
        return content

    def row(self, contender: Contender, label: str | None = None, figures: Mapping[str, float] | None = None) -> Row:
        """The line of a contender whose trainings have ended, see `row_of`."""
        results = dict(zip(self.seeds, self.trained(contender), strict=True))
        return row_of(contender, results, self.tested(contender), label, figures)

    def best_seed(self, contender: Contender) -> int:
        """The seed that validated best.

        Raises:
            ValueError: none ended with a finite score.
        """
        results = zip(self.seeds, self.trained(contender), strict=True)
        scores = {seed: self.project.sign * result.score for seed, result in results if result.score is not None}
        if not scores:
            raise ValueError(f"no training of {contender.label} ended with a finite {self.project.monitor}")
        return max(scores, key=lambda seed: scores[seed])
