from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler
from optuna.trial import FrozenTrial

from automl_plugins import SearchSpace
from automl_plugins.cli import main
from automl_plugins.report.judgement import judgement_figure, judgement_table
from automl_plugins.spaces.enumeration import enumerate_space
from automl_plugins.tables import Table, nas_bench_graph
from automl_plugins.tables.judge import judge, look_ups


@pytest.fixture(scope="module")
def table(shared_data: Path) -> Table:
    return nas_bench_graph("proteins", shared_data)


def random_sampler(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def test_only_architectures_that_are_new_are_counted(table: Table) -> None:
    rows, trials = look_ups(table, random_sampler(0), 300)
    assert len(rows) == len(set(rows)) == 300
    assert trials > 300  # 5,625 architectures are 2,021 networks


class Everything(RandomSampler):
    """Asks for all architectures of a space, one after the other."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.architectures = list(enumerate_space(space))

    def sample_independent(self, study: object, trial: FrozenTrial, name: str, distribution: object) -> object:
        return self.architectures[trial.number][name]


def test_regret_never_rises_and_ends_at_zero_once_all_is_looked_up(table: Table) -> None:
    judgement = judge(table, "everything", lambda seed: Everything(table.space), len(table.rows), range(1))
    assert (np.diff(judgement.validation_regret) <= 0).all()
    assert judgement.validation_regret[0, 0] > 0
    assert judgement.validation_regret[0, -1] == 0


def test_the_test_score_is_that_of_the_best_validated(table: Table) -> None:
    judgement = judge(table, "random", random_sampler, 50, range(3))
    for validation, test in zip(judgement.validation[:, -1], judgement.test[:, -1], strict=True):
        rows = np.flatnonzero(table.columns["valid_perf"] == validation)
        assert test in table.columns["test_perf"][rows]


def test_the_same_seeds_give_the_same_searches(table: Table) -> None:
    first, second = (judge(table, "random", random_sampler, 30, range(2)) for _ in range(2))
    np.testing.assert_array_equal(first.validation, second.validation)


class Stuck(RandomSampler):
    def sample_independent(self, study: object, trial: object, name: str, distribution: object) -> object:
        return distribution.choices[0]


def test_a_sampler_that_finds_nothing_new_is_stopped_and_named(table: Table) -> None:
    with pytest.warns(UserWarning, match="Stuck found 1 architectures in 25 trials; 5 were asked for"):
        rows, _ = look_ups(table, Stuck(), 5)
    assert len(rows) == 1


def test_optunas_own_samplers_are_judged_too(table: Table) -> None:
    rows, _ = look_ups(table, NSGAIISampler(seed=0, population_size=5), 20)
    assert len(rows) == 20


def test_the_report_compares_on_the_same_seeds(table: Table, tmp_path: Path) -> None:
    judgements = [judge(table, name, random_sampler, 20, range(3)) for name in ("random", "again")]
    columns = {column.header: list(column.cells) for column in judgement_table(judgements, 100).columns}
    assert columns["sampler"] == ["random", "again"]
    assert columns["less random's"] == ["", "+0.000 ± 0.000"]
    judgement_figure(judgements, tmp_path / "figures" / "both.png", 100)
    assert (tmp_path / "figures" / "both.png").read_bytes()[:4] == b"\x89PNG"


def test_the_command_judges_a_sampler_beside_random_search(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "proteins.png"
    arguments = ["--data", "proteins", "--budget", "40", "--seeds", "2", "--folder", str(shared_data)]
    code = main(["benchmark", "nas-bench-graph", *arguments, "--sampler", "evolution", "--figure", str(figure)])
    output = capsys.readouterr().out
    assert code == 0
    assert "RandomSampler" in output
    assert "evolution" in output
    assert figure.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a table"),
        (["nas-bench-grap"], "did you mean 'nas-bench-graph'"),
        (["nas-bench-graph", "--budget", "0"], "budget is at least 1; got 0"),
        (["nas-bench-graph", "--budgets", "3"], "did you mean 'budget'"),
        (["nas-bench-graph", "--data", "corra"], "did you mean 'cora'"),
        (["nas-bench-graph", "--sampler", "evolutio"], "did you mean 'evolution'"),
    ],
    ids=str,
)
def test_the_commands_mistakes_are_named(
    arguments: list[str], message: str, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--folder", str(shared_data)] if arguments else []
    assert main(["benchmark", *arguments, *folder]) == 2
    assert message in capsys.readouterr().err
