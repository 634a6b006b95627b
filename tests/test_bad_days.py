"""Studies on bad days: errors, kills, signals, full disks. Real processes, real signals."""

from __future__ import annotations

import io
import os
import pickle
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))
import study_functions as functions
from study_bench import (
    check_gone,
    check_log,
    family,
    n_lines,
    of_kind,
    run,
    run_script,
    signal_to_self,
    small_study,
    start_script,
    states,
    trained,
    until,
)

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.record import FIRST_ERROR, TrialState
from lightning_hwtune.engine.local import LocalExecutor
from lightning_hwtune.errors import StorageError
from lightning_hwtune.views.status import status_entry
from lightning_hwtune.views.terminal import status_table

ON_RANKS = hwt.SearchSpace(x=hwt.Float(0.0, 1.0), devices=hwt.NumDevices(1, 2))

# ---------------------------------------------------------------------- errors of user code


def test_an_error_before_the_first_report_ends_the_study_with_its_traceback(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    with pytest.raises(hwt.TrialError) as caught:
        run(study, functions.broken, max_trials=5)
    assert "ValueError: a bug in the model" in str(caught.value)
    assert "study_functions.py" in str(caught.value), "no traceback"
    state = check_log(study)
    assert state.closed is not None
    assert state.closed.state == "failed"
    assert not any(trial.state is TrialState.FAILED for trial in state.trials)

    (study.dir / "fixed").touch()  # the same folder continues after the fix
    run(study, functions.broken, max_trials=5)
    state = check_log(study)
    assert len(state.trials) == 5
    assert state.n_failed == 0
    assert state.n_full >= 4


def test_an_error_that_does_not_come_back_costs_one_retry_from_the_last_checkpoint(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    study.enqueue({"x": 0.9}, {"x": 0.3})  # trial 1 is the best: it is promoted to epoch 9
    run(study, functions.breaking_once, max_trials=6)
    state = check_log(study)
    trial = state.trials[1]
    assert trial.state is TrialState.COMPLETED
    assert trial.n_retries == 1
    assert state.n_failed == 0
    broken = next(s for s in state.segments if s.outcome == "error")
    again = next(s for s in state.segments if s.trial_id == 1 and s.number == broken.number + 1)
    assert again.resource == max(s.resource for s in state.segments if s.trial_id == 1 and s.number <= broken.number)
    assert "does not come back" in trial.error


def test_an_error_that_comes_back_fails_the_trial_and_the_study_goes_on(tmp_path: Path) -> None:
    study = small_study(tmp_path, max_retries=2, scheduler=hwt.RunToEnd(max_epochs=3))
    run(study, functions.breaking_late, max_trials=5)
    state = check_log(study)
    assert states(study) == {TrialState.COMPLETED: 4, TrialState.FAILED: 1}
    failed = state.trials[1]
    assert [s.outcome for s in state.segments if s.trial_id == 1] == ["error"] * 3
    assert "ValueError: a bug in epoch 2" in failed.error
    assert "Traceback" in failed.error
    assert "a bug in epoch 2" in study.why(1)
    logs = "".join(path.read_text() for path in study.logs(1).iterdir())
    assert "ValueError: a bug in epoch 2" in logs


@pytest.mark.slow
def test_too_many_failures_end_the_study_and_a_higher_limit_goes_on(tmp_path: Path) -> None:
    study = small_study(tmp_path, max_retries=0, max_failures=2)
    study.enqueue({"x": 0.2})
    run(study, functions.plain, max_trials=1)
    with pytest.raises(hwt.StudyFailedError, match=r"`max_failures` is 2; `hwtune logs .*` shows why") as failed_with:
        run(study, functions.breaking_all_but_first, max_trials=20)
    command = shlex.split(str(failed_with.value).split("`")[3])  # from here, in another folder than the default one
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Traceback" in printed.stdout
    state = check_log(study)
    assert state.closed is not None
    assert state.closed.state == "failed"
    assert "max_failures" in state.closed.reason
    assert 2 <= state.n_failed <= 3  # two may run at the same time
    n_trials = len(state.trials)

    with pytest.raises(hwt.StudyFailedError):  # still too many
        run(study, functions.plain, max_trials=n_trials + 3)
    assert len(study.state().trials) == n_trials
    higher = small_study(tmp_path, max_retries=0, max_failures=9)
    run(higher, functions.plain, max_trials=n_trials + 3)
    assert len(check_log(higher).trials) == n_trials + 3

    failed = [trial.config for trial in higher.state().trials if trial.state == "failed"]  # as the guide has it
    higher.enqueue(*failed)
    run(higher, functions.plain, max_trials=n_trials + 3 + len(failed))
    assert [trial.config for trial in check_log(higher).trials[n_trials + 3 :]] == failed


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (ValueError("a bug"), "ValueError: a bug"),
        (KeyError("age"), "KeyError: 'age'"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_a_trial_that_fails_first_is_said_to_fail_and_to_start_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, named: str
) -> None:
    def train(trial: hwt.Trial) -> None:
        raise error

    study = small_study(tmp_path, pool=hwt.Pool("cpu", devices=1))
    with pytest.raises(hwt.TrialError, match=f"trial 0 failed before the study's first report.*{named}"):
        run(study, train, max_trials=2, executor="inline", progress=True)
    what = f"trial 0 failed before the study's first report: {named}; it starts again when the study is run again"
    assert what in (out := capsys.readouterr().out)
    assert "is interrupted" not in out
    entry = status_entry(study.state(), 0.0, 0, is_driven=False)
    assert (entry["failed"], entry["failed_first"]) == (0, [0])
    console = Console(file=io.StringIO(), width=200)
    console.print(status_table(entry))
    assert f"trial 0 {FIRST_ERROR}; it starts again when the study is run again" in console.file.getvalue()  # type: ignore[attr-defined]
    assert named in study.why(0)

    run(study, functions.plain, max_trials=2, executor="inline")
    assert status_entry(study.state(), 0.0, 0)["failed_first"] == []


@pytest.mark.parametrize(
    ("max_failures", "error", "named"),
    [
        (1, ValueError("corrupt record 6001"), "ValueError: corrupt record 6001"),
        (2, KeyError("age"), "KeyError: 'age'"),
        (3, RuntimeError("two lines:\nthe second"), "RuntimeError: two lines: the second"),
        (2, AssertionError(), "AssertionError"),
    ],
)
def test_the_error_of_a_failed_study_names_the_last_error_and_the_setting(
    tmp_path: Path, max_failures: int, error: Exception, named: str
) -> None:
    def train(trial: hwt.Trial) -> None:
        if trial.id > 0:
            raise error
        functions.plain(trial)

    study = small_study(tmp_path, pool=hwt.Pool("cpu", devices=1), max_retries=0, max_failures=max_failures)
    with pytest.raises(hwt.StudyFailedError) as caught:
        run(study, train, max_trials=9, executor="inline")
    place = f"`Study(..., max_failures={2 * max_failures})` continues the study"
    assert str(caught.value).endswith(f"{place}. The last error: {named}")
    assert caught.value.cause == named
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.args, copy.cause) == (caught.value.args, named)
    run(small_study(tmp_path, pool=hwt.Pool("cpu", devices=1), max_retries=0, max_failures=2 * max_failures),
        functions.plain, max_trials=max_failures + 2, executor="inline")  # fmt: skip


def test_metrics_that_are_not_finite_rank_last_and_the_study_goes_on(tmp_path: Path) -> None:
    study = run(small_study(tmp_path), functions.diverging, max_trials=10)
    state = check_log(study)
    bad = [trial for trial in state.trials if not 0.1 <= trial.config["x"] <= 0.5]
    good = [trial for trial in state.trials if trial not in bad]
    assert bad
    assert good
    assert all(trial.resource == 1 for trial in bad if trial.state is not TrialState.COMPLETED)
    assert any(trial.state is TrialState.COMPLETED for trial in good)
    assert study.best.trial_id in {trial.trial_id for trial in good}
    assert set(study.front()["trial"]) <= {trial.trial_id for trial in good}


def test_a_metric_that_never_arrives_is_told_with_those_that_are_logged(tmp_path: Path) -> None:
    study = small_study(tmp_path, objectives=[hwt.Metric("val_error", "min")])
    with pytest.raises(hwt.TrialError) as caught:  # the check finds it
        run(study, functions.misnaming, max_trials=3, check=True)
    for text in ("'val_error' was never logged", "'loss'", "'val_eror'", "did you mean 'val_eror'"):
        assert text in str(caught.value)
    assert not study.state().trials
    with pytest.raises(hwt.TrialError, match="did you mean 'val_eror'"):  # and so does the study
        run(study, functions.misnaming, max_trials=3)


def test_a_function_that_never_reports_is_told_what_to_call(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    with pytest.raises(hwt.MetricError, match=r"trial\.fit"):
        run(study, functions.silent, max_trials=3, check=True)
    with pytest.raises(hwt.TrialError, match="without reporting error"):
        run(study, functions.silent, max_trials=3)


# ---------------------------------------------------------------------- memory and disk


@pytest.mark.slow
def test_out_of_memory_moves_to_more_devices(tmp_path: Path) -> None:
    study = small_study(tmp_path, space=ON_RANKS)
    study.enqueue({"x": 0.3, "devices": 1})
    run(study, functions.out_of_memory_on_one, max_trials=4)
    state = check_log(study)
    assert state.trials[0].state is TrialState.COMPLETED
    first = [s for s in state.segments if s.trial_id == 0]
    assert (first[0].num_devices, first[0].outcome) == (1, "out-of-memory")
    assert {s.num_devices for s in first[1:]} == {2}
    assert set((study.dir / "world_sizes").read_text().split()) == {"2"}
    assert all(trial.n_retries == 0 for trial in state.trials)  # no fault of its code


def test_what_fits_on_no_device_count_is_out_of_memory_and_no_failure(tmp_path: Path) -> None:
    study = small_study(tmp_path, space=ON_RANKS, max_failures=1)
    study.enqueue({"x": 0.3, "devices": 1}, {"x": 0.9, "devices": 1})
    run(study, functions.out_of_memory_from, max_trials=3)
    state = check_log(study)
    assert state.trials[1].state is TrialState.OUT_OF_MEMORY
    assert [s.num_devices for s in state.segments if s.trial_id == 1] == [1, 2]
    assert "1.00 TiB" in state.trials[1].error
    assert state.n_failed == 0
    assert state.trials[0].state is TrialState.COMPLETED


def test_a_full_disk_while_saving_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    study.enqueue({"x": 0.3})
    run(study, functions.filling_the_disk, max_trials=5)
    state = check_log(study)
    full = [s for s in state.segments if s.trial_id == 0 and s.outcome == "error"]
    assert len(full) == 1, "the disk was never full"
    ended = next(e for e in of_kind(study, ev.SegmentEnded) if e.trial_id == 0 and e.outcome == "error")
    assert "could not be written" in ended.error
    assert ended.state in ("paused", "waiting")
    later = [s for s in state.segments if s.trial_id == 0 and s.number > full[0].number]
    assert later
    assert later[0].resource == full[0].resource  # continues from the checkpoint before
    assert state.trials[0].state is TrialState.COMPLETED
    assert len(state.trials) == 5


@pytest.mark.slow
def test_a_disk_that_is_really_full_fails_trials_and_not_the_study(small_disk: Path) -> None:
    study = small_study(small_disk, max_failures=3)
    with pytest.raises(hwt.StudyFailedError):
        run(study, functions.bulky, max_trials=12, finishers=4)
    state = check_log(study)
    assert state.closed is not None
    assert "max_failures" in state.closed.reason
    errors = {trial.error.strip().splitlines()[-1] for trial in state.trials if trial.state is TrialState.FAILED}
    assert all("is the disk full?" in error for error in errors), errors
    subprocess.run(["mount", "-o", "remount,size=99m", small_disk], check=True)  # the user makes room
    study = small_study(small_disk, max_failures=99)
    run(study, functions.bulky, max_trials=12, finishers=4)
    state = check_log(study)
    assert state.n_failed <= 4  # two may run at the same time; none fails after there was room
    assert len(state.trials) == 12
    assert state.n_full >= 4


@pytest.mark.slow
def test_a_log_that_cannot_be_written_ends_the_study_and_costs_no_trial_anything(small_disk: Path) -> None:
    study = small_study(small_disk, scheduler=hwt.RunToEnd(max_epochs=2000))
    with pytest.raises(StorageError):
        run(study, functions.filling_the_logs_disk, max_trials=1)
    n_reports = len(of_kind(study, ev.Reported))
    (study.dir / "filler").write_bytes(b"")  # the user makes room
    run(study, functions.filling_the_logs_disk, max_trials=1)
    state = check_log(study)
    assert [segment.outcome for segment in state.segments] == ["interrupted", "done"]
    assert state.trials[0].state is TrialState.COMPLETED
    assert state.trials[0].n_retries == 0
    assert 0 < n_reports < 2000


def test_a_damaged_checkpoint_is_not_trusted(tmp_path: Path) -> None:
    study = run(small_study(tmp_path), functions.plain, max_trials=4, finishers=0)
    paused = [trial for trial in study.state().trials if trial.state is TrialState.PAUSED]
    assert paused
    for trial in paused:
        assert trial.checkpoint is not None
        path = study.dir / trial.checkpoint.path
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    run(study, functions.plain, max_trials=4, finishers=4)
    state = check_log(study)
    assert state.n_full == 4
    again = [s for s in state.segments if s.trial_id == paused[0].trial_id and s.number > 1]
    assert again[0].resource == 0
    assert any("from scratch" in note.text for note in state.notes)


# ---------------------------------------------------------------------- killed and frozen ranks


def test_a_rank_killed_from_outside_is_retried_from_its_checkpoint(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    held = study.dir / "held"
    with _once(held, lambda: os.kill(int(held.read_text().split()[0]), signal.SIGKILL), study.dir / "release"):
        run(study, functions.held, max_trials=4)
    state = check_log(study)
    lost = [s for s in state.segments if s.outcome == "lost"]
    assert len(lost) == 1
    trial = state.trials[lost[0].trial_id]
    assert trial.error == "rank 0 was killed by SIGKILL"
    assert trial.n_retries == 1
    again = next(s for s in state.segments if s.trial_id == trial.trial_id and s.number == lost[0].number + 1)
    assert again.outcome == "done"
    assert state.n_failed == 0
    assert state.n_full >= 4


class _once:
    """Acts once a file is there, from another thread, and then makes a second file."""

    def __init__(self, path: Path, act: Any, then: Path) -> None:
        self._path, self._act, self._then = path, act, then

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        until(lambda: n_lines(self._path) > 0)
        self._act()
        self._then.touch()

    def __exit__(self, *_: object) -> None:
        self._thread.join()


@pytest.mark.slow
def test_a_frozen_rank_is_ended_and_its_trial_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = LocalExecutor.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "heartbeat_s", 3.0)  # of the real executor, so that the test does not wait for 15 s
    study = run(small_study(tmp_path), functions.frozen_once, max_trials=3, max_parallel=1)
    state = check_log(study)
    assert [s.trial_id for s in state.segments if s.outcome == "lost"] == [0]
    assert "no heartbeat" in state.trials[0].error
    reported = next(e.at for e in of_kind(study, ev.Reported) if e.trial_id == 0)
    ended = next(e.at for e in of_kind(study, ev.SegmentEnded) if e.outcome == "lost")
    assert ended - reported < 3.0 + 10.0  # the promise: within ten seconds of the heartbeat limit
    assert state.trials[0].n_retries == 1
    assert state.n_full >= 3


# ---------------------------------------------------------------------- signals to the study


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["INT", "TERM"]
)
def test_a_signal_ends_the_session_in_order(tmp_path: Path, number: signal.Signals, expected: Any) -> None:
    study = small_study(tmp_path)
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    held = study.dir / "held"
    with pytest.raises(expected) as caught, signal_to_self(number, lambda: n_lines(held) > 0):
        run(study, functions.held, max_trials=5)
    if expected is SystemExit:
        assert caught.value.code == 143
    pids = [psutil.Process(int(pid)) for pid in held.read_text().split() if psutil.pid_exists(int(pid))]
    check_gone(pids)
    assert {n: signal.getsignal(n) for n in handlers} == handlers
    state = check_log(study)
    assert state.closed is not None
    assert state.closed.state == "interrupted"
    interrupted = {s.trial_id for s in state.segments if s.outcome == "interrupted"}
    assert interrupted
    assert all(trial.n_retries == 0 for trial in state.trials)
    # a trial that got the verdict to pause just before the signal waits for its promotion, the others for a free device
    unfinished = {i for i in interrupted if state.trials[i].target > state.trials[i].resource}
    assert unfinished
    assert unfinished <= state.waiting

    (study.dir / "release").touch()
    run(study, functions.held, max_trials=5)
    state = check_log(study)
    assert len(state.trials) == 5
    assert state.n_full >= 4
    assert state.n_failed == 0


@pytest.mark.parametrize(
    ("number", "expected", "cause"),
    [(signal.SIGINT, KeyboardInterrupt, "Ctrl-C"), (signal.SIGTERM, SystemExit, "SIGTERM")],
    ids=["INT", "TERM"],
)
def test_a_signal_costs_no_epoch_of_a_trial_that_reports_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, expected: Any, cause: str
) -> None:
    monkeypatch.setenv("STUDY_PID", str(os.getpid()))
    monkeypatch.setenv("STUDY_SIGNAL", str(int(number)))
    monkeypatch.setenv("HWTUNE_PAUSE_WITHIN", "60")  # on a busy machine, too
    study = small_study(tmp_path, scheduler=hwt.RunToEnd(max_epochs=200))
    with pytest.raises(expected):
        run(study, functions.interrupting, max_trials=1)
    state = check_log(study)
    assert state.closed is not None
    assert (state.closed.state, state.closed.reason) == ("interrupted", f"ended by {cause}")
    [trial] = state.trials
    assert trial.checkpoint is not None
    assert trial.checkpoint.resource == trial.resource >= 3
    assert state.waiting == {0}
    assert f"ended by {cause}; the trial continues from here [interrupted]" in study.why(0)

    (study.dir / "release").touch()
    run(study, functions.interrupting, max_trials=1)
    assert check_log(study).n_full == 1
    assert max(Counter(trained(study)).values()) == 1  # no epoch was trained twice


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "inline"])
def test_a_signal_after_the_complete_training_leaves_the_trial_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.setenv("STUDY_PID", str(os.getpid()))
    monkeypatch.setenv("STUDY_SIGNAL", str(int(signal.SIGINT)))
    study = small_study(tmp_path, scheduler=hwt.RunToEnd(max_epochs=3))
    with pytest.raises(KeyboardInterrupt):
        run(study, functions.interrupting_after_the_end, max_trials=1, executor=executor)
    state = check_log(study)
    assert state.closed is not None
    assert (state.closed.state, state.closed.reason) == ("interrupted", "ended by Ctrl-C")
    assert [trial.state for trial in state.trials] == [TrialState.COMPLETED]
    assert list(study.front()["trial"]) == [0]
    assert not state.waiting  # nothing is left to train


