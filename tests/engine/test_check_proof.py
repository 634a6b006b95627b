"""The check proves that a pause changes nothing, tries both ends of the device counts, and leaves no trace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import pausing_trainings as trainings
from study_bench import run, small_study

import lightning_hwtune as hwt
from lightning_hwtune.engine.check_segment import CheckSegment
from lightning_hwtune.engine.check_segment_orders import check_configs
from lightning_hwtune.engine.resume_proof import ResumeProof, is_affordable
from lightning_hwtune.errors import TrialError
from lightning_hwtune.training.channel import Report, Saved

pytestmark = pytest.mark.training


@pytest.mark.parametrize(
    "train",
    [
        trainings.plain,
        trainings.loop,
        trainings.leaves_at_once,
        trainings.one_epoch_is_enough,
        trainings.counting_data,
        trainings.counting_callback,
    ],
)
def test_a_training_that_a_pause_does_not_change_gets_no_word(tmp_path: Path, train: Any) -> None:
    objectives = [hwt.Metric("error", "min", best=True)]  # as its early stopping expects
    assert small_study(tmp_path, objectives=objectives).check(train).notes == ()


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (trainings.count_in_a_module, "error is"),
        (trainings.counting_sampler, "error is"),
        (trainings.endless_stream, "error is"),
        (trainings.persistent_workers, "error is"),
        (trainings.loop_with_a_stream, "error is"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_pause_changes_is_noted_once_with_both_numbers(tmp_path: Path, train: Any, said: str) -> None:
    check = small_study(tmp_path).check(train)
    (note,) = check.notes
    assert note.startswith("a pause changes this training: after 3 epochs")
    assert said in note
    assert "without a pause and" in note
    assert "ASHA(type='stopping')" in note
    assert [item.text for item in check.study_notes] == [note]


def test_a_process_that_ends_inside_the_fit_fails_the_check(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="ended with exit status 3"):
        small_study(tmp_path).check(trainings.leaves_in_the_fit)


def test_a_training_that_is_another_each_time_is_not_blamed_on_the_pause(tmp_path: Path) -> None:
    (note,) = small_study(tmp_path).check(trainings.another_each_time).notes
    assert "give different values" in note


def test_a_loop_that_saves_nothing_starts_from_scratch(tmp_path: Path) -> None:
    (note,) = small_study(tmp_path).check(trainings.loop_without_save).notes
    assert "starts again from scratch" in note


@pytest.mark.parametrize(
    "scheduler",
    [
        hwt.RunToEnd(max_epochs=9),
        hwt.ASHA(9, first_rung=1, type="stopping"),
        hwt.ASHA(1, first_rung=1),
    ],
)
def test_nothing_is_proved_where_nothing_pauses(tmp_path: Path, scheduler: Any) -> None:
    assert small_study(tmp_path, scheduler=scheduler).check(trainings.loop_with_a_stream).notes == ()


def _trained(values: list[float], weights: str = "") -> CheckSegment:
    reports = [Report(epoch, {"error": value}, float(epoch)) for epoch, value in enumerate(values, 1)]
    saved = Saved("path", "digest", 1, len(values), 1.0, weights)
    return CheckSegment(lambda report: False, reports=reports, saved_as=saved)


@pytest.mark.parametrize(
    ("end", "weights", "said"),
    [
        (0.25, "a", ""),
        (float("nan"), "a", "error is 0.25 without a pause and nan with one"),
        (0.2500000001, "a", "error is 0.25 without a pause and 0.2500000001 with one"),
        (0.25, "b", "error is 0.25 without a pause and 0.25 with one, but the weights differ"),
    ],
)
def test_the_last_bit_counts_of_objectives_and_weights(end: float, weights: str, said: str) -> None:
    after = _trained([end], weights)
    after.reports[0] = Report(3, {"error": end}, 1.0)
    note = ResumeProof(_trained([1.0, 0.5, 0.25], "a"), _trained([1.0, 0.5]), after).note("epochs")
    assert said in note
    assert bool(note) == bool(said)


@pytest.mark.parametrize(("train_s", "is_cheap"), [(0.1, True), (11.0, True), (13.0, False)])
def test_a_proof_takes_a_minute_at_most(train_s: float, is_cheap: bool) -> None:
    assert is_affordable(Report(1, {}, train_s)) is is_cheap


# ---------------------------------------------------------------------- devices, traces, limits


def test_the_smallest_and_the_largest_device_count_are_checked(tmp_path: Path) -> None:
    space = hwt.SearchSpace(x=hwt.Float(0, 1), devices=hwt.NumDevices(1, 2))
    with pytest.raises(hwt.TrialError, match="two devices do not work"):
        small_study(tmp_path, space=space).check(trainings.devices_matter)


@pytest.mark.parametrize(("counts", "expected"), [((1, 2), [1, 2]), ((2, 3, 4), [2, 4]), ((2,), [2])])
def test_the_checked_configurations_are_draws_of_the_study(
    tmp_path: Path, counts: tuple[int, ...], expected: list[int]
) -> None:
    batch = hwt.Choice([12, 24])
    space = hwt.SearchSpace(x=hwt.Float(0, 1), batch_size=batch, devices=hwt.NumDevices(*counts))
    spec = small_study(tmp_path, space=space, pool=hwt.Pool("cpu", 4)).spec
    configs = check_configs(spec)
    assert [spec.allocator.first(config).devices for config in configs] == expected
    assert all(space.validate(config) == dict(config) for config in configs)


def test_a_check_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    small_study(tmp_path / "studies").check(trainings.logged_everywhere)
    left = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    ours = {path for path in left if path.parts[0] == "studies"}
    runs = [path for path in left - ours if path.parts[0] != "raw_mlflow" and path.name != "meta.yaml"]
    assert runs == []
    found = [path.read_text() for path in (tmp_path / "raw_mlflow").rglob("meta.yaml")]
    assert not [text for text in found if "run_id" in text and "lifecycle_stage: active" in text]


def test_a_check_that_stands_still_is_ended(tmp_path: Path) -> None:
    with pytest.raises(hwt.TrialError, match="no progress for 2"):
        run(small_study(tmp_path), trainings.still, max_trials=1, check=True, hang_timeout=2)
