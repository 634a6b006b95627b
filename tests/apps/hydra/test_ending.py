"""What the end of a call of the app means, rule by rule, with a real segment and no process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from lightning_hwtune.apps.hydra.app import JobDirs
from lightning_hwtune.apps.hydra.batch_size import BatchSize
from lightning_hwtune.apps.hydra.call_end import Ending
from lightning_hwtune.apps.hydra.job_callback import AppCall
from lightning_hwtune.core.objectives import Metric
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.training.channel import Ended, Message, Note, Report, SegmentOrder, VerdictMessage
from lightning_hwtune.training.context import ActiveSegment, segment_context
from lightning_hwtune.training.segment_end import run_to_end
from lightning_hwtune.training.trial import Trial

ORDER = SegmentOrder(
    study="s", trial_id=17, segment=1, config={"batch": 64}, seed=0, num_devices=1, slots=(0,), accelerator="cpu",
    threads_per_device=1, trial_dir="", resource=0, checkpoint=None, unit="epochs", max_resource=9, levels=(1, 3, 9),
    metrics=("loss",),
)  # fmt: skip
ONE = Ending(("loss",))
TWO = Ending(("loss", "size"))
BY_VALUE = Ending(("value",), is_judged_by_value=True)


class Recorder:
    """The engine's end of the way: keeps the messages."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.notes: list[str] = []
        self.study_notes = 0

    def report(self, report: Report) -> VerdictMessage:
        self.reports.append(report)
        return VerdictMessage("stop", "")

    def send(self, message: Message) -> None:
        if isinstance(message, Note):
            self.notes.append(message.text)
            self.study_notes += message.once_per == "study"


class Bench:
    """A segment, and apps that behave in some way in it."""

    def __init__(self, segment: ActiveSegment, channel: Recorder) -> None:
        self.segment, self.channel = segment, channel

    def run(self, ending: Ending, app: Callable[[], Any]) -> Recorder:
        returned = AppCall()

        def call() -> None:
            returned.value, returned.is_there = app(), True

        ending.guard(Trial(self.segment), self.segment, returned, call)
        return self.channel

    def end(self, ending: Ending, app: Callable[[], Any]) -> Ended:
        """The rank's last message, as the rule for all segments has it."""
        return run_to_end(self.segment, lambda: self.run(ending, app))

    def trained(self, resource: int, verdict: str | None = "stop") -> None:
        self.segment.resource = self.segment.saved_at = resource
        self.segment.is_trained = True
        self.segment.verdict = VerdictMessage(verdict, "") if verdict else None


@pytest.fixture(params=[ORDER])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    channel = Recorder()
    with segment_context(replace(request.param, trial_dir=str(tmp_path)), channel) as segment:
        yield Bench(segment, channel)


def failing() -> float:
    raise KeyError("test/acc")


@pytest.mark.parametrize(
    ("value", "notes"),
    [
        ((0.25, 3), []),
        ((0.25000001, 3), []),
        ((float("nan"), 3), ["the app returned nan for loss, but the last logged value is 0.25 (trial 17)"]),
        ((0.96, 3), ["the app returned 0.96 for loss, but the last logged value is 0.25 (trial 17)"]),
        ((0.25, 4), ["the app returned 4 for size, but the last logged value is 3 (trial 17)"]),
        ((0.5, 4), ["the app returned 0.5 for loss", "the app returned 4 for size"]),
        (None, []),
    ],
)
@pytest.mark.parametrize("verdict", ["stop", None])
def test_a_logged_value_counts_and_another_one_that_is_returned_is_noted_once_per_study(
    bench: Bench, verdict: str | None, value: Any, notes: list[str]
) -> None:
    bench.trained(9 if verdict else 5, verdict)  # without a verdict: the app's own early stopping
    bench.segment.measured = {"loss": 0.25, "size": 3.0}
    channel = bench.run(TWO, lambda: value)
    assert channel.reports == []
    assert [note.startswith(words) for note, words in zip(channel.notes, notes, strict=True)] == [True] * len(notes)
    assert channel.study_notes == len(notes)
    assert all("The logged value counts" in note for note in channel.notes)


def test_the_best_value_so_far_is_not_compared_with_the_last_one(bench: Bench) -> None:
    bench.trained(9)
    bench.segment.measured = {"loss": 0.25, "size": 3.0}
    notes = bench.run(replace(TWO, best=(Metric("loss", "min", best=True),)), lambda: (0.125, 4)).notes
    assert [note.partition(",")[0] for note in notes] == ["the app returned 4 for size"]


@pytest.mark.parametrize("verdict", ["pause", "stop"])
def test_what_comes_of_a_trial_between_rungs_is_no_measurement(bench: Bench, verdict: str) -> None:
    bench.trained(3, verdict)
    assert bench.run(ONE, lambda: "nonsense").reports == []
    for app, what in [
        (failing, "KeyError: 'test/acc'"),
        (lambda: sys.exit(3), "lightning_hwtune.errors.TrialError: the app called"),
    ]:
        bench.channel.notes.clear()
        bench.segment._noted.clear()
        assert bench.end(ONE, app).outcome == "done"
        [note] = bench.channel.notes
        assert f"after the segment was paused or stopped did not change the result: {what}" in note


