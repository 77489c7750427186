from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from automl_plugins.studies.study import Study

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    """A study of AGNN's space on a few molecules, in two batches; see `scored_study`."""
    from scored_study import SETTINGS, Scored, space

    monkeypatch.setattr(Scored, "scores", {})
    monkeypatch.setattr(Scored, "broken", set())
    return lambda **given: Study(**{"space": space(), "folder": tmp_path / "run", **SETTINGS, **given})
