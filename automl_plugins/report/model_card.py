"""The model card of an exported network, as Hugging Face has it: YAML on top, then Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from automl_plugins.report.summary import Summary
from automl_plugins.spaces.task import Task
from automl_plugins.system.finite import spread

_PIPELINES = {"pixel": "image-segmentation", "image": "image-classification"}
"""The hub's names of tasks; those of graphs have one together."""


def model_card(
    title: str, task: Task, names: Sequence[str], summary: Summary | None, is_source_kept: bool, needs: Sequence[str]
) -> str:
    """The text of a README.md; what only its author can say is marked `TODO`.

    Args:
        title: the first sentence.
        task: that the network fits.
        names: of the outputs.
        summary: of the study, for the table and the verdict; None: there is none.
        is_source_kept: whether `model.py` is in the folder.
        needs: packages that it imports, beside torch and safetensors.
    """
    pipeline = "graph-ml" if task.level in ("node", "edge", "graph") else _PIPELINES[task.level]
    head = ["---", "library_name: pytorch", "license: other  # TODO: name one", f"pipeline_tag: {pipeline}", "---"]
    parts = [*head, "", "# TODO: a name", "", title, "", f"Outputs, in their order: {', '.join(names)}.", ""]
    parts += ["## Use", ""]
    if is_source_kept:
        packages = ", ".join(("torch", "safetensors", *needs))
        parts += [f"It needs {packages}. In this folder:", "", "```python", "from model import load", ""]
        parts += ["network = load()", "```", ""]
    else:
        parts += [
            "`model.safetensors` has the weights; the network is built by the package that it was trained with.",
            "",
        ]
    parts += ["## Results", ""]
    parts += _results(summary) if summary is not None else ["TODO: its scores, and on which data.", ""]
    parts += ["## Data", "", "TODO: what it was trained on, from where, and under which licence.", ""]
    parts += ["## Limits", "", "TODO: where it must not be used, and what is known to go wrong.", ""]
    return "\n".join(parts)


def _results(summary: Summary) -> list[str]:
    metrics = list(dict.fromkeys(name for row in summary.rows for name in row.test if not name.endswith("_loss")))
    columns = ["network", "parameters", summary.monitor, *metrics]
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    for row in summary.rows:
        validation = "failed" if row.validation_mean is None else spread(row.validation_mean, row.validation_deviation)
        size = "unknown" if row.params is None else f"{row.params:,}"
        tested = [spread(*row.test[name]) if name in row.test else "" for name in metrics]
        lines.append(f"| {' | '.join([row.label, size, validation, *tested])} |")
    told = [f"{summary.data}, means and deviations over {len(summary.seeds)} seeds.", "", *lines, ""]
    return [*told, *(f"- {line}" for line in summary.verdict), ""]