@pytest.mark.parametrize("value", [(1.0,), (1.0, 2.0, 3.0), 1.0, "a", {"loss": 1.0}, (1.0, None)])
def test_a_value_of_another_form_is_told(bench: Bench, value: Any) -> None:
    bench.trained(9)
    with pytest.raises(ArgumentError, match="a tuple of 2 numbers: loss, size"):
        bench.run(TWO, lambda: value)


def test_nothing_returned_leaves_what_was_logged(bench: Bench) -> None:
    bench.trained(9)
    assert bench.run(ONE, lambda: None).reports == []


def test_nothing_trained_is_no_measurement(bench: Bench) -> None:
    assert bench.run(ONE, lambda: 0.5).reports == []


def test_an_app_that_only_returns_is_judged_by_that(bench: Bench) -> None:
    [report] = bench.run(BY_VALUE, lambda: 0.5).reports
    assert (report.resource, report.metrics) == (9, {"value": 0.5})


def test_an_app_that_returns_nothing_at_all_cannot_be_judged(bench: Bench) -> None:
    with pytest.raises(ArgumentError, match="raise errors instead of returning nothing"):
        bench.run(BY_VALUE, lambda: None)


def test_an_error_of_the_apps_is_the_trials(bench: Bench) -> None:
    ended = bench.end(ONE, failing)
    assert (ended.outcome, "KeyError: 'test/acc'" in ended.error) == ("error", True)


def test_an_error_after_a_complete_training_is_shown_with_the_trial(bench: Bench) -> None:
    bench.trained(9)
    assert bench.end(ONE, failing).outcome == "done"
    [note] = bench.channel.notes
    assert "after the complete training did not change the result: KeyError: 'test/acc'" in note


def test_a_failure_of_the_fit_that_the_app_swallows_comes_out(bench: Bench) -> None:
    bench.segment.failure = RuntimeError("the loader broke")
    ended = bench.end(ONE, lambda: 0.5)
    assert (ended.outcome, "the loader broke" in ended.error) == ("error", True)
    assert bench.channel.reports == []


def test_memory_that_ran_out_in_a_fit_stays_so_when_the_app_swallows_it(bench: Bench) -> None:
    bench.segment.failure = torch.OutOfMemoryError("CUDA out of memory")
    assert bench.end(ONE, lambda: 0.5).outcome == "out-of-memory"


def test_an_exit_with_an_error_is_one(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match=r"sys\.exit\(3\)"):
        bench.run(ONE, lambda: sys.exit(3))


def test_a_good_exit_is_an_end_of_which_nothing_is_known(bench: Bench) -> None:
    bench.trained(9)
    channel = bench.run(ONE, lambda: sys.exit(0))
    assert channel.reports == []
    assert "sys.exit" in channel.notes[0]


@pytest.mark.parametrize("bench", [replace(ORDER, resource=9, checkpoint="x.ckpt", segment=2)], indirect=True)
def test_a_trial_that_was_lost_after_its_end_keeps_what_it_logged(bench: Bench) -> None:
    bench.trained(9, None)
    assert bench.end(ONE, failing).outcome == "done"
    assert "after the complete training" in bench.channel.notes[0]
    assert bench.run(ONE, lambda: 0.5).reports == []


@pytest.mark.parametrize("bench", [replace(ORDER, probe_batches=2)], indirect=True)
def test_a_check_sees_the_number_of_values(bench: Bench) -> None:
    bench.trained(1, "pause")
    assert bench.run(TWO, lambda: (1.0, 2.0)).reports == []
    assert bench.run(TWO, lambda: None).reports == []
    with pytest.raises(ArgumentError, match="tuple of 2"):
        bench.run(TWO, lambda: (1.0, 2.0, 3.0))


def test_other_ranks_return_nothing() -> None:
    channel = Recorder()
    with segment_context(ORDER, channel, rank=1) as segment:
        bench = Bench(segment, channel)
        bench.trained(9)
        assert bench.run(ONE, lambda: 0.5).reports == []


# ---------------------------------------------------------------------- the command line of a segment


@pytest.mark.parametrize(("mode", "share"), [("global", 32), ("per_device", 64)])
def test_a_loaders_batch_size_is_the_devices_share(mode: str, share: int) -> None:
    """Of the job's own configuration: other keys that follow it follow its share."""
    job = OmegaConf.create({"bs": 64, "data": {"batch_size": "${bs}"}, "steps": "${data.batch_size}"})
    with segment_context(replace(ORDER, num_devices=2, batch=mode), Recorder(), 0) as segment:
        batch = BatchSize.of("data.batch_size", segment)
    if batch is not None:
        batch.divide(job)
    assert (job.data.batch_size, job.steps) == (share, share)


