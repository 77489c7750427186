"""A study that has ended: asked for once more, it tries, takes and trains nothing, and concludes from what is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from automl_plugins.objectives.contender import Contender
from automl_plugins.studies.finals import Finals
from automl_plugins.studies.folder import RunFolder
from automl_plugins.system.files import read_object, write_whole

_ASKED = ("trials", "equal_cost", "random_search", "finalists", "seeds", "ensemble", "search_minutes", "minutes")
"""The settings on which it depends what a study trains; whatever else it depends on, its identity holds."""


def keep_done(folder: RunFolder, finals: Finals, offered: Sequence[Contender]) -> None:
    """Keep that a study has ended, if all went well: what has failed is tried again when it is started again.

    Args:
        folder: of the run.
        finals: its final trainings, which have ended.
        offered: the hand-made networks before those that do not fit were left out.
    """
    if any(map(finals.failure, (*finals.contenders, *finals.members, *finals.chosen_among))):
        folder.done.unlink(missing_ok=True)
        return
    kept = {**_asked(finals, offered), "references": [each.key for each in finals.hand_made]}
    write_whole(folder.done, json.dumps(kept))


def fitting_when_done(folder: RunFolder, finals: Finals, offered: Sequence[Contender]) -> list[Contender] | None:
    """The hand-made networks of a study that has ended with these settings; None: there is something to do.

    Args:
        folder: of the run.
        finals: as they would be.
        offered: the hand-made networks that the study would have.
    """
    kept = read_object(folder.done) or {}
    fitting = kept.pop("references", None)
    if not isinstance(fitting, list) or kept != _asked(finals, offered):
        return None
    finals.hand_made = [each for each in offered if each.key in fitting]
    chosen = finals.chosen_among
    if not all(map(finals.choosing.is_trained, chosen)):
        return None
    if not all(map(finals.comparison.is_trained, (*finals.contenders, *finals.members))):
        return None
    return finals.hand_made


def _asked(finals: Finals, offered: Sequence[Contender]) -> dict[str, Any]:
    return {
        **{name: getattr(finals.plan, name) for name in _ASKED},
        "offered": [each.key for each in offered],
        "had": {arm: len(trials) for arm, trials in finals.trials.items()},
    }
