"""Every file of a study's folder may have no length after a power cut."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from automl_plugins.errors import StudyError
from automl_plugins.studies.study import Study

NAMED = {"study.json", "seed1.pt"}
"""What cannot be made again without a word: it is named, with the cure."""


def test_a_study_goes_on_after_a_power_cut_or_names_the_file(make_study: Callable[..., Study], tmp_path: Path) -> None:
    make_study(sampler="RandomSampler").run()
    whole = tmp_path / "whole"
    (tmp_path / "run").rename(whole)
    expected = (whole / "architecture.json").read_text()
    spoilt = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    assert {"study.json", "study.journal", "seed1-train.json", "seed1.pt"} <= {path.name for path in spoilt}
    for path in spoilt:
        shutil.copytree(whole, tmp_path / "run")
        (tmp_path / "run" / path).write_bytes(b"")
        study = make_study(sampler="RandomSampler")
        if path.name in NAMED:
            with pytest.raises(StudyError, match=path.name) as caught:
                study.run()
            assert "\n" not in str(caught.value)
            if path.name == "study.json":
                (tmp_path / "run" / path).unlink()  # which is the cure that it names
        make_study(sampler="RandomSampler").run()
        assert (tmp_path / "run" / "architecture.json").read_text() == expected, path
        shutil.rmtree(tmp_path / "run")
