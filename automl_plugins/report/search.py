"""The outcome of a differentiable search."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from automl_plugins.system.finite import spread, strict_json
from automl_plugins.system.formats import stamp, unstamped


@dataclass(frozen=True)
class SearchSummary:
    """The outcome of a differentiable search.

    Args:
        space: the searched space.
        data: the datamodule's class.
        strategy: how the logits were learned.
        epochs: of the search.
        steps: optimizer steps of the weights.
        seconds: wall time of the training loop, over all the times that it was resumed.
        cpu_seconds: processor time of this process, likewise.
        supernet_parameters: trainable parameters of the supernet.
        network_parameters: trainable parameters of the network that was found.
        metrics: what the last validation and the last epoch logged. They are of the supernet: of the network
            that was found, a training of its own says more.
    """

    space: str
    data: str
    strategy: str
    epochs: int
    steps: int
    seconds: float
    cpu_seconds: float
    supernet_parameters: int
    network_parameters: int
    metrics: Mapping[str, float | None]

    def to_json(self) -> str:
        """The summary as JSON, with which `from_json` gives it back; what is undefined is `null`."""
        return strict_json({**stamp(), **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> SearchSummary:
        """Read what `to_json` wrote.

        Raises:
            FormatError: another version wrote it.
        """
        return cls(**unstamped(json.loads(text), "what the search came to"))

    def _repr_html_(self) -> str:
        """The text for a person, in notebooks."""
        from automl_plugins.report.page.page import Text, fragment

        return fragment([Text(self.lines())])

    def lines(self) -> list[str]:
        """The text for a person."""
        metrics = ", ".join(f"{name} {spread(value, None)}" for name, value in sorted(self.metrics.items()))
        return [
            f"{self.space} on {self.data} with {self.strategy}: {self.epochs} epochs, {self.steps:,} steps, "
            f"{self.seconds:.1f} s ({self.cpu_seconds:.1f} CPU s)",
            f"the network that was found has {self.network_parameters:,} parameters, "
            f"the supernet {self.supernet_parameters:,}",
            *([f"the supernet at the end: {metrics}"] if metrics else []),
        ]