@pytest.mark.slow
def test_a_script_that_ctrl_c_ends_says_how_to_go_on(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "starts on" in line:
                process.send_signal(signal.SIGINT)
                break
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT  # 130 in a shell
    assert errors.endswith("hwtune/held. To continue, run the study again.\n")
    assert "Traceback" not in errors
    assert "never printed" not in errors
    closed = hwt.Study.load("held", tmp_path / "hwtune").state().closed
    assert closed is not None
    assert closed.state == "interrupted"


@pytest.mark.parametrize(
    ("number", "delay_s", "status"),
    [(signal.SIGINT, 0.0, -2), (signal.SIGINT, 1.0, -2), (signal.SIGTERM, 0.5, 143), (signal.SIGHUP, 0.5, 129)],
    ids=["INT at once", "INT", "TERM", "HUP"],
)
@pytest.mark.slow
def test_a_signal_acts_while_the_fork_server_imports(
    tmp_path: Path, number: signal.Signals, delay_s: float, status: int
) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(600)\n", encoding="utf-8")
    script = tmp_path / "script.py"
    script.write_text(_IMPORTING, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if "checking" in line:
                break
        time.sleep(delay_s)
        children = family(process.pid)
        os.killpg(process.pid, number)  # as a terminal does
        output, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in output
    assert ("To continue, run the study again" in output) == (number is signal.SIGINT)
    check_gone(children)
    closed = hwt.Study.load("held", tmp_path / "hwtune").state().closed
    assert closed is not None
    assert closed.state == "interrupted"


_IMPORTING = """
import lightning_hwtune as hwt

def train(trial):
    trial.report(1, loss=1.0)

space = hwt.SearchSpace(x=hwt.Float(0.0, 1.0))
study = hwt.Study("held", space, [hwt.Metric("loss", "min")], scheduler=hwt.ASHA(3, first_rung=1),
    pool=hwt.Pool("cpu", 1))
study.run(train, max_trials=3, preload=["slow_to_import"])
"""


_SCRIPT = """
import sys, time
import lightning_hwtune as hwt

def train(trial):
    time.sleep(60)

space = hwt.SearchSpace(x=hwt.Float(0.0, 1.0))
study = hwt.Study("held", space, [hwt.Metric("loss", "min")], scheduler=hwt.ASHA(3, first_rung=1),
    pool=hwt.Pool("cpu", 1))
study.run(train, max_trials=3, check=False)
print("never printed", file=sys.stderr)
"""


@pytest.mark.slow
def test_signals_at_any_moment_leave_the_study_whole(tmp_path: Path) -> None:
    study = run(small_study(tmp_path, space=ON_RANKS), functions.plain_on_ranks, max_trials=1)
    moments, children = random.Random(0), set(family(os.getpid()))
    for n in range(12):
        timer = threading.Timer(moments.uniform(0.0, 0.3), os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - in the study, before it or behind it
            timer.start()
            run(study, functions.plain_on_ranks, max_trials=1 + 4 * n)
            timer.join()
            time.sleep(1)
        timer.join()
        assert not study.state().running
        check_gone([process for process in family(os.getpid()) if process not in children])
    sessions = of_kind(study, ev.SessionClosed)
    assert any(event.state == "interrupted" for event in sessions)
    assert len(sessions) == len(of_kind(study, ev.SessionOpened))
    run(study, functions.plain_on_ranks, max_trials=50)  # no lease is left behind
    state = check_log(study)
    assert len(state.trials) == 50
    assert all(trial.n_retries == 0 for trial in state.trials)


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["INT", "TERM"]
)
def test_an_interrupted_inline_study_leaves_the_signal_as_it_was(
    tmp_path: Path, number: signal.Signals, expected: Any
) -> None:
    def train(trial: hwt.Trial) -> None:
        for epoch in functions.epochs(trial):
            if epoch == 2 and not (study.dir / "release").exists():
                os.kill(os.getpid(), number)
            if not functions.report(trial, epoch):
                return

    before = signal.getsignal(number)
    study = small_study(tmp_path)
    with pytest.raises(expected):
        run(study, train, max_trials=4, executor="inline")
    assert signal.getsignal(number) is before
    state = check_log(study)
    assert state.closed is not None
    assert state.closed.state == "interrupted"
    (study.dir / "release").touch()
    run(study, train, max_trials=4, executor="inline")
    assert check_log(study).n_full >= 4


# ---------------------------------------------------------------------- scripts and kills

SCRIPT = """
    import lightning_hwtune as hwt
    import study_functions as functions
    from pathlib import Path
    from study_bench import run, small_study

    study = small_study(Path("studies"))
    run(study, functions.{function}, max_trials={max_trials})
    print("trials", len(study.state().trials), flush=True)
"""

UNGUARDED = """
    import lightning_hwtune as hwt

    with open("ran", "a") as file:
        print("once", file=file)

    class Curve:
        floor = 0.25

        def at(self, x, epoch):
            return abs(x - self.floor) + 1 / epoch

    def train(trial):
        curve = Curve()
        for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
            if trial.report(epoch, error=curve.at(trial["x"], epoch)).kind != "continue":
                trial.save(epoch)
                return

    space = hwt.SearchSpace(x=hwt.Float(0, 1), devices=hwt.NumDevices(1))
    study = hwt.Study("study", space, [hwt.Metric("error", "min")], scheduler=hwt.ASHA(3, first_rung=1),
                      pool=hwt.Pool("cpu", devices=2), dir="studies")
    study.run(train, max_trials=5)
    print("front", len(study.front()), flush=True)
"""


def _until_lines(path: Path, n: int, process: subprocess.Popen[str]) -> None:
    """Waits until a file has so many lines, or its writer's process has ended."""
    until(lambda: n_lines(path) >= n or process.poll() is not None, f"{n} lines in {path.name}")


@pytest.mark.slow
def test_an_unguarded_script_runs_once(tmp_path: Path) -> None:
    result = run_script(tmp_path, UNGUARDED)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "ran").read_text() == "once\n"
    assert "front 1" in result.stdout
    again = run_script(tmp_path, UNGUARDED)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "ran").read_text() == "once\nonce\n"
    state = check_log(hwt.Study.load("study", dir=tmp_path / "studies"))
    assert len(state.trials) == 5
    assert len(state.segments) == len({(s.trial_id, s.number) for s in state.segments})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_a_script_that_is_told_to_end_leaves_no_orphans_and_goes_on(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    script = SCRIPT.format(function="held", max_trials=5)
    process = start_script(tmp_path, script)
    try:
        root = tmp_path / "studies" / "study"
        _until_lines(root / "held", 1, process)
        members = family(process.pid)
        assert members
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode == status, err
        check_gone(members)
    finally:
        process.kill()
    study = hwt.Study.load("study", dir=tmp_path / "studies")
    state = check_log(study)
    assert state.closed is not None
    assert state.closed.state == "interrupted"
    (root / "release").touch()
    result = run_script(tmp_path, script)
    assert result.returncode == 0, result.stderr
    assert "trials 5" in result.stdout
    assert check_log(study).n_full >= 4


@pytest.mark.slow
def test_a_killed_controller_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    script = SCRIPT.format(function="witnessing", max_trials=12)
    root = tmp_path / "studies" / "study"
    for n_reports in (1, 6, 14):  # three kills, each as soon as so many reports are acknowledged
        process = start_script(tmp_path, script)
        try:
            _until_lines(root / "witness", n_reports, process)
            members = family(process.pid)
            process.kill()
            process.communicate(timeout=30)
            check_gone(members)
        finally:
            process.kill()
    result = run_script(tmp_path, script)
    assert result.returncode == 0, result.stderr
    study = hwt.Study.load("study", dir=tmp_path / "studies")
    state = check_log(study)
    assert len(state.trials) == 12
    assert state.n_full >= 4
    assert state.n_failed == 0
    assert all(trial.n_retries == 0 for trial in state.trials)
    logged = Counter(f"{e.trial_id} {e.resource} {e.verdict}" for e in of_kind(study, ev.Reported))
    acknowledged = Counter((root / "witness").read_text().splitlines())
    assert not acknowledged - logged, "a report that was acknowledged is not in the log"
    sessions = len(of_kind(study, ev.SessionOpened))
    assert sessions == 4
    assert trained(study)