def test_an_app_that_runs_out_of_memory_without_a_batch_size_names_the_key_to_give() -> None:
    with segment_context(ORDER, Recorder(), 0) as segment:
        assert BatchSize.of(None, segment) is None
        assert "hydra.sweeper.hwtune.batch_size_key" in segment.batches.fixed_because


@pytest.mark.parametrize("value", [7, 0, -2, "8", 8.0, True, None])
def test_a_batch_size_that_does_not_divide_is_refused(value: Any) -> None:
    with pytest.raises(ArgumentError, match="multiple of 2"):
        BatchSize("data.batch_size", 2, lambda size: size).divide(OmegaConf.create({"data": {"batch_size": value}}))


def overrides(dirs: JobDirs, order: SegmentOrder, rank: int = 0) -> dict[str, str]:
    with segment_context(order, Recorder(), rank) as segment:
        return dict(text.split("=", 1) for text in dirs.overrides(segment))


def test_a_trial_has_one_directory_and_a_configuration_a_segment(tmp_path: Path) -> None:
    dirs, order = JobDirs("/out", False, ".hydra", "train"), replace(ORDER, trial_dir=str(tmp_path))
    first, second = overrides(dirs, order), overrides(dirs, replace(order, segment=2))
    assert first["hydra.run.dir"] == second["hydra.run.dir"] == "'/out/trial_017'"
    assert (first["hydra.output_subdir"], second["hydra.output_subdir"]) == ("'.hydra'", "'.hydra/segment_02'")
    assert (first["hydra.mode"], first["hydra.job.num"], first["hydra.job.id"]) == ("RUN", "17", "17")
    assert overrides(dirs, order, rank=1)["hydra.output_subdir"] == "null"


def test_a_directory_named_by_the_app_is_kept(tmp_path: Path) -> None:
    dirs, order = JobDirs("/out", True, None, "train"), replace(ORDER, trial_dir=str(tmp_path))
    assert overrides(dirs, order)["hydra.run.dir"] == "'/out/${hydra.sweep.subdir}'"
    dirs.note(order).write_text("lr=0.1")
    assert overrides(dirs, replace(order, segment=2))["hydra.run.dir"] == "'/out/lr=0.1'"
    assert overrides(dirs, order)["hydra.output_subdir"] == "null"


def test_a_check_leaves_no_trace_in_the_sweeps_directory(tmp_path: Path) -> None:
    order = replace(ORDER, trial_dir=str(tmp_path), probe_batches=2)
    assert overrides(JobDirs("/out", False, ".hydra", "train"), order)["hydra.run.dir"] == f"'{tmp_path}/job'"


# ---------------------------------------------------------------------- the check of an app that is judged by its value

CHECK = [replace(ORDER, probe_batches=2, max_resource=1, levels=(1,), metrics=())]


@pytest.mark.parametrize("bench", CHECK, indirect=True)
@pytest.mark.parametrize("value", [0.25, 3, torch.tensor(0.5), np.float32(0.5), (0.5,)])
def test_a_check_takes_what_a_shortened_app_returns(bench: Bench, value: Any) -> None:
    assert bench.end(BY_VALUE, lambda: value).outcome == "done"
    (report,) = bench.channel.reports
    assert report.metrics == {"value": float(value[0] if isinstance(value, tuple) else value)}
    assert report.probe is not None
    assert bench.channel.notes == []


@pytest.mark.parametrize("bench", [*CHECK, ORDER], indirect=True)
@pytest.mark.parametrize("value", [None, "0.25", True, {"value": 0.25}, (1.0, 2.0), (1.0, "x"), [], {"other": 1.0}])
def test_an_app_that_returns_no_number_fails_and_its_check_does(bench: Bench, value: Any) -> None:
    ended = bench.end(BY_VALUE, lambda: value)
    assert ended.outcome == "error"
    assert "`the value that the app returned` is" in ended.error
    assert "allowed: one number, value" in ended.error
    assert bench.channel.reports == []


@pytest.mark.parametrize("bench", CHECK, indirect=True)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_check_notes_a_value_that_is_not_finite(bench: Bench, value: float) -> None:
    assert bench.end(BY_VALUE, lambda: value).outcome == "done"
    (note,) = bench.channel.notes
    assert f"returned {{'value': {value}}}; a trial with such a value ranks last" in note


@pytest.mark.parametrize("bench", CHECK, indirect=True)
@pytest.mark.parametrize("is_shortened", [True, False])
def test_an_error_after_a_shortened_fit_is_noted_and_any_other_one_fails_the_check(
    bench: Bench, is_shortened: bool
) -> None:
    def app() -> float:
        bench.segment.has_shortened = is_shortened
        return failing()

    assert bench.end(BY_VALUE, app).outcome == ("done" if is_shortened else "error")
    assert [("KeyError: 'test/acc'" in note) for note in bench.channel.notes] == [True] * is_shortened
