"""A small version of `benchmarks/replay_fronts.py`: real studies, few trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import replay_fronts
from benchmarks.replay_arms import synthetic
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.tables import Table


def test_a_study_with_default_settings_is_judged_by_its_fully_trained_configurations(tmp_path: Path) -> None:
    problem = synthetic(0, 27, crossing=0.5)
    rows = replay_fronts._rows("synthetic", problem, 1, 6, tmp_path)
    again = replay_fronts._rows("synthetic", problem, 1, 6, tmp_path)  # kept in the folder
    assert rows == again
    [row] = rows
    assert row["objectives"] == 3
    assert 0 < row["full"] <= row["drawn"] <= 1
    assert row["chosen_error"] >= -1e-9
    found = replay_fronts._figures(rows)
    assert found["full_median"] == found["full_p10"] == pytest.approx(row["full"], abs=1e-4)
    assert found["chosen_error_p90"] == pytest.approx(row["chosen_error"], abs=1e-4)
    assert "chosen_error_p90_taskset" not in found


def test_what_is_missing_was_not_drawn_or_not_trained_to_the_end() -> None:
    problem = synthetic(0, 9, crossing=1.0)
    to_end = {"scheduler": {"name": "run_to_end"}}
    seen = [replay_fronts._replayed(problem, to_end, 0, n) for n in (4, 40)]
    drawn = [replay_fronts.drawn_share(study, problem) for study in seen]  # random training stops no trial
    assert drawn == pytest.approx([study.full[-1] for study in seen])
    assert drawn[0] < drawn[1] < 1
    for_error = {"scheduler": {"name": "asha", "first_rung": 1}, "objectives": ["error"]}  # pauses what is cheap
    paused = replay_fronts._replayed(problem, for_error, 0, 40)
    assert replay_fronts.drawn_share(paused, problem) == pytest.approx(drawn[1])
    assert paused.full[-1] < drawn[1] - 0.01
    rows = [{"objectives": 2, "full": 0.7, "drawn": 0.9, "partial_s": 0.1, "full_s": 0.5}]
    rows += [{**rows[0], "drawn": 0.8}]
    found = replay_fronts._figures([{**row, "chosen_error": None, "group": "synthetic"} for row in rows])
    assert (found["lost_undrawn"], found["lost_at_rungs"]) == (0.15, 0.15)


def test_the_random_training_that_few_trials_are_compared_with_begins_with_the_same_draws() -> None:
    arms = (replay_fronts._DEFAULT, replay_fronts._RANDOM)
    problem = synthetic(1, 9)
    first, second = ([replay_fronts._replayed(problem, arm, seed, 30) for arm in arms] for seed in (0, 1))
    configs = [[trial.config for trial in study.state.trials] for study in (*first, *second)]
    assert configs[0][:8] == configs[1][:8] != configs[3][:8]  # the first 8 trials, before the model
    assert configs[2][:8] == configs[3][:8]
    assert first[1].state.n_full == 30


def test_few_trials_are_compared_with_random_full_training() -> None:
    rows = [{"own": 0.6, "random": 0.3}, {"own": 0.2, "random": 0.5}]
    assert replay_fronts._few_figure(rows) == {"few_trials": 0.4, "few_trials_vs_random": 1.0}


def test_a_study_that_never_arrives_is_later_than_all_others() -> None:
    row = {"objectives": 2, "full": 0.9, "drawn": 1.0, "partial_s": 0.1, "chosen_error": None, "group": "synthetic"}
    rows = [{**row, "full_s": 0.5}, {**row, "full_s": None}, {**row, "full_s": 0.7}]
    found = replay_fronts._figures(rows)
    assert found["full_time"] == 0.7
    assert found["arrive_full"] == pytest.approx(2 / 3, abs=1e-4)
    assert "chosen_error_p90" not in found


@pytest.mark.data
def test_the_halves_of_the_tables_are_disjoint() -> None:
    try:
        tasks = Table.load("lcbench-surrogate").tasks
    except ArgumentError:
        pytest.skip("the table lcbench-surrogate is not there: set HWTUNE_DATA")
    choosing, reporting = (list(replay_fronts._half_of(half, tasks)) for half in replay_fronts.HALVES)
    assert len(choosing) == replay_fronts.N_CHOOSING
    assert [*choosing, *reporting] == list(tasks)
