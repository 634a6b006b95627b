"""The `Trial` handle: its facts, what it refuses, and loops that report by hand."""

from __future__ import annotations

import csv
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from digits_training import DigitsData, DigitsNet
from hypothesis import given
from hypothesis import strategies as st
from rank_bench import Bench, ScriptedChannel

from lightning_hwtune.core.decisions import Continue, Pause, Stop
from lightning_hwtune.errors import ArgumentError, MetricError
from lightning_hwtune.training.channel import Note, Report, Saved, SegmentOrder
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.trial import Trial

_ORDER = SegmentOrder(
    study="digits", trial_id=7, segment=1, config={"lr": 0.1, "model.width": 8}, seed=3, num_devices=2, slots=(0, 1),
    accelerator="cpu", threads_per_device=1, trial_dir="/nowhere/007", resource=0, checkpoint=None, unit="epochs",
    max_resource=27, levels=(1, 3, 9, 27), metrics=("val_error",),
)  # fmt: skip


def _trial(**changes: object) -> Trial:
    return Trial(ActiveSegment(replace(_ORDER, **changes), ScriptedChannel({}), rank=0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "of_study"),
    [
        ("writes to /out/sweep/trial_007/checkpoints", "writes to /out/sweep/trial_*/checkpoints"),
        ("hwtune/a/trials/007/x.log and trials/007", "hwtune/a/trials/*/x.log and trials/*"),
        ("another trial's: trials/008, trial_0071, 007", "another trial's: trials/008, trial_0071, 007"),
        ("`disk_budget` is 7", "`disk_budget` is 7"),
    ],
)
def test_a_note_about_the_study_names_no_folder_of_its_trial(text: str, of_study: str) -> None:
    channel = ScriptedChannel({})
    segment = ActiveSegment(_ORDER, channel, rank=0)
    segment.note(text, once_per="study", topic="a topic")
    segment.note(f"{text}, again", once_per="study", topic="a topic")
    segment.note(text)
    assert [note.text for note in channel.said.of(Note)] == [of_study, text]


def test_it_tells_the_order() -> None:
    trial = _trial()
    assert (trial["lr"], trial["model.width"], trial.id, trial.seed) == (0.1, 8, 7, 3)
    assert (trial.num_devices, trial.max_epochs, trial.ckpt_path) == (2, 27, None)
    assert trial.dir == Path("/nowhere/007")
    assert trial.load() is None
    assert _trial(unit="steps").max_epochs == -1


def test_an_unknown_parameter_names_its_neighbour() -> None:
    with pytest.raises(ArgumentError, match=r"'model\.widht'.*did you mean 'model\.width'\?"):
        _trial()["model.widht"]


@given(devices=st.integers(1, 16), batch=st.integers(-8, 4096))
def test_the_global_batch_is_divided_exactly_or_refused(devices: int, batch: int) -> None:
    trial = _trial(num_devices=devices)
    if batch > 0 and batch % devices == 0:
        assert trial.per_device_batch_size(batch) * devices == batch
    else:
        with pytest.raises(ArgumentError, match="global_batch"):
            trial.per_device_batch_size(batch)
    if batch > 0:
        assert _trial(num_devices=devices, batch="per_device").per_device_batch_size(batch) == batch


def test_loggers_get_one_run_over_all_segments() -> None:
    assert _trial(segment=1).logger_kwargs() == _trial(segment=4, num_devices=1).logger_kwargs()
    assert _trial().logger_kwargs()["version"] == "digits-007"


def test_a_missing_value_in_a_report_is_named() -> None:
    with pytest.raises(MetricError, match="'val_error' was never logged; logged names: 'loss'"):
        _trial(num_devices=1).report(1, loss=0.3)


def _own_loop(trial: Trial) -> None:
    state = trial.load() or {"weights": torch.zeros(3), "epoch": 0}
    for epoch in range(state["epoch"] + 1, trial.max_epochs + 1):
        state = {"weights": state["weights"] + epoch, "epoch": epoch}
        verdict = trial.report(epoch, val_error=1.0 / epoch)
        if not isinstance(verdict, Continue):
            assert isinstance(verdict, Pause if epoch == 2 else Stop)
            assert str(verdict.reason) == "as the script says"
            trial.save(state)
            return


