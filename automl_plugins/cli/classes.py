"""Classes by registered name, class name or class path, looked at in their source before anything is imported.

jsonargparse imports what a value names. It may import only what has been looked at here: a class of a kind that a
config may name, or a function where one is asked for.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from automl_plugins import registry
from automl_plugins.cli.errors import UsageError, shown, told_briefly, without_deprecations
from automl_plugins.cli.source import find, is_subclass, look_up, resolve, scope_of
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.distribution import PACKAGE

GROUPS = {**registry.GROUPS, "pruners": "Optuna pruners"}
TRAINER = f"{PACKAGE}.Trainer"
SEARCH = "automl_plugins.search.ArchitectureSearch"
STUDY = "automl_plugins.studies.study.Study"
TASK = "automl_plugins.spaces.task.Task"
ARGUMENTS = {"trainer": TRAINER, "search": SEARCH, "task": TASK}
"""Keys under which the arguments of one class stand."""
SUPPLIED = {"module": ("network", "task"), "search": ("path", "seed"), "sampler": ("space",)}
"""Key -> arguments of its class that the program supplies."""
_FUNCTIONS = ("torch.nn.functional", "torchmetrics.functional")
_FABRIC = "lightning_fabric" if PACKAGE == "pytorch_lightning" else "lightning.fabric"
SPEC = ("class_path", "init_args", "dict_kwargs")
"""Keys of a class with its arguments."""


@dataclass(frozen=True)
class Kind:
    """A kind of class that a setting may name.

    Args:
        bases: import paths of what its classes are derived from.
        group: the registered ones, a group of `GROUPS`.
        further: another group of the kind.
        home: a module whose classes may be named without it.
        is_closed: no other text may stand there.
    """

    bases: tuple[str, ...]
    group: str | None = None
    home: str | None = None
    is_closed: bool = True
    further: str | None = None

    @property
    def words(self) -> str:
        """The names of its bases."""
        return " or ".join(base.rpartition(".")[2] for base in self.bases)

    def names(self) -> dict[str, str]:
        """Name -> import path: what is registered, by both of its names, and what `home` has.

        Raises:
            UsageError: two distributions give a name to different things.
        """
        found = {
            name: path for group in (self.further, self.group) if group for name, path in registered(group).items()
        }
        scope = scope_of(self.home) if self.home is not None else None
        classes = {name: f"{self.home}.{name}" for name in (scope.names if scope else ()) if name[:1].isupper()}
        return {**classes, **{path.rpartition(".")[2]: path for path in found.values()}, **found}

    def short(self, path: str) -> str:
        """The name under which a class is registered, or else the name of the class, where it may be given so."""
        places = {name: getattr(resolve(known), "path", known) for name, known in reversed(self.names().items())}
        home = getattr(resolve(path), "path", path)
        return next((name for name, place in places.items() if place == home), path)


def _of_trainer(home: str, *bases: str, is_closed: bool = False) -> Kind:
    return Kind(tuple(f"{PACKAGE}.{home}.{base}" for base in bases), home=f"{PACKAGE}.{home}", is_closed=is_closed)


_PLUGINS = _of_trainer("plugins", "Precision", "CheckpointIO", "LayerSync")
KINDS = {
    "space": Kind(("automl_plugins.spaces.space.SearchSpace",), "spaces"),
    "data": Kind((f"{PACKAGE}.LightningDataModule",), "data"),
    "module": Kind((f"{PACKAGE}.LightningModule",), "modules"),
    "sampler": Kind(("optuna.samplers.BaseSampler",), "samplers"),
    "pruner": Kind(("optuna.pruners.BasePruner",), "pruners"),
    "search.strategy": Kind(("automl_plugins.strategies.base.Strategy",), "strategies"),
    **{
        f"search.strategy.{place}{part}": Kind((f"automl_plugins.{base}",), group)
        for place in ("", "init_args.")
        for part, base, group in (
            ("regularizers", "strategies.regularizers.base.Regularizer", "regularizers"),
            ("perturbation", "strategies.perturbations.base.Perturbation", "perturbations"),
            ("stops", "strategies.stops.base.Stop", "stops"),
            ("relaxation", "supernets.relaxations.Relaxation", "relaxations"),
        )
    },
    "optimizer": Kind(("torch.optim.Optimizer",), home="torch.optim"),
    "lr_scheduler": Kind(("torch.optim.lr_scheduler.LRScheduler",), home="torch.optim.lr_scheduler"),
    "trainer.callbacks": _of_trainer("callbacks", "Callback", is_closed=True),
    "trainer.logger": _of_trainer("loggers", "Logger"),
    "trainer.strategy": _of_trainer("strategies", "Strategy"),
    "trainer.profiler": _of_trainer("profilers", "Profiler"),
    "trainer.accelerator": _of_trainer("accelerators", "Accelerator"),
    "trainer.plugins": Kind(
        (*_PLUGINS.bases, f"{_FABRIC}.plugins.environments.ClusterEnvironment"), home=_PLUGINS.home, is_closed=False
    ),
}
"""Key -> the kind of class that it names."""
ANY = Kind(("torch.nn.Module", *(base for kind in KINDS.values() for base in kind.bases)))
"""The kind of a nested argument; jsonargparse knows which of them it takes."""
ESTIMATOR = Kind(("automl_plugins.estimators.base.Estimator",), "estimators", further="predictors")
"""The kind of some arguments of samplers, which make it by themselves of a mapping; a text is one of its names."""

importable = {"automl_plugins.Task", TASK, *_FUNCTIONS}
"""Import paths that jsonargparse may import."""


def registered(group: str) -> dict[str, str]:
    """Name -> import path: what is registered in a group, and what Optuna has of it.

    Raises:
        UsageError: two distributions give a name to different things.
    """
    found: dict[str, str] = {}
    if group in registry.GROUPS:
        with told_briefly("", 1, RuntimeError):
            found = {name: registry.where(group, name).replace(":", ".") for name in registry.names(group)}
    return found | {name: f"optuna.{group}.{name}" for name in of_optuna(group)}


@cache
def of_optuna(group: str) -> tuple[str, ...]:
    """The classes of Optuna that a group has beside the registered ones."""
    scope = scope_of(f"optuna.{group}") if group in ("samplers", "pruners") else None
    base = None if scope is None else resolve(KINDS[group[:-1]].bases[0])
    if scope is None or base is None:
        return ()
    found = {name: look_up(scope, name) for name in scope.names if not name.startswith(("_", "Base"))}
    return tuple(sorted(name for name, each in found.items() if each and each.is_class and is_subclass(each, base)))


def class_path(key: str, name: str, kind: Kind) -> str:
    """The import path of what a name stands for: a registered one, one of a class, or `package.module.Class`.

    Raises:
        UsageError: there is none of that name, it cannot be imported, or it is of another kind.
    """
    known = kind.names() if "." not in name else {}
    if "." not in name and name not in known:
        raise UsageError(f"{key}={shown(name)}: there is no such {kind.words}; {did_you_mean(name, known)}")
    path = known.get(name, name)
    allow(path, _defined_at(key, path, kind))
    return path


def _defined_at(key: str, path: str, kind: Kind) -> str:
    """The import path of where a class is defined, which is of a kind.

    Raises:
        UsageError: it is of another one, or cannot be imported.
    """
    module, _, name = path.rpartition(".")
    found, home = resolve(path), scope_of(module)
    if found is None and home is not None and not home.is_open and find(path) is None:
        raise UsageError(f"{key}={shown(path)}: {module} has no {name!r}; {did_you_mean(name, _classes(home.names))}")
    if found is not None and found.is_class:
        verdicts = [is_subclass(found, base) for base in map(resolve, kind.bases) if base is not None]
        if True in verdicts:
            return found.path
        if None not in verdicts:
            raise UsageError(f"{key}={shown(path)}: {_other_distribution(path, kind) or f'it is no {kind.words}'}")
    if found is not None and isinstance(found.node, ast.FunctionDef):
        raise UsageError(f"{key}={shown(path)}: it is no {kind.words}, but a function")
    # Its source does not tell, so it is looked at.
    made = _imported(key, path)
    if not inspect.isclass(made) or not issubclass(made, tuple(_imported(key, base) for base in kind.bases)):
        raise UsageError(f"{key}={shown(path)}: it is no {kind.words}")
    return f"{made.__module__}.{made.__qualname__}"


def _other_distribution(path: str, kind: Kind) -> str | None:
    """The message for a class that is of the right kind, but of the other Lightning distribution."""
    other = "lightning.pytorch" if PACKAGE == "pytorch_lightning" else "pytorch_lightning"
    found = resolve(path)
    bases = [resolve(base.replace(PACKAGE, other, 1)) for base in kind.bases if base.startswith(f"{PACKAGE}.")]
    if found is not None and any(is_subclass(found, base) for base in bases if base is not None):
        variable = f"AUTOML_PLUGINS_LIGHTNING={other.partition('.')[0]}"
        return f"it is built on {other}, and we run on {PACKAGE}; set {variable}"
    return None


def _imported(key: str, path: str) -> Any:
    """The object that an import path names.

    Raises:
        UsageError: there is no such module, it cannot be imported, or it has nothing of that name.
    """
    module, _, name = path.rpartition(".")
    try:
        with without_deprecations():
            home = importlib.import_module(module)
    except Exception as error:  # importing a plugin runs code that is not ours
        raise UsageError(
            f"{key}={shown(path)}: {module} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not hasattr(home, name):
        raise UsageError(f"{key}={shown(path)}: {module} has no {name!r}; {did_you_mean(name, _classes(dir(home)))}")
    return getattr(home, name)


def _classes(names: Collection[str]) -> list[str]:
    return [name for name in names if name[:1].isupper()]


def allow(*paths: str) -> None:
    """Have jsonargparse import what was looked at: it checks where a class is defined, and shortens its path."""
    for path in paths:
        module, _, name = path.rpartition(".")
        while module:
            importable.add(f"{module}.{name}")
            module = module.rpartition(".")[0]
