from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))
from table_files import write_table

from benchmarks import moved_optimum, prior_demo, transfer
from lightning_hwtune.core.searchers import TPE, ParetoPrior, Random
from lightning_hwtune.simulation.tables import Table


def test_a_gain_is_the_difference_of_the_same_seed() -> None:
    none = np.array([[[0.3, 0.5, 0.6], [0.4, 0.7, 0.8]], [[0.3, 0.5, 0.6], [0.3, 0.5, 0.6]]])
    by_arm = dict.fromkeys(transfer.ARMS, none) | {"prior": none + 0.04, "reversed": none - 0.03}
    by_arm["reversed_unguarded"] = none - np.array([[[0.0, 0.1, 0.1]], [[0.0, 0.0, 0.3]]])
    found = transfer.summary(by_arm, ["a", "b"])
    assert found["prior"]["at_5"]["by_task"] == {"a": 0.04, "b": 0.04}
    full = transfer.summary(by_arm | {"prior": none + 0.1}, ["a", "b"])
    no_prior = {"lcbench": transfer.behind(none * np.array([[[0.9]], [[1.1]]]), none, ["a", "b"])}
    assert no_prior["lcbench"]["at_2"] == {"least": 0.9, "task": "a", "median": 1.0}
    row = {f"{k} {arm}": [best, best / 2, 0.4] for k in (0, 1, 2) for arm, best in (("prior", 0.1), ("random", 0.2))}
    moved = moved_optimum.summary([row, row])
    assert transfer.figures(found, full, no_prior, moved) == {
        "gain_at_5": 0.04,
        "gain_at_10": 0.04,
        "full_gain_at_5": 0.1,
        "full_gain_at_10": 0.1,
        "worst_vs_no_prior": 0.9,
        "moved_1_decades_vs_random": 0.5,
        "moved_2_decades_vs_random": 0.5,
        "moved_1_decades_away": 0.4,
        "moved_2_decades_away": 0.4,
        "reversed_cost_at_5": 0.03,
        "reversed_cost_at_10": 0.03,
        "full_reversed_cost_at_5": 0.03,
        "full_reversed_cost_at_10": 0.03,
        "few_cost_at_5": 0.0,
        "tasks_worse_at_10": 0,
    }
    assert found["reversed_unguarded"]["at_10"]["tasks_worse_by_0.02"] == 2


def test_a_prior_finds_an_optimum_that_has_moved() -> None:
    """One study's best of 80 draws varies by a factor of ten, so four studies are compared in the mean."""
    prior, best, random_best = moved_optimum.earlier_prior(), [], []
    for seed in range(4):
        errors, away = moved_optimum.study_of(prior, 2, seed=seed, n_draws=80)
        best.append(min(errors))
        random_best.append(min(moved_optimum.study_of(Random(), 2, seed=seed, n_draws=80)[0]))
        assert np.median(away[:10]) > 1.5
        assert np.median(away[60:]) < 0.75
    assert np.mean(best) <= 1.5 * np.mean(random_best)


def test_figures_are_those_of_the_arms_that_were_run() -> None:
    none = np.full((2, 2, 3), 0.5)
    found = transfer.summary({"none": none, "default": none, "prior": none + 0.1}, ["a", "b"])
    row = {f"{k} {arm}": [0.1, 0.05, 0.4] for k in (0, 1, 2) for arm in ("prior", "random")}
    no_prior = {"lcbench": transfer.behind(none + 0.1, none, ["a", "b"])}
    figures = transfer.figures(found, found, no_prior, moved_optimum.summary([row]))
    assert figures["full_gain_at_5"] == figures["gain_at_10"] == 0.1
    assert figures["worst_vs_no_prior"] == 1.2
    assert not [name for name in figures if "reversed" in name or "few" in name]


@pytest.mark.parametrize(
    ("half", "expected"), [("choosing", ["a", "c"]), ("reporting", ["b", "d"]), (None, ["a", "b", "c", "d"])]
)
def test_settings_are_chosen_on_other_tasks_than_those_of_the_report(half: str | None, expected: list[str]) -> None:
    assert transfer.halved(["a", "b", "c", "d"], ["a", "c"], half) == expected


def test_a_prior_never_knows_what_it_may_propose() -> None:
    drawn, known = transfer.halves(11, seed=3)
    assert sorted(drawn + known) == list(range(11))
    assert transfer.halves(11, seed=3) == (drawn, known)
    assert transfer.halves(11, seed=4) != (drawn, known)


def test_arms_of_trimtuner_draw_from_one_half_and_know_the_other_one_of_other_tasks(tmp_path: Path) -> None:
    named = {"a": ["cnn-1", "cnn-2"], "b": ["rnn-1"]}
    folder = write_table(
        tmp_path / "small",
        curves=lambda frame: pd.concat(
            [frame[frame.task == old].assign(task=new) for old, names in named.items() for new in names]
        ),
    )
    table = Table.load(folder)
    drawn, known = transfer.halves(4, seed=1)
    default, other, same = (transfer.trimtuner_searcher(arm, table, "cnn-2", 1) for arm in transfer.TRIMTUNER_ARMS)
    assert isinstance(default, TPE)
    assert isinstance(other, ParetoPrior)
    assert isinstance(same, ParetoPrior)
    for searcher in (default, other, same):
        assert [dict(config) for config in searcher.configs or ()] == [table.configs[row] for row in drawn]
    for searcher, tasks in ((other, ["small/rnn-1"]), (same, ["small/cnn-1"])):
        assert [task.name for task in searcher.tasks] == tasks
        assert searcher.tasks[0].values["lr"] == [table.configs[row]["lr"] for row in known]
        assert searcher.tasks[0].values["flavor"] == [table.configs[row]["flavor"] for row in known]
    row = transfer.trimtuner_shares("other", table, "cnn-2", 1)
    assert all(0 < share <= 1 for share in row["partial"])


def test_epochs_count_until_the_first_studys_hypervolume() -> None:
    first = np.array([[0.5, 10.0], [0.1, 100.0]])
    best = [0.1, 10.0]
    report = prior_demo.report_of(
        first,
        {
            "without": [np.array([[0.5, 100.0], [0.5, 10.0], [0.3, 20.0], best]), np.array([[0.5, 100.0]] * 5)],
            "prior": [np.array([best]), np.array([[0.5, 10.0], best])],
        },
    )
    # the two points of the first study lie on the edge of its own scale: any point inside it has more
    assert report["first_study"] == {"epochs": 2, "hypervolume": 0.0}
    assert report["error_epochs"]["without"] == [4, 5]
    assert report["error_epochs"]["never_there"] == {"without": [2], "prior": []}
    assert report["error_epochs"]["speedup"]["ratio"] == 3.0


def test_a_study_that_never_arrives_counts_with_all_its_epochs() -> None:
    assert prior_demo.epochs_to(np.array([False, False])) == (2, False)
    assert prior_demo.epochs_to(np.array([False, True, False])) == (2, True)
