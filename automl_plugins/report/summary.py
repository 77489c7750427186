"""The final table of a study."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from automl_plugins.comparison import Row
    from automl_plugins.report.front import Front


@dataclass(frozen=True)
class Summary:
    """What a study came to.

    Args:
        space: the searched space.
        data: the datamodule's class.
        monitor: the validation metric that everything was selected by.
        direction: whether it is better when lower or higher.
        rows: the winner, random search's winner and the references, each over the same seeds; with costs, what
            was taken from each search's front in place of its winner.
        searches: for each search, its trials by outcome, optimizer steps and processor seconds.
        seeds: the seeds of the final trainings.
        fronts: of each search, where the study has costs.
    """

    space: str
    data: str
    monitor: str
    direction: str
    rows: Sequence[Row]
    searches: Mapping[str, Mapping[str, float]]
    seeds: Sequence[int]
    fronts: Mapping[str, Front] = field(default_factory=dict)

    def to_json(self) -> str:
        """The summary as JSON, with which `from_json` gives it back."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Summary:
        """Read what `to_json` wrote."""
        from automl_plugins.comparison import Row
        from automl_plugins.report.front import Front

        content: dict[str, Any] = json.loads(text)
        rows = [
            Row(**{**row, "test": {name: (mean, deviation) for name, (mean, deviation) in row["test"].items()}})
            for row in content.pop("rows")
        ]
        fronts = {arm: Front(**front) for arm, front in content.pop("fronts", {}).items()}
        return cls(rows=rows, fronts=fronts, **content)

    def table(self) -> Table:
        """The rows as a table for a terminal; losses, and metrics of a part as `test_iou/sky`, are left to JSON."""
        from rich.table import Table

        every = self.rows[0].test if self.rows else {}
        metrics = [name for name in every if not name.endswith("_loss") and "/" not in name]
        table = Table(title=f"{self.space} on {self.data}: mean ± deviation over {len(self.seeds)} seeds")
        table.add_column("network")
        for column in ("parameters", self.monitor, *metrics, "CPU s a training"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(
                row.label,
                f"{row.num_parameters:,}",
                _spread(row.validation_mean, row.validation_deviation),
                *(_spread(*row.test[name]) for name in metrics),
                f"{row.cpu_seconds:.1f}",
            )
        return table

    def costs(self) -> list[str]:
        """A sentence for each search: how many trials it ran and what they cost."""
        return [
            f"{arm}: {cost['trials']:.0f} trials ({cost['completed']:.0f} completed, "
            f"{cost['pruned']:.0f} stopped early, {cost['failed']:.0f} failed, {cost['copied']:.0f} seen before), "
            f"{cost['steps']:,.0f} optimizer steps, {cost['cpu_seconds']:,.0f} CPU seconds"
            for arm, cost in self.searches.items()
        ]


def _spread(mean: float, deviation: float) -> str:
    return f"{mean:.4f} ± {deviation:.4f}"
