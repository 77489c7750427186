"""The plain arguments of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl_plugins import registry
from automl_plugins.strategies import Strategy
from automl_plugins.system.arguments import at_least, is_finite, is_number


@dataclass(frozen=True)
class SearchOptions:
    """The arguments of `ArchitectureSearch` that are plain values; they are described there.

    Raises:
        ValueError: one is of another type, or out of range; nan is out of each.
    """

    learning_rate: float | None
    weight_decay: float
    betas: tuple[float, float]
    warmup_epochs: int
    collapse: float | None
    path: str | Path | None
    seed: int
    memory_limit: int | None

    def __post_init__(self) -> None:
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            if (value is not None or name == "weight_decay") and (not is_finite(value) or value < 0):
                raise ValueError(f"{name} is at least 0, and finite; got {value!r}")
        betas = self.betas
        if not isinstance(betas, Sequence) or len(betas) != 2 or not all(is_number(b) and 0 <= b < 1 for b in betas):
            raise ValueError(f"betas are two numbers, at least 0 and less than 1; got {betas!r}")
        for name in ("warmup_epochs", "seed"):
            at_least(name, getattr(self, name), 0)
        if self.collapse is not None and not (is_number(self.collapse) and 0 < self.collapse <= 1):
            raise ValueError(f"collapse is a share, greater than 0 and at most 1; got {self.collapse!r}")
        if self.memory_limit is not None and not (is_number(self.memory_limit) and self.memory_limit > 0):
            raise ValueError(f"memory_limit is a number of bytes, greater than 0; got {self.memory_limit!r}")
        if self.path is not None and not isinstance(self.path, str | Path):
            raise ValueError(f"path is that of a file; got {self.path!r}")

    @property
    def of_optimizer(self) -> dict[str, Any]:
        """The arguments of `Strategy.optimizer`; a learning rate that was not given is set when the steps are known."""
        return {
            "learning_rate": 0.0 if self.learning_rate is None else self.learning_rate,
            "weight_decay": self.weight_decay,
            "betas": (self.betas[0], self.betas[1]),
        }

    @property
    def of_result(self) -> dict[str, Any]:
        """Those on which the search's result depends."""
        return {
            **self.of_optimizer,
            "learning_rate": self.learning_rate,
            "warmup_epochs": self.warmup_epochs,
            "collapse": self.collapse,
            "seed": self.seed,
        }


def make_strategy(strategy: str | Strategy) -> Strategy:
    """A strategy by its registered name; one that is made already is given back.

    Raises:
        ValueError: no strategy has that name, or it is something else.
    """
    if isinstance(strategy, str):
        if strategy in registry.names("procedures"):
            raise ValueError(
                f"{strategy!r} is a procedure of several fits, and a callback is in one; run it with `automl-plugins "
                f"search --strategy {strategy}`, or call {registry.where('procedures', strategy)} with a Project"
            )
        made: Strategy = registry.load("strategies", strategy)()
        return made
    if isinstance(strategy, Strategy):
        return strategy
    hint = "; make one of it" if isinstance(strategy, type) and issubclass(strategy, Strategy) else ""
    raise ValueError(f"strategy is a registered name or a Strategy; got {strategy!r}{hint}")
