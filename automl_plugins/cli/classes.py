"""Classes by registered name, class name or class path, looked at in their source before anything is imported.

jsonargparse imports what a value names. It may import only what has been looked at here: a class of a kind that a
config may name, or a function where one is asked for.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from automl_plugins import registry
from automl_plugins.cli.errors import UsageError, shown, told_briefly, without_deprecations
from automl_plugins.cli.source import arguments_of, exists, find, is_subclass, look_up, resolve, scope_of
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
_OF_ESTIMATORS = re.compile(r"sampler\.(init_args\.)?(predictor|proxy|reward)")

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


def look(key: str, value: Any) -> Any:
    """A value in which every name of a class is an import path that has been looked at.

    Args:
        key: what the messages call it; empty for a whole config.
        value: plain.

    Raises:
        UsageError: a name that does not exist, a class of another kind, or an argument that it does not take.
    """
    kind = KINDS.get(re.sub(r"(\[\d+\])+$", "", key))
    if key == "references":
        for name in value if isinstance(value, list) else ():
            if isinstance(name, str) and name not in registry.names("references"):
                hint = did_you_mean(name, registry.names("references"))
                raise UsageError(f"references: there is no {name!r}; {hint}")
    if key == "reward":  # the names of rewards are their own
        return {"class_path": value} if isinstance(value, str) else value
    if isinstance(value, list) and key not in ARGUMENTS:
        return [look(f"{key}[{place}]", each) for place, each in enumerate(value)]
    if isinstance(value, str) and key not in ARGUMENTS:
        if kind is None or not _names_class(value, kind):
            return _function(value)
        return class_path(key, value, kind)
    if key in ARGUMENTS and value is not None and not (isinstance(value, Mapping) and "class_path" not in value):
        raise UsageError(f"{key} is a mapping of arguments of {ARGUMENTS[key].rpartition('.')[2]}; got {shown(value)}")
    if not isinstance(value, Mapping):
        return value
    if key in ARGUMENTS:
        check_arguments(key, value, ARGUMENTS[key], SUPPLIED.get(key, ()))
    if kind is None and "class_path" not in value:
        return {name: look(f"{key}.{name}" if key else str(name), each) for name, each in value.items()}
    return _spec(key, value, kind or (ESTIMATOR if _OF_ESTIMATORS.fullmatch(key) else ANY))


def _spec(key: str, value: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """A class with its arguments, which may stand beside its name or under `init_args`; the class may be named later.

    Raises:
        UsageError: it is of another kind, or does not take one of the arguments.
    """
    arguments, path = value.get("init_args") or {}, value.get("class_path")
    if not isinstance(arguments, Mapping):
        raise UsageError(f"{key}.init_args={shown(arguments)}: it is a mapping of arguments")
    if not isinstance(path, str | None):
        raise UsageError(f"{key}.class_path={shown(path)}: it is the name of a class")
    if not value:
        raise UsageError(f"{key}={{}}: it names no {kind.words}")
    spec = {} if path is None else {"class_path": class_path(key, path, kind)}
    beside = {name: each for name, each in value.items() if name not in SPEC}
    if path is not None:
        check_arguments(f"{key}.init_args", arguments, spec["class_path"], SUPPLIED.get(key, ()))
        check_arguments(key, beside, spec["class_path"], SUPPLIED.get(key, ()))
    inner = {name: look(f"{key}.init_args.{name}", each) for name, each in arguments.items()}
    inner |= {str(name): look(f"{key}.{name}", each) for name, each in beside.items()}
    further = {"dict_kwargs": value["dict_kwargs"]} if "dict_kwargs" in value else {}
    return {**spec, **further, **({"init_args": inner} if inner or path is None else {})}


def check_arguments(key: str, given: Mapping[str, Any], path: str, supplied: Collection[str] = ()) -> None:
    """Refuse arguments that a class does not take, as far as its source tells, and those that the program supplies.

    Raises:
        UsageError: there is one; the message names the nearest that it takes, after the key.
    """
    found = resolve(path)
    takes, is_open = arguments_of(found) if found is not None else ({}, True)
    if not is_open:
        check_keys(given, [name for name in takes if name not in supplied], f"{key}.")


def check_bare_module(given: Mapping[str, Any]) -> None:
    """Refuse arguments that no module takes which is registered for a task of the data.

    Raises:
        UsageError: there is one.
    """
    modules = [resolve(path) for path in set(registered("modules").values())]
    takes = [name for each in modules if each is not None for name in arguments_of(each)[0]]
    check_keys(given, [name for name in takes if name not in SUPPLIED["module"]], "module.")


def check_keys(given: Mapping[str, Any], valid: Collection[str], prefix: str = "", near: Collection[str] = ()) -> None:
    """Refuse an unknown key, and name the nearest one.

    Args:
        given: the settings.
        valid: the keys that they may have.
        prefix: what stands before them in messages.
        near: what else somebody who mistyped may have meant.

    Raises:
        UsageError: there is one.
    """
    for key, value in given.items():
        if key not in valid:
            hint = did_you_mean(str(key), [*valid, *near])
            raise UsageError(f"{prefix}{key}={shown(value)}: there is no such key; {hint}")


def _names_class(value: str, kind: Kind) -> bool:
    """True where a text names a class, where other texts are taken, too."""
    return kind.is_closed or value in kind.names() or ("." in value and exists(value.partition(".")[0]))


def _function(value: str) -> str:
    """A text; what it names may be imported where it is a function of a package that a class was named of."""
    packages = {path.partition(".")[0] for path in importable}
    found = resolve(value) if value.partition(".")[0] in packages else None
    if found is not None and isinstance(found.node, ast.FunctionDef) and found.path.partition(".")[0] in packages:
        _allow(value, found.path)
    return value


def class_path(key: str, name: str, kind: Kind) -> str:
    """The import path of what a name stands for: a registered one, one of a class, or `package.module.Class`.

    Raises:
        UsageError: there is none of that name, it cannot be imported, or it is of another kind.
    """
    known = kind.names() if "." not in name else {}
    if "." not in name and name not in known:
        raise UsageError(f"{key}={shown(name)}: there is no such {kind.words}; {did_you_mean(name, known)}")
    path = known.get(name, name)
    _allow(path, _defined_at(key, path, kind))
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


def _allow(*paths: str) -> None:
    """Have jsonargparse import what was looked at: it checks where a class is defined, and shortens its path."""
    for path in paths:
        module, _, name = path.rpartition(".")
        while module:
            importable.add(f"{module}.{name}")
            module = module.rpartition(".")[0]
