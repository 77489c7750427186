"""Costs of hand-made networks, measured once for a run, so that limits and rewards count for them too."""

from __future__ import annotations

from filelock import FileLock

from automl_plugins.measures.figures import Figures
from automl_plugins.objectives.contender import Contender
from automl_plugins.studies.comparison import Comparison
from automl_plugins.system.failure import failure_of
from automl_plugins.system.files import read_object, write_whole
from automl_plugins.system.finite import strict_json


def costs_of(comparison: Comparison, contender: Contender, figures: Figures) -> dict[str, float]:
    """The figures of a contender's network, measured now or before by any worker.

    Args:
        comparison: builds the network, and knows the folder where figures are kept.
        contender: any; of an architecture, its trial knows the figures too.
        figures: measures.

    Returns:
        Figures by name; empty where they cannot be measured, so that no limit is kept.
    """
    path = comparison.folder.contender(contender.key) / "figures.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        content = read_object(path) or {"figures": {}, "failure": ""}
        if not content["failure"] and not set(figures.names) <= content["figures"].keys():
            try:
                content["figures"] |= figures.of_network(lambda: comparison.build(contender))
            except Exception as error:  # noqa: BLE001 - the user's network; its training will say more
                content["failure"] = failure_of(error)
            write_whole(path, strict_json(content))
    return {name: content["figures"][name] for name in figures.names if name in content["figures"]}
