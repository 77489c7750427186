"""Sessions of CI and of developers; `nox` alone runs all but the demo.

The sessions share the environment that nox itself runs in: one weighs gigabytes, mostly torch.
"""

from __future__ import annotations

import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "imports", "circles", "words", "site", "tests"]

# With several threads a process, two busy processes slow each other down many times over.
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


def python(session: nox.Session, *arguments: str) -> None:
    session.run(sys.executable, *arguments, env=ENVIRONMENT, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """pytest without the slow tests, in two processes, each with whole files; arguments after `--` go to it."""
    python(session, "-m", "pytest", "--numprocesses=2", "--dist=loadfile", "-m", "not slow", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The tests that take more than ten seconds each: kills, agents, databases."""
    python(session, "-m", "pytest", "-m", "slow", *session.posargs)


@nox.session
def hostile(session: nox.Session) -> None:
    """More than sixteen hundred hostile inputs for all commands, and what became of them, as a table."""
    python(session, "-W", "ignore", "tests/hostile", *session.posargs)


@nox.session
def planted(session: nox.Session) -> None:
    """Every strategy on tasks where one option is right by construction, ten seeds each; the table at the end."""
    python(session, "benchmarks/planted.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: its rules, and its formatting."""
    python(session, "-m", "ruff", "check", ".")
    python(session, "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, on the packages."""
    python(session, "-m", "mypy", *session.posargs)


@nox.session
def imports(session: nox.Session) -> None:
    """The arrows between the packages, with import-linter."""
    python(session, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-logo")


@nox.session
def circles(session: nox.Session) -> None:
    """Circles of imports between files, those within functions and for type checking too."""
    python(session, ".ci/circles.py")


@nox.session
def words(session: nox.Session) -> None:
    """Docstring sentences that begin with a question's word and not with a noun."""
    python(session, ".ci/words.py")


@nox.session
def site(session: nox.Session) -> None:
    """The site of docs/ in build/site; broken links and missing references are errors."""
    session.env["NO_MKDOCS_2_WARNING"] = "1"
    python(session, "-m", "mkdocs", "build", "--strict", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """A whole search on real molecules, with its table at the end."""
    python(session, "-m", "automl_plugins", "study", "--config", "examples/solubility.yaml", *session.posargs)


@nox.session
def demo_segmentation(session: nox.Session) -> None:
    """A search on slices of a brain; what it finds, trained over seeds beside random ones and smp's U-Net."""
    python(session, "-m", "automl_plugins", "search", "--config", "examples/search_brain.yaml", *session.posargs)
    beside = ("--seeds", "2", "--random", "5", "--references", "[unet]")
    run = ("runs/search_brain", *beside, "--space.filters", "12", "--trainer.max_epochs", "15")
    python(session, "-m", "automl_plugins", "evaluate", *run)
