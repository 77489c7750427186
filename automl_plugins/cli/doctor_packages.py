"""The packages that are installed, those that extras would bring, and the plugins, as far as they can be imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.version import Version

from automl_plugins import registry
from automl_plugins.cli.errors import without_deprecations
from automl_plugins.cli.finding import Finding

_NAME = "automl-plugins"
_PYTHON = (3, 11)
_SIDES = {"torch-geometric": "graphs", "torchvision": "images", "segmentation-models-pytorch": "images"}
"""Packages without which the other side still works."""
_TOOLS = ("dev", "docs")
"""Extras for those who change this package."""


def packages() -> Iterator[Finding]:
    """Python, this package, and what it needs."""
    python = ".".join(map(str, sys.version_info[:3]))
    fits = sys.version_info[:2] >= _PYTHON
    yield Finding("ok" if fits else "BROKEN", f"python {python}", "" if fits else "3.11 or later is needed")
    try:
        yield Finding("ok", f"{_NAME} {version(_NAME)}")
    except PackageNotFoundError:
        yield Finding("BROKEN", _NAME, "it runs from its sources, where no plugin is found: pip install . in them")
        return
    for requirement in _required(None):
        yield _of(requirement)
    yield _lightning()


def _of(requirement: Requirement) -> Finding:
    """The state of a package that is needed."""
    name, found = requirement.name, _installed(requirement.name)
    if found is None:
        side = _SIDES.get(name)
        if side is not None:
            return Finding("-", name, f"needed for {side}: pip install {name}")
        return Finding("BROKEN", name, f"it is not installed: pip install '{name}{requirement.specifier}'")
    if not requirement.specifier.contains(found, prereleases=True):
        cure = f"{requirement.specifier} is needed: pip install '{name}{requirement.specifier}'"
        return Finding("BROKEN", f"{name} {found}", cure)
    return Finding("ok", f"{name} {found}")


def _lightning() -> Finding:
    """The distribution of Lightning that is used, of the two."""
    try:
        from automl_plugins.training.distribution import DISTRIBUTION, VARIABLE
    except (ValueError, ImportError) as error:
        return Finding("BROKEN", "Lightning", str(error))
    return Finding("ok", f"Lightning is {DISTRIBUTION}", f"the environment variable {VARIABLE} names another one")


def extras() -> Iterator[Finding]:
    """Extras, with the packages that each brings, or those that are missing."""
    names = sorted({extra for requirement in _requirements() for extra in _extras_of(requirement)} - set(_TOOLS))
    for name in names:
        wanted = list(_required(name))
        there = [f"{each.name} {_installed(each.name)}" for each in wanted if _fits(each)]
        missing = [each.name for each in wanted if not _fits(each)]
        if missing:
            yield Finding("-", name, f'{", ".join(missing)}: pip install "{_NAME}[{name}]"')
        else:
            yield Finding("ok", name, ", ".join(there))


def plugins() -> Iterator[Finding]:
    """The plugins of each group, all of which are imported."""
    for group in registry.filled():
        names, failed = registry.names(group), dict[str, str]()
        for name in names:
            try:
                with without_deprecations():
                    registry.load(group, name)
            except (RuntimeError, ValueError) as error:
                failed[name] = str(error)
        yield Finding("ok", group, f"{len(names) - len(failed)} of {len(names)} can be imported")
        for name, why in failed.items():
            ours = registry.where(group, name).partition(".")[0] in ("automl_plugins", "gnn_space", "seg_space")
            absent = [package for package in _SIDES if _installed(package) is None]
            yield Finding("BROKEN" if ours and not absent else "mind", f"{group}: {name}", why)


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(text) for text in requires(_NAME) or ()]
    except PackageNotFoundError:
        return []


def _required(extra: str | None) -> Iterator[Requirement]:
    """The packages that are needed; or those that an extra brings beyond them."""
    for requirement in _requirements():
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        brought = requirement.marker is not None and requirement.marker.evaluate({"extra": extra or ""})
        if needed if extra is None else brought and not needed and requirement.name != _NAME:
            yield requirement


def _extras_of(requirement: Requirement) -> set[str]:
    text = str(requirement.marker or "")
    return {part.split('"')[1] for part in text.split(" and ") if part.strip().startswith("extra ==")}


def _installed(name: str) -> str | None:
    try:
        return str(Version(version(name)))
    except PackageNotFoundError:
        return None


def _fits(requirement: Requirement) -> bool:
    found = _installed(requirement.name)
    return found is not None and requirement.specifier.contains(found, prereleases=True)
