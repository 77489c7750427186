"""Whatever is given to the command line that is wrong is refused in one line, and harms nothing.

All of it is `nox -s hostile`; here are sixty, and what makes sure that they can be told from what is right.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from data_files import STUDY_OF_DATA, graph, molecules, npz, of_graph, of_images, of_table
from everything import everything, some
from inputs import COMMANDS, HostileInput, Prepare, nothing, right
from outcomes import here, in_a_process

pytestmark = pytest.mark.filterwarnings("ignore")

SIXTY = some(60)


@pytest.mark.parametrize("given", SIXTY[3:], ids=lambda given: ascii(given.kind)[1:80])
def test_what_is_hostile_is_refused_in_one_line(given: HostileInput, tmp_path: Path) -> None:
    outcome = here(given, tmp_path)
    assert outcome.verdict == "one line", (given.arguments, outcome)


@pytest.mark.parametrize("given", SIXTY[:3], ids=lambda given: ascii(given.kind)[1:80])
def test_in_a_process_of_its_own_too(given: HostileInput, tmp_path: Path) -> None:
    outcome = in_a_process(given, tmp_path)
    assert outcome.verdict == "one line", (given.arguments, outcome)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("attach", "benchmark")])
def test_without_what_is_hostile_in_them_the_commands_succeed(command: str, tmp_path: Path) -> None:
    outcome = here(HostileInput("right", command, COMMANDS[command], right), tmp_path)
    assert outcome.code == 0, outcome


@pytest.mark.parametrize(
    "prepare",
    [
        of_graph(lambda folder: (folder / "data.npz").write_bytes(npz(graph())) and None),
        of_table(lambda folder: (folder / "data.csv").write_bytes(molecules().encode()) and None),
        of_images(nothing),
    ],
    ids=["graph", "table", "images"],
)
def test_without_what_is_hostile_in_it_data_are_trained_on(prepare: Prepare, tmp_path: Path) -> None:
    outcome = here(HostileInput("right", "data", STUDY_OF_DATA, prepare), tmp_path)
    assert outcome.code == 0, outcome


def test_there_are_more_than_three_hundred_kinds_and_none_twice() -> None:
    kinds = [given.kind for given in everything()]
    assert len(set(kinds)) == len(kinds) > 300
