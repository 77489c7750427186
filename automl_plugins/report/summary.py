"""The final table of a study, and what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from automl_plugins.objectives.paired import PairedTest
from automl_plugins.report.page.finals import Finals, finals_table
from automl_plugins.report.row import Row, settings_text
from automl_plugins.report.trials import cost_line
from automl_plugins.system.finite import spread, strict_json
from automl_plugins.system.formats import stamp, unstamped
from automl_plugins.training.items import ItemError

if TYPE_CHECKING:
    from rich.table import Table

    from automl_plugins.report.front import Front

_NO_COLUMN = ("params",)
_ARMS = {"random search": "random", "hand": "hand-made"}
"""Arms by what they are to people."""
_MOST_PARTS = 6
_SHORT = {"macs": "steps x MACs", "cpu_seconds": "CPU s", "gpu_seconds": "GPU s"}


@dataclass(frozen=True)
class Summary:
    """The outcome of a study.

    Args:
        space: the searched space.
        data: the datamodule's class.
        monitor: the validation metric that everything was selected by.
        direction: whether it is better when lower or higher.
        rows: the best of the search, of random search, and the references, each over the same seeds; then the
            economical one and what failed. With costs, what was taken from each search's front in place of its best.
        searches: for each search, its trials by outcome, optimizer steps and processor seconds.
        seeds: the seeds of the final trainings.
        fronts: of each search, where the study has costs.
        winner: the label of the best row by mean validation (or reward), whoever found it, or of the economical one
            where that is preferred; None: nothing is finite.
        economical: the label of the cheapest one within a standard error of the best; None where one seed tells of no
            error.
        verdict: sentences on the winner, the economical one, and the worth of the search.
        sampler: the class of the sampler that the search's trials came from.
        item_error: the standard error of the winner's score on its best seed over the items of the validation; None
            where it cannot be told.
        tests: of the search's network against each other one, by metric and by who found that one.
        unit: in which the searches have the same cost, see `report.trial_cost.UNITS`.
    """

    space: str
    data: str
    monitor: str
    direction: str
    rows: Sequence[Row]
    searches: Mapping[str, Mapping[str, float]]
    seeds: Sequence[int]
    fronts: Mapping[str, Front] = field(default_factory=dict)
    winner: str | None = None
    economical: str | None = None
    verdict: Sequence[str] = field(default_factory=list)
    sampler: str = ""
    item_error: ItemError | None = None
    tests: Mapping[str, Mapping[str, PairedTest]] = field(default_factory=dict)
    unit: str = "trials"

    def to_json(self) -> str:
        """The summary as JSON, with which `from_json` gives it back; what is undefined is `null`."""
        return strict_json({**stamp(), **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Summary:
        """Read what `to_json` wrote.

        Raises:
            FormatError: another version wrote it.
        """
        from automl_plugins.report.front import Front

        content = unstamped(json.loads(text), "the summary")
        rows = [
            Row(**{**row, "test": {name: (mean, deviation) for name, (mean, deviation) in row["test"].items()}})
            for row in content.pop("rows")
        ]
        fronts = {
            arm: Front(**{**front, "objectives": tuple(front["objectives"])})
            for arm, front in content.pop("fronts", {}).items()
        }
        tests = {
            metric: {name: PairedTest(**test) for name, test in by_name.items()}
            for metric, by_name in content.pop("tests", {}).items()
        }
        error = content.pop("item_error", None)
        kept = None if error is None else ItemError(**error)
        return cls(rows=rows, fronts=fronts, tests=tests, item_error=kept, **content)

    def table(self) -> Table:
        """The rows as a table for a terminal; losses are left to JSON, metrics of a part as `test_iou/sky` to `lines`.

        A name such as `test/accuracy` is a metric of its own.
        """
        from rich.table import Table

        every = dict.fromkeys(name for row in self.rows for name in row.test)
        whole = [name for name in every if not _is_part(name)]
        metrics = [name for name in whole if not name.endswith("_loss")]
        figures = [
            name for name in dict.fromkeys(name for row in self.rows for name in row.figures) if name not in _NO_COLUMN
        ]
        over = f"mean ± deviation over {len(self.seeds)} seeds" if len(self.seeds) > 1 else "one seed"
        table = Table(title=f"{self.space} on {self.data}: {over}")
        table.add_column("network")
        for column in ("parameters", *figures, self.monitor, *metrics, "CPU s a training"):
            table.add_column(column, justify="right", no_wrap=True)
        if len(self.searches) > 1:
            table.add_column(f"its arm's {_SHORT.get(self.unit, self.unit)}", justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(
                row.label,
                "unknown" if row.params is None else f"{row.params:,}",
                *(f"{row.figures[name]:,.6g}" if name in row.figures else "unknown" for name in figures),
                _validation(row),
                *(_tested(row, name) for name in metrics),
                "" if row.cpu_seconds is None else f"{row.cpu_seconds:.1f}",
                *([self._cost(row)] if len(self.searches) > 1 else []),
            )
        return table

    @property
    def finals(self) -> Finals:
        """The rows as a page shows them."""
        return Finals(self.rows, self.monitor, self.direction, self.winner)

    def _repr_html_(self) -> str:
        """The table with intervals and the verdict, in notebooks."""
        from automl_plugins.report.page.page import Text, fragment

        return fragment([finals_table(self.finals), Text(self.verdict)])

    def _cost(self, row: Row) -> str:
        """The cost of the arm that a row is of; "" of none."""
        arm = _ARMS.get(row.found_by, row.found_by)
        cost = self.searches.get(arm, {}).get(self.unit)
        return "" if cost is None else f"{cost:.3g}" if self.unit == "macs" else f"{cost:,.0f}"

    def costs(self) -> list[str]:
        """A sentence for each search: its sampler, how many trials it ran and what they cost."""
        names = {"search": f"search ({self.sampler})"} if self.sampler else {}
        return [cost_line(names.get(arm, arm), cost) for arm, cost in self.searches.items()]

    def lines(self) -> list[str]:
        """All that is said under the table: failures, what was tuned, metrics of parts, costs, fronts, the verdict."""
        told = [f"{row.label}: {note}" for row in self.rows for note in row.notes]
        told += [f"{row.label} was trained with {settings_text(row.settings)}" for row in self.rows if row.settings]
        told += [line for row in self.rows for line in _parts(row)]
        told += self.costs()
        told += [line for arm, front in self.fronts.items() for line in front.lines(arm)]
        return [*told, *self.verdict]


def _is_part(name: str) -> bool:
    return "/" in name and not name.startswith("test/")


def _parts(row: Row) -> list[str]:
    """A line of each metric that a network has by class or target, where they are few; JSON has them all."""
    kinds: dict[str, list[str]] = {}
    for name in filter(_is_part, row.test):
        kind, _, part = name.partition("/")
        kinds.setdefault(kind, []).append(f"{part} {spread(*row.test[name])}")
    return [f"{row.label}: {kind} of {', '.join(told)}" for kind, told in kinds.items() if len(told) <= _MOST_PARTS]


def _validation(row: Row) -> str:
    if row.validation_mean is None:
        # `failed: RuntimeError: out of memory (file.py:3)`: the whole of it is said under the table.
        return (
            ": ".join(row.notes[0].split(": ")[:2]) if row.notes and row.notes[0].startswith("failed") else "diverged"
        )
    shown = spread(row.validation_mean, row.validation_deviation)
    return shown if row.completed == row.seeds else f"{shown} ({row.completed} of {row.seeds} seeds)"


def _tested(row: Row, name: str) -> str:
    return spread(*row.test[name]) if name in row.test else "undefined" if row.completed else ""
