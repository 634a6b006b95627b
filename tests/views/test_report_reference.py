"""What is shown of trials whose seconds are given at their first number of devices."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from test_reference_count import Moving, study, trained

from lightning_hwtune.core.objectives import Cost
from lightning_hwtune.views.announcements import announce
from lightning_hwtune.views.export import front_text, trials_text
from lightning_hwtune.views.reference import References
from lightning_hwtune.views.story import why
from lightning_hwtune.views.tables import front_entries, front_frame, shown_trials, trial_entries, trials_frame

MODEL = "1 device (measured on 1 and 2, speed-up 1.6 by the model)"


@pytest.fixture(scope="module")
def moved() -> Moving:
    """Trials 1 and 2 move to two devices after their first rung."""
    return trained(9, (1, 2), moves_from=2)


def test_the_story_of_a_trial_says_where_its_seconds_were_measured(moved: Moving) -> None:
    assert "; seconds at 1 device (measured on 2, speed-up 1.6 by the model)" in why(moved.state, moved.log, 1)
    assert "seconds at" not in why(moved.state, moved.log, 0)


def test_a_guess_is_called_a_guess() -> None:
    alone = trained(1, (0,))
    text = "1 device (measured on 2, speed-up 1.74, a guess: too few trials show it)"
    assert f"seconds at {text}" in why(alone.state, alone.log, 0)
    assert front_frame(alone.state)["seconds_at"].tolist() == [text]
    assert front_entries(alone.state)[0]["reference"]["basis"] == "guess"


def test_where_only_the_cost_is_recorded_the_cost_is_named() -> None:
    paid = trained(1, (0,), study_spec=study((Cost(),), ()))
    assert "; cost at 1 device (measured on 2" in why(paid.state, paid.log, 0)


def test_tables_have_a_column_and_entries_a_key(moved: Moving) -> None:
    texts = trials_frame(moved.state)["seconds_at"]
    assert [text is not None for text in texts] == [trial.trial_id in (1, 2) for trial in moved.state.trials]
    assert texts[1] == MODEL
    assert shown_trials(moved.state)["seconds_at"].tolist() == texts.tolist()
    entries = {entry["trial_id"]: entry["reference"] for entry in trial_entries(moved.state)}
    assert entries[0] is None
    assert {key: entries[1][key] for key in ("devices", "measured_on", "basis")} == {
        "devices": 1,
        "measured_on": [1, 2],
        "basis": "model",
    }
    assert entries[1]["speed_ups"] == {"2": pytest.approx(1.6, rel=0.01)}
    assert json.loads(trials_text(moved.state))[1]["reference"]["devices"] == 1
    assert MODEL in trials_text(moved.state, "csv")


def test_a_rung_before_the_move_was_measured_on_one_count(moved: Moving) -> None:
    references = References(moved.state)
    assert references.entry(moved.state.trials[1], 1) is None
    assert references.text(moved.state.trials[1], 9) == MODEL
    rungs = {(e["rung"], e["trial_id"]): e["reference"] for e in front_entries(moved.state, "rung")}
    assert all(entry is None for (rung, _), entry in rungs.items() if rung == 1)


def test_a_study_whose_trials_kept_their_devices_shows_nothing_new() -> None:
    kept = trained(5)
    assert "seconds_at" not in trials_frame(kept.state)
    assert "seconds_at" not in front_frame(kept.state)
    assert all("reference" not in entry for entry in [*trial_entries(kept.state), *front_entries(kept.state)])
    assert "reference" not in front_text(kept.state)


def test_the_lines_of_a_run_say_it_too(moved: Moving) -> None:
    lines = [line.text for line in announce(moved.state, moved.log)]
    paused = next(line for line in lines if line.startswith("trial 1 pauses at epoch 3"))
    assert "; seconds at 1 device (measured on 2, speed-up 1.6 by the model); " in paused
    complete = next(line for line in lines if line.startswith("trial 1 is complete"))
    assert f"; seconds at {MODEL}" in complete
    assert all("seconds at" not in line for line in lines if line.startswith("trial 7 "))