def test_an_own_loop_pauses_and_goes_on(bench: Bench) -> None:
    first = bench.inline(_own_loop, {2: "pause"})
    assert first.ended[0].outcome == "done"
    assert not first.ended[0].reached_end
    second = bench.inline(_own_loop, {4: "stop"}, **bench.resume(first, 2))
    assert [report.resource for report in second.of(Report)] == [3, 4]
    assert torch.load(second.saved.path)["weights"].tolist() == [10.0] * 3


class _SlowOnDisk:
    """Takes half a second to save, and as long to load."""

    def __getstate__(self) -> dict[str, int]:
        time.sleep(0.5)
        return {"kept": 1}

    def __setstate__(self, state: dict[str, int]) -> None:
        time.sleep(0.5)


def test_an_own_loop_is_timed_from_its_start_without_what_saving_and_loading_take(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        trial.load()
        for epoch in range(bench.order.resource + 1, 5):
            time.sleep(0.05)
            if trial.report(epoch, val_error=0.5).kind != "continue":
                trial.save(_SlowOnDisk())
                return
            trial.save(_SlowOnDisk())

    first = bench.inline(train, {2: "pause"})
    bench.order = replace(bench.order, **bench.resume(first, 2))
    second = bench.inline(train, {4: "stop"})
    for said in (first, second):  # two epochs each, of which none costs nothing
        times = [report.train_s for report in said.of(Report)]
        assert 0.05 <= times[0] < 0.5
        assert times[0] + 0.05 <= times[1] < 0.5
        assert said.saved.train_s == times[1]


@pytest.mark.training
def test_cross_validation_reports_by_itself(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        trial.manual_reports()
        for epoch in (1, 2):
            for _ in range(2):
                trainer = trial.fit(DigitsNet(), DigitsData(64), limit_train_batches=2)
                assert trainer.current_epoch == 4
            if trial.report(epoch, val_error=0.5).kind != "continue":
                return

    said = bench.inline(train, {2: "stop"})
    assert said.ended[0].error == ""
    assert [report.resource for report in said.of(Report)] == [1, 2]
    assert said.of(Saved) == []
    assert said.of(Note) == []


@pytest.mark.training
def test_one_metrics_file_lasts_over_all_segments_and_repeated_work_is_written_once(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        trial.fit(DigitsNet(), DigitsData(64), log_every_n_steps=1)

    first = bench.inline(train, {2: "pause"})
    bench.inline(train, {4: "stop"}, **bench.resume(first, 2))  # lost, say, after it had logged
    bench.inline(train, {3: "pause"}, **bench.resume(first, 3))
    with (Path(bench.order.trial_dir) / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows if row["val_error"]] == ["0", "1", "2"]
    assert [int(row["step"]) for row in rows if row["train_loss_step"]] == list(range(24))


def test_a_parameter_whose_condition_does_not_hold_says_why_and_what_to_do() -> None:
    why = "momentum exists only when optimizer is 'sgd'; here optimizer is 'adam'"
    trial = _trial(config={"lr": 0.1, "optimizer": "adam"}, absent={"momentum": why})
    assert list(trial.config) == ["lr", "optimizer"]
    with pytest.raises(ArgumentError, match=r"here optimizer is 'adam'.*trial\.get\('momentum', default\)"):
        trial["momentum"]
    assert trial.get("momentum") is None
    assert trial.get("momentum", 0.0) == 0.0
    assert trial.get("lr", 7) == 0.1
    assert "momentum" not in trial
    assert "lr" in trial
    for ask in (trial.get, trial.__contains__, trial.__getitem__):
        with pytest.raises(ArgumentError, match="did you mean 'momentum'"):
            ask("momentun")
    with pytest.raises(ArgumentError, match="a parameter of the search space"):
        trial[0]
