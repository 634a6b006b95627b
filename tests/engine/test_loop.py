"""The loop between controller and executor: its bookkeeping, with an executor whose news the test writes."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from study_driver import spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Resume, Start, Wait
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.schedulers import ASHA, RunToEnd, Scheduler
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.executor import Abilities, Sink
from lightning_hwtune.engine.loop import Loop
from lightning_hwtune.errors import TrialError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.training.channel import Ended, Report, Saved, SegmentOrder

DONE = Ended(0, "done", "", 0, reached_end=False)


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        self.time += 0.001
        return self.time


class Scripted:
    """Keeps the orders; `wait` plays the next line of a script."""

    abilities = Abilities(trains_here=False)

    def __init__(self) -> None:
        self.orders: list[SegmentOrder] = []
        self.script: list[Any] = []
        self.ends: list[tuple[int, str, str]] = []
        self.is_closed = False

    def start(self, order: SegmentOrder) -> None:
        self.orders.append(order)

    def wait(self, sink: Sink, timeout_s: float) -> None:
        self.script.pop(0)(sink)

    def end(self, trial_id: int, outcome: str, why: str) -> None:
        self.ends.append((trial_id, outcome, why))

    def close(self) -> None:
        self.is_closed = True


class Bench:
    """A loop on a folder, with a study of two devices."""

    def __init__(
        self, folder: Path, *, budget_bytes: int | None = None, scheduler: Scheduler | None = None, **limits: Any
    ) -> None:
        self.log: list[ev.Event] = []
        self.files = StudyFiles(folder, "study", budget_bytes=budget_bytes)
        self.files.create()
        scheduler = scheduler or ASHA(max_epochs=9, first_rung=1)
        self.controller = Controller(StudyState(spec(scheduler=scheduler)), self.log.extend)
        self.controller.create(0.0)
        self.controller.open(Limits(**{"max_trials": 6, **limits}), 0.0, "host", 1, "0")
        for x in (1, 2, 3):
            self.controller.enqueue({"lr": 0.01 / x, "batch_size": 64, "devices": 1}, 0.0)
        self.executor, self.ticks = Scripted(), 0
        self.clock = Clock()
        self.loop = Loop(self.controller, self.executor, self.clock, self.files, tick=self.tick)

    def tick(self) -> None:
        self.ticks += 1

    @property
    def state(self) -> StudyState:
        return self.controller.state

    def begin(self, n: int = 1) -> None:
        for _ in range(n):
            assert isinstance(self.loop.step(), Start)

    def report(self, trial_id: int, epoch: int, error: float, segment: int = 1) -> str:
        return self.loop.reported(trial_id, segment, Report(epoch, {"error": error}, float(epoch))).kind

    def save(self, trial_id: int, epoch: int, segment: int = 1, size: int = 100) -> Path:
        folder = self.files.trial_dir(trial_id) / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"segment_{segment:02d}_epochs_{epoch}.ckpt"
        path.write_bytes(bytes(size))
        digest = hashlib.blake2b(bytes(size), digest_size=32).hexdigest()
        self.loop.saved(trial_id, segment, Saved(str(path), digest, size, epoch, float(epoch)))
        return path

    def pause(self, trial_id: int, segment: int = 1, size: int = 100) -> Path:
        """Trains a trial to its first rung, where it pauses."""
        assert self.report(trial_id, 1, 1.0 + trial_id, segment) == "pause"
        path = self.save(trial_id, 1, segment, size)
        self.loop.ended(trial_id, segment, DONE, 1)
        return path

    def of_kind(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.log if isinstance(event, kind)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_order_holds_what_a_rank_needs(bench: Bench) -> None:
    bench.begin()
    [order] = bench.executor.orders
    assert (order.study, order.trial_id, order.segment, order.num_devices, order.slots) == ("test", 0, 1, 1, (0,))
    assert order.config == {"lr": 0.01, "batch_size": 64, "devices": 1}
    assert (order.resource, order.checkpoint, order.unit, order.max_resource) == (0, None, "epochs", 9)
    assert order.levels == (1, 3, 9)
    assert order.metrics == ("error",)
    assert Path(order.trial_dir).is_dir()
    assert order.seed == bench.state.trials[0].seed


def test_slots_are_given_back_when_a_segment_ends_and_only_once(bench: Bench) -> None:
    bench.begin(2)
    assert [order.slots for order in bench.executor.orders] == [(0,), (1,)]
    assert isinstance(bench.loop.step(), Wait)
    bench.pause(0)
    bench.loop.ended(0, 1, DONE, 1)  # said twice
    bench.begin()
    assert bench.executor.orders[-1].slots == (0,)
    assert isinstance(bench.loop.step(), Wait)


def test_news_of_a_segment_that_is_over_changes_nothing(bench: Bench) -> None:
    bench.begin()
    bench.pause(0)
    n_events = len(bench.log)
    assert bench.report(0, 2, 0.1) == "stop"
    late = bench.save(0, 2)
    bench.loop.ended(0, 1, Ended(0, "error", "late", 0, False), 1)
    assert len(bench.log) == n_events
    assert bench.state.trials[0].state is TrialState.PAUSED
    assert bench.files.sweep(bench.state) == [bench.files.relative(late)]


def test_news_of_an_older_segment_changes_nothing(bench: Bench) -> None:
    bench.begin()
    bench.loop.ended(0, 1, Ended(0, "lost", "killed", 0, False), 1)
    assert isinstance(bench.loop.step(), Resume)
    assert bench.state.running[0].number == 2
    n_events = len(bench.log)
    assert bench.report(0, 2, 0.1, segment=1) == "stop"
    bench.loop.ended(0, 1, DONE, 1)
    assert len(bench.log) == n_events
    assert bench.state.running[0].number == 2


def test_a_newer_checkpoint_replaces_the_older(bench: Bench) -> None:
    bench.begin()
    first = bench.save(0, 1)
    second = bench.save(0, 2)
    assert not first.exists()
    assert second.exists()
    assert [event.reason for event in bench.of_kind(ev.CheckpointRemoved)] == ["superseded"]
    assert bench.state.known_checkpoints() == {bench.files.relative(second)}


def test_the_budget_takes_the_checkpoint_of_the_worst_paused_trial(tmp_path: Path) -> None:
    bench = Bench(tmp_path, budget_bytes=250)
    bench.begin(2)
    paths = [bench.pause(0), bench.pause(1)]
    bench.begin()
    paths.append(bench.pause(2))
    assert [path.exists() for path in paths] == [True, False, True]  # 2 was being saved: a running trial's stays
    [removed] = bench.of_kind(ev.CheckpointRemoved)
    assert removed.trial_id == 1
    assert "disk budget" in removed.reason
    assert bench.state.trials[1].state is TrialState.WAITING


def test_a_checkpoint_that_is_not_what_the_log_says_is_dropped_before_it_is_used(bench: Bench) -> None:
    bench.begin(2)
    path = bench.pause(0)
    bench.pause(1)
    path.write_bytes(b"something else")
    bench.begin()
    bench.pause(2)  # now one of three continues: the best of them, trial 0
    assert isinstance(bench.loop.step(), Resume)
    order = bench.executor.orders[-1]
    assert (order.trial_id, order.segment, order.checkpoint, order.resource) == (0, 2, None, 0)
    assert not path.exists()
    assert any("according to the log" in event.reason for event in bench.of_kind(ev.CheckpointRemoved))
    assert any("from scratch" in event.text for event in bench.of_kind(ev.Noted))


def test_after_running_out_of_memory_the_configuration_names_the_devices_it_really_gets(bench: Bench) -> None:
    bench.begin()
    bench.loop.ended(0, 1, Ended(0, "out-of-memory", "CUDA out of memory", 0, False), 1)
    assert isinstance(bench.loop.step(), Resume)
    order = bench.executor.orders[-1]
    assert (order.trial_id, order.num_devices, order.slots) == (0, 2, (0, 1))
    assert order.config["devices"] == 2
    assert bench.state.trials[0].config["devices"] == 1  # what was asked for stays on record


def test_an_error_before_the_first_report_ends_the_run(bench: Bench) -> None:
    bench.executor.script = [lambda sink: sink.ended(0, 1, Ended(0, "error", "Traceback: boom\n", 0, False), 0)]
    with pytest.raises(TrialError, match="Traceback: boom"):
        bench.loop.run()
    assert bench.state.trials[0].state is TrialState.WAITING  # no fault of its configuration
    bench.loop.interrupt("over")
    assert bench.executor.is_closed
    assert not bench.state.running


def test_a_rank_that_is_lost_before_the_first_report_is_tried_again_and_then_ends_the_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_trials=1, finishers=0)
    lost = Ended(0, "lost", "rank 0 was killed by SIGKILL", 0, False)
    bench.executor.script = [lambda sink: sink.ended(0, 1, lost, 0), lambda sink: sink.ended(0, 2, lost, 0)]
    with pytest.raises(TrialError, match="SIGKILL"):
        bench.loop.run()
    assert bench.state.trials[0].state is TrialState.FAILED
    assert [order.segment for order in bench.executor.orders] == [1, 2]


def test_run_ticks_at_waits_and_reports_and_ends_with_the_controllers_last_word(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_trials=2, finishers=0)

    def trains_both(sink: Sink) -> None:
        bench.pause(0)
        bench.pause(1)

    bench.executor.script = [lambda sink: None, trains_both]
    done = bench.loop.run()
    assert done.reason.rule == "limit:max_trials"
    assert bench.ticks == 10  # two waits; for each trial its beginning, report, checkpoint and end


def test_an_interruption_is_nobodys_fault(bench: Bench) -> None:
    bench.begin(2)
    bench.report(0, 1, 0.5)
    bench.loop.interrupt("by the user")
    ended = bench.of_kind(ev.SegmentEnded)
    assert [(event.outcome, event.error) for event in ended] == [("interrupted", "by the user")] * 2
    assert all(trial.n_retries == 0 for trial in bench.state.trials)
    assert not bench.state.running


# ---------------------------------------------------------------------- an interrupted study


def began_long_trainings(folder: Path, *epoch_s: float) -> Bench:
    """Returns a bench with a trial per argument, which has reported four epochs of so many seconds."""
    bench = Bench(folder, scheduler=RunToEnd(9))
    bench.begin(len(epoch_s))
    for trial_id, seconds in enumerate(epoch_s):
        for epoch in range(1, 5):
            report = Report(epoch, {"error": 0.5}, epoch * seconds)
            assert bench.loop.reported(trial_id, 1, report).kind == "continue"
    return bench


def test_an_interrupted_trial_pauses_at_its_next_report_and_loses_nothing(tmp_path: Path) -> None:
    bench = began_long_trainings(tmp_path, 1.0)
    answers: list[Any] = []
    bench.executor.script = [
        lambda sink: answers.append(sink.reported(0, 1, Report(5, {"error": 0.4}, 5.0))),
        lambda sink: bench.save(0, 5),
        lambda sink: sink.ended(0, 1, DONE, 1),
    ]
    bench.loop.pause_soon("ended by Ctrl-C")
    assert not bench.executor.script
    [answer], trial = answers, bench.state.trials[0]
    assert (answer.kind, answer.reason) == ("pause", "ended by Ctrl-C; the trial continues from here")
    assert (trial.state, trial.resource, trial.n_retries) == (TrialState.PAUSED, 5, 0)
    assert trial.checkpoint is not None
    assert trial.checkpoint.resource == 5
    bench.loop.interrupt("ended by Ctrl-C")
    assert bench.state.waiting == {0}  # it is unfinished work: the first that the next session resumes


@pytest.mark.parametrize("saves", [True, False])
def test_a_segment_that_is_ended_while_it_pauses_keeps_what_it_has_saved(tmp_path: Path, saves: bool) -> None:
    bench = began_long_trainings(tmp_path, 1.0)

    def pause(sink: Sink) -> None:
        sink.reported(0, 1, Report(5, {"error": 0.4}, 5.0))
        if saves:
            bench.save(0, 5)
        bench.clock.time += 5.0  # longer than an interrupt may take

    bench.executor.script = [pause]
    bench.loop.pause_soon("ended by Ctrl-C")
    bench.loop.interrupt("ended by Ctrl-C")
    trial = bench.state.trials[0]
    assert (trial.state, trial.n_retries) == (TrialState.PAUSED if saves else TrialState.WAITING, 0)
    assert bench.state.waiting == {0}


@pytest.mark.parametrize("case", ["a long epoch", "nothing reported", "everything saved"])
def test_an_interrupt_waits_for_no_trial_that_has_nothing_to_save_soon(tmp_path: Path, case: str) -> None:
    bench = began_long_trainings(tmp_path, *([] if case == "nothing reported" else [30.0]))
    if case == "nothing reported":
        bench.begin()
    if case == "everything saved":
        bench = began_long_trainings(tmp_path / "other", 1.0)
        bench.save(0, 4)
    bench.loop.pause_soon("ended by Ctrl-C")  # the script of the executor is empty: a wait would fail
    bench.loop.interrupt("ended by Ctrl-C")
    assert [event.outcome for event in bench.of_kind(ev.SegmentEnded)] == ["interrupted"]
    assert bench.state.waiting == {0}


def test_an_interrupt_waits_a_limited_time(tmp_path: Path) -> None:
    bench, n_waits = began_long_trainings(tmp_path, 1.0, 30.0), 0

    def wait(sink: Sink) -> None:
        nonlocal n_waits
        n_waits += 1
        bench.clock.time += 0.5

    bench.executor.script = [wait] * 99
    bench.loop.pause_soon("ended by Ctrl-C")
    assert n_waits == 2  # one second


def test_a_limit_ends_segments_that_have_not_reported_once_each_and_their_trials_can_continue(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_time_s=0.5)
    bench.begin(2)

    def nothing(sink: Sink) -> None:
        bench.clock.time += 0.2

    def ended(sink: Sink) -> None:
        for trial_id, outcome, why in bench.executor.ends:
            sink.ended(trial_id, 1, Ended(0, outcome, why, 0, reached_end=False), 1)

    bench.executor.script = [nothing] * 5 + [ended]  # this executor needs some time to end them
    done = bench.loop.run()
    assert done.reason.rule == "limit:max_time"
    assert [end[:2] for end in bench.executor.ends] == [(0, "interrupted"), (1, "interrupted")]
    assert all("has not reported since it began" in why for _, _, why in bench.executor.ends)
    assert [trial.state for trial in bench.state.trials] == [TrialState.WAITING] * 2
