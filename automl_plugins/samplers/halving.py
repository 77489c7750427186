"""The successive halving that a study's pruner does, as a sampler needs to know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.pruners import HyperbandPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

if TYPE_CHECKING:
    from optuna.study import Study


@dataclass(frozen=True)
class Halving:
    """The rungs of a study's pruner; trials are judged at each, and only the best go on to the next.

    Args:
        factor: one trial in so many goes on.
        rungs: of the longest bracket; 1 where the pruner does not say.
        rung: the first rung of the trial that is asked for. Hyperband's brackets begin at higher and higher ones.
    """

    factor: int
    rungs: int
    rung: int

    @classmethod
    def of(cls, study: Study, trial: FrozenTrial) -> Halving | None:
        """The rungs that a trial meets; None: the pruner is neither Hyperband nor successive halving."""
        pruner = study.pruner
        if isinstance(pruner, HyperbandPruner):
            # Else it learns of its brackets at the first report, and a study that goes on would begin with another one.
            if not pruner._pruners:
                pruner._try_initialization(study)
            return cls(pruner._reduction_factor, pruner._n_brackets or 1, pruner._get_bracket_id(study, trial))
        if isinstance(pruner, SuccessiveHalvingPruner):
            return cls(pruner._reduction_factor, 1, 0)
        return None

    def judged(self, trial: FrozenTrial) -> dict[int, float]:
        """The values of a trial at the rungs that it came to, by rung; `rung` is its own first one."""
        values: dict[int, float] = {}
        while (value := trial.system_attrs.get(f"completed_rung_{len(values)}")) is not None:
            values[len(values)] = value
        return {self.rung + place: value for place, value in values.items()}
