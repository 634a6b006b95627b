"""Ask and tell: what is printed, how it survives a slip in a notebook cell, and how a told segment ends."""

from __future__ import annotations

import gc
import inspect
import os
import pickle
import re
import signal as signals
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "training"))
import study_functions as functions
from broken_training import QUIET, Breaks, TinyNet, loader
from study_bench import check_log, of_kind, small_study, states

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.engine import open_sessions
from lightning_hwtune.forms.run_options import ASK_OPTIONS


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    open_sessions._close_all()


def ask(study: hwt.Study, **kwargs: Any) -> hwt.Trial:
    trial = study.ask(**{"max_trials": 3, "progress": False, **kwargs})
    assert trial is not None
    return trial


def asked_to_the_end(study: hwt.Study, **kwargs: Any) -> hwt.Study:
    while (trial := study.ask(**{"max_trials": 4, "progress": False, **kwargs})) is not None:
        functions.plain(trial)
        study.tell(trial)
    return study


# ---------------------------------------------------------------------- what is printed


def test_the_lines_are_those_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked_to_the_end(small_study(tmp_path, "asked", pool=hwt.Pool("cpu", devices=1)), progress=True)
    lines = capsys.readouterr().out.splitlines()
    run = small_study(tmp_path, "run", pool=hwt.Pool("cpu", devices=1))
    run.run(functions.plain, max_trials=4, executor="inline")
    others = capsys.readouterr().out.splitlines()

    def words(lines: list[str], name: str) -> list[str]:
        told = [line.partition(" s  ")[2] for line in lines if " s  " in line]
        events = [
            text for text in told if not re.match(r"\d+ of 4 trials · ", text)
        ]  # how far it is comes by the clock
        return [
            re.sub(r" · [\d.]+ s · ", " · TIME · ", text.replace(f"study {name} ", "study NAME ")) for text in events
        ]

    assert words(lines, "asked") == words(others, "run")
    assert any("trial 0 pauses at epoch 1: error " in line for line in lines)
    assert lines[0] == f"study asked in {tmp_path / 'asked'}"
    end = next(number for number, line in enumerate(lines) if "study asked is finished" in line)
    assert lines[end + 1].rstrip() == "front of asked, fully trained trials"
    assert lines[-2].startswith("next: hwtune front --study asked --dir ")
    assert others[-2] == lines[-2].replace("--study asked", "--study run")
    assert lines[-1] == others[-1] == "To continue, run the study again with a higher `max_trials`"


def test_what_is_left_is_printed_after_the_first_trial_and_when_a_study_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = small_study(tmp_path, pool=hwt.Pool("cpu", devices=1))
    functions.plain(first := ask(study, max_trials=4, progress=True))
    study.tell(first)
    told = capsys.readouterr().out
    study.close()
    assert re.search(r"1 of 4 trials · .* so far, (about .* left|almost done) · ", told, re.MULTILINE)
    assert "forecast:" not in told
    asked_to_the_end(small_study(tmp_path, pool=hwt.Pool("cpu", devices=1)), progress=True)
    assert re.search(
        r"^forecast: about .* start-ups of segments included; .* in all$", capsys.readouterr().out, re.MULTILINE
    )


@pytest.mark.parametrize("n_reruns", [1, 3])
def test_reruns_of_a_finished_script_add_no_time_and_show_no_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], n_reruns: int
) -> None:
    study = asked_to_the_end(small_study(tmp_path))
    wall_s = study.state().wall_s(study.state().last_at)
    assert wall_s > 0
    for _ in range(n_reruns):
        study = asked_to_the_end(small_study(tmp_path), progress=True)
        study.run(functions.plain, max_trials=4, executor="inline")
    assert study.state().wall_s(study.state().last_at) == wall_s
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("study ")] == [f"study study in {study.dir}"] * 2 * n_reruns
    for start in ("To continue, ", "front of study, "):
        assert sum(line.startswith(start) for line in lines) == 2 * n_reruns
    plan = ("objectives:", "limits:", "rungs of", "ladder:", "finishers:", "forecast:", "no check", "at least", "note:")
    assert not [line for line in lines if line.startswith(plan) or "about" in line]


def test_without_progress_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked_to_the_end(small_study(tmp_path))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("finishers", [0, 1, 3])
def test_ask_takes_finishers(tmp_path: Path, finishers: int) -> None:
    study = asked_to_the_end(small_study(tmp_path), max_trials=5, finishers=finishers)
    assert study.state().limits.finishers == finishers
    assert study.state().n_full == max(finishers, 1 if finishers else 0)


@pytest.mark.parametrize(("save_every", "saved"), [(None, 0), (1, 2), (2, 2), (3, 0)])
def test_ask_takes_save_every_as_the_message_about_an_interruption_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], save_every: int | None, saved: int
) -> None:
    study = tiny_study(tmp_path, scheduler=hwt.RunToEnd(4))
    trial = ask(study, save_every=save_every, progress=True)
    with pytest.raises(SystemExit) as ended:
        trainer(trial, Breaks("on_train_batch_end", raising(KeyboardInterrupt()), epoch=3)).fit(
            TinyNet(), loader(), loader()
        )
    assert ended.value.code == 130  # where nothing catches it; by itself, Lightning exits with 1
    study.tell(trial, KeyboardInterrupt())
    study.close()
    signals.signal(signals.SIGINT, signals.default_int_handler)  # Lightning leaves it ignored
    checkpoint = study.state().trials[0].checkpoint
    assert (checkpoint.resource if checkpoint else 0) == saved
    out = capsys.readouterr().out
    assert ("trained again. `study.ask(save_every=1)` saves each epoch" in out) is (saved < 2)
    assert set(re.findall(r"`(?:study\.ask\()?(\w+)=", out)) <= {*ASK_OPTIONS}  # a message names only what `ask` takes


@pytest.mark.parametrize("name", ["n_trials", "timeout", "max_tirals", "direction"])
def test_other_arguments_of_ask_are_answered_by_name(tmp_path: Path, name: str) -> None:
    study = small_study(tmp_path)
    with pytest.raises(hwt.UnknownArgumentError, match=rf"Study\.ask\({name}=\.\.\.\)"):
        study.ask(**{name: 1})
    assert not (study.dir / "study.db").exists()


# ---------------------------------------------------------------------- a slip in a cell


def test_a_cell_that_is_run_again_takes_over(tmp_path: Path) -> None:
    first = small_study(tmp_path)
    trial = ask(first)
    again = small_study(tmp_path)  # the cell, corrected; the first object may live on in a traceback
    taken = ask(again)
    assert (taken.id, taken.segment) == (trial.id, 2)
    given_up = of_kind(again, ev.SegmentEnded)[0]
    assert (given_up.outcome, given_up.state) == ("interrupted", TrialState.WAITING)
    assert "given up: study.tell was not called" in given_up.error
    with pytest.raises(hwt.ArgumentError, match="a trial that ask\\(\\) returned and that was not passed to tell"):
        first.tell(trial)
    functions.plain(taken)
    again.tell(taken)
    state = check_log(asked_to_the_end(again))
    assert (len(state.trials), state.trials[0].n_retries, state.closed.state) == (3, 0, "finished")


@pytest.mark.parametrize("is_alive", [True, False])
@pytest.mark.parametrize("way", ["constructed", "loaded", "in another notation"])
def test_tell_continues_where_the_study_was_made_again_during_a_trial(
    tmp_path: Path, way: str, is_alive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(tmp_path)
    trial = ask(study, max_trials=2)
    functions.plain(trial)
    first = study if is_alive else None
    if way == "loaded":
        study = hwt.Study.load("study", tmp_path)
    else:
        monkeypatch.chdir(tmp_path.parent)
        study = small_study(tmp_path if way == "constructed" else Path(tmp_path.name))
    assert study.tell(trial) == "paused"
    assert ask(study).segment == 1
    for other in filter(None, [first, small_study(tmp_path, "other")]):
        with pytest.raises(hwt.ArgumentError, match="`trial` is"):
            other.tell(trial)
    study.close()
    assert len(of_kind(study, ev.SessionOpened)) == 1
    check_log(asked_to_the_end(small_study(tmp_path)))


def test_tell_takes_no_trial_of_another_study(tmp_path: Path) -> None:
    trial = ask(small_study(tmp_path, "lost"))
    gc.collect()
    with pytest.raises(hwt.ArgumentError, match="a trial that ask\\(\\) returned"):
        small_study(tmp_path, "other").tell(trial)
    small_study(tmp_path, "lost").close()


@pytest.mark.parametrize("way", ["run", "enqueue", "close", "ask of the same object"])
def test_other_calls_take_over_too(tmp_path: Path, way: str) -> None:
    first = small_study(tmp_path)
    ask(first)
    again = hwt.Study.load("study", tmp_path)
    if way == "run":
        again.run(functions.plain, max_trials=2, executor="inline", progress=False)
    elif way == "enqueue":
        again.enqueue({"x": 0.25})
    elif way == "close":
        again.close()
    else:
        assert ask(again).id == 0
        assert ask(first, max_trials=3).id == 0
        first.close()
    assert not again.state().running
    assert check_log(asked_to_the_end(small_study(tmp_path))).trials[0].n_retries == 0


def test_a_study_that_nobody_can_reach_is_no_hindrance_for_another(tmp_path: Path) -> None:
    ask(small_study(tmp_path, "lost"))
    gc.collect()
    asked_to_the_end(small_study(tmp_path, "other"))
    assert not hwt.Study.load("lost", tmp_path).state().running


def test_a_trial_of_another_study_is_named_before_anything_is_written(tmp_path: Path) -> None:
    one, other = small_study(tmp_path, "one"), small_study(tmp_path, "other")
    ask(one)
    for use in (lambda: other.ask(max_trials=2), lambda: other.run(functions.plain, max_trials=2, executor="inline")):
        with pytest.raises(hwt.StudyLockedError, match=r"training trial 0 of study 'one'.*study\.close\(\)"):
            use()
    assert not (other.dir / "study.db").exists()
    one.close()
    asked_to_the_end(other)


def test_a_study_inside_an_inline_segment_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    inner = small_study(tmp_path, "inner")
    seen = []

    def train(trial: hwt.Trial) -> None:
        for use in (lambda: inner.ask(), lambda: inner.run(functions.plain, max_trials=1, executor="inline")):
            with pytest.raises(hwt.StudyLockedError, match="training trial 0 of study 'outer'") as caught:
                use()
            seen.append(caught.value)
        functions.plain(trial)

    outer = small_study(tmp_path, "outer", scheduler=hwt.RunToEnd(1))
    outer.run(train, max_trials=1, executor="inline", progress=False)
    assert len(seen) == 2
    assert not (inner.dir / "study.db").exists()
    assert outer.state().n_full == 1


def test_a_study_of_another_thread_is_not_taken_over(tmp_path: Path) -> None:
    first = small_study(tmp_path)
    said: list[BaseException] = []

    def elsewhere() -> None:
        try:
            small_study(tmp_path).ask(max_trials=2)
        except hwt.StudyLockedError as error:
            said.append(error)

    ask(first)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "study.close()" in str(said[0])
    first.close()


# ---------------------------------------------------------------------- what is printed


@pytest.mark.parametrize(
    "value", [0.5, 1, True, np.float64(0.5), [0.5], (0.5, 2), {"error": 0.5}, torch.tensor(0.5), ValueError, b"no"]
)
def test_a_value_is_not_told(tmp_path: Path, value: Any) -> None:
    study = small_study(tmp_path)
    trial = ask(study)
    with pytest.raises(hwt.ArgumentError, match=r"Do not pass values to tell.*trial\.report\(1, val_loss=0\.5\)"):
        study.tell(trial, value)
    assert study.state().running, "the trial is still to be told"
    functions.plain(trial)
    assert study.tell(trial) == "paused"
    study.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [("values", r"trial\.report\(1, val_loss"), ("value", r"trial\.report\(1, val_loss"), ("state", r"error='why'"),
     ("status", r"error='why'")],
)  # fmt: skip
def test_other_arguments_of_tell_are_answered_by_name(tmp_path: Path, name: str, said: str) -> None:
    study = small_study(tmp_path)
    trial = ask(study)
    with pytest.raises(hwt.UnknownArgumentError, match=rf"tell\({name}=.*{said}"):
        study.tell(trial, **{name: 0.5})
    study.close()


def trainer(trial: hwt.Trial, *callbacks: Any) -> L.Trainer:
    settings: dict[str, Any] = {**QUIET, "callbacks": [hwt.RungCallback(), *callbacks]}
    return L.Trainer(max_epochs=trial.max_epochs, accelerator="cpu", **settings)


def tiny_study(folder: Path, **changes: Any) -> hwt.Study:
    return small_study(folder, **{
        "objectives": [hwt.Metric("val_error", "min")], "scheduler": hwt.ASHA(4, eta=2, first_rung=1),
        "pool": hwt.Pool("cpu", devices=1), **changes,
    })  # fmt: skip


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def broken() -> None:
    raise ValueError("broken")


@pytest.mark.parametrize(("action", "state"), [(broken, "waiting"), (out_of_memory, "out-of-memory")])
def test_an_error_in_the_fit_that_the_loop_swallows_counts(tmp_path: Path, action: Any, state: str) -> None:
    study = tiny_study(tmp_path, scheduler=hwt.RunToEnd(4))
    trial = ask(study)
    for callbacks in ([Breaks("on_train_batch_end", action, 3)], []):
        try:
            trainer(trial, *callbacks).fit(TinyNet(), loader(), loader())
        except Exception as error:
            print(error)
    assert study.tell(trial) == state
    assert study.state().n_full == 0
    study.close()


def test_what_is_told_after_a_pause_or_the_end_counts_no_more(tmp_path: Path) -> None:
    study = tiny_study(tmp_path)
    states_told = []
    while (trial := study.ask(max_trials=3, finishers=1, progress=False)) is not None:
        fitted = trainer(trial)
        fitted.fit(TinyNet(), loader(), loader(), ckpt_path=trial.ckpt_path)
        # evaluations have their results: an error here would end the loop
        assert fitted.test(TinyNet(), loader(), verbose=False)[0]["test_error"] >= 0
        assert torch.cat(fitted.predict(TinyNet(), loader())).shape == (8, 1)
        assert fitted.callback_metrics is not None
        states_told.append((trial.is_paused_or_stopped, study.tell(trial, broken_error())))
    assert (False, "completed") in states_told
    assert (True, "paused") in states_told
    assert all(is_paused == (state == "paused") for is_paused, state in states_told)
    state = study.state()
    assert {trial.n_retries for trial in state.trials} == {0}
    told = [note.text for note in state.notes if note.trial_id is None]
    assert len(told) == 1
    assert "did not change the result: ValueError: broken" in told[0]
    complete = [note.text for note in state.notes if note.trial_id is not None]
    assert len(complete) == state.n_full
    assert "after the complete training" in complete[0]


def broken_error() -> ValueError:
    try:
        broken()
    except ValueError as error:
        return error
    raise AssertionError


def test_an_interrupt_that_is_told_after_a_complete_training_changes_nothing(tmp_path: Path) -> None:
    study = tiny_study(tmp_path)
    trial = ask(study)
    trial.manual_reports()
    trial.report(1, val_error=1.0)
    trial.save(1, complete=True)
    assert study.tell(trial, KeyboardInterrupt()) == "completed"
    study.close()


def test_an_interrupt_that_is_told_is_no_failure(tmp_path: Path) -> None:
    study = tiny_study(tmp_path, max_retries=0)
    assert study.tell(ask(study), KeyboardInterrupt()) == "waiting"
    assert states(study) == {TrialState.WAITING: 1}
    study.close()


# ---------------------------------------------------------------------- how a script ends in the middle


def given_up_by(tmp_path: Path, action: Callable[[], None] | None, uncaught: BaseException | None) -> hwt.Study:
    """Returns a study whose script ended in a fit, by `action`, or in its loop, by an uncaught error."""
    study = tiny_study(tmp_path, max_retries=0)
    trial = ask(study, progress=True)
    if action is not None:
        with pytest.raises(BaseException):  # noqa: B017 - Lightning makes an exit of some
            trainer(trial, Breaks("on_train_batch_end", action)).fit(TinyNet(), loader(), loader())
    for session in list(open_sessions._open):
        session.close_at_exit(uncaught)
    return study


def raising(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("action", "uncaught", "signal"),
    [
        (raising(KeyboardInterrupt()), None, "Ctrl-C"),  # Lightning catches it and exits
        (None, KeyboardInterrupt(), "Ctrl-C"),
        (raising(SIGTERMException()), None, "SIGTERM"),
    ],
)
def test_a_signal_in_a_loop_is_named_with_what_continues_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], action: Any, uncaught: Any, signal: str
) -> None:
    handler = signals.getsignal(signals.SIGINT)
    try:
        study = given_up_by(tmp_path, action, uncaught)
    finally:
        signals.signal(signals.SIGINT, handler)  # Lightning leaves it ignored
    out, err = capsys.readouterr()
    assert f"trial 0 is interrupted: ended by {signal}; it will start from scratch" in out
    assert f"is interrupted (ended by {signal})" in out
    assert err.endswith(f"interrupted; what was reported is kept in {study.dir}. To continue, run the study again.\n")
    assert (closed := check_log(study).closed) is not None
    assert (closed.state, closed.reason) == ("interrupted", f"ended by {signal}")
    assert ask(study).id == 0  # the same script continues it
    study.close()


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (ValueError("my own error"), "ValueError: my own error"),
        (KeyError("age"), "KeyError: 'age'"),
        (RuntimeError("one\ntwo"), "RuntimeError: one"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_one_line_follows_the_traceback_of_another_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException, named: str
) -> None:
    study = given_up_by(tmp_path, None, error)
    out, err = capsys.readouterr()
    assert "interrupted" not in out
    assert err == f"study {study.name} is interrupted by {named}. To continue, run the study again.\n"
    assert of_kind(study, ev.SegmentEnded)[-1].error == f"the loop ended with {named}"
    assert study.state().closed.reason == named  # type: ignore[union-attr]


def test_a_long_error_is_cut_between_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = given_up_by(tmp_path, None, ValueError("eleven more " * 60))
    reason = study.state().closed.reason  # type: ignore[union-attr]
    assert reason.endswith((" eleven ...", " more ..."))
    assert len(reason) > 380
    assert capsys.readouterr().err.endswith(f" by {reason} To continue, run the study again.\n")


def test_a_loop_that_just_ends_says_that_tell_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = given_up_by(tmp_path, None, None)
    out, err = capsys.readouterr()
    assert "trial 0 is interrupted: study.tell was not called" in out
    assert (err, study.state().closed.reason) == ("", "closed")  # type: ignore[union-attr]


def test_a_study_that_is_closed_because_of_an_interrupt_says_so(tmp_path: Path) -> None:
    study = tiny_study(tmp_path)
    trial = ask(study)
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        study.close()
    assert study.state().trials[trial.id].state is TrialState.WAITING
    assert study.state().closed.reason == "ended by Ctrl-C"  # type: ignore[union-attr]


class Kind(Enum):
    WIDE = 1


@dataclass
class Shape:
    kind: Kind = Kind.WIDE
    folder: Path = Path("somewhere")


class ShapedNet(TinyNet):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.save_hyperparameters()


@pytest.mark.parametrize("passed", [{}, {"ckpt_path": True}, {"ckpt_path": True, "weights_only": True}])
def test_modules_with_dataclasses_and_enums_in_hparams_resume(tmp_path: Path, passed: dict[str, Any]) -> None:
    if passed.keys() - inspect.signature(L.Trainer.fit).parameters.keys():
        pytest.skip("this Lightning has no weights_only")
    study = tiny_study(tmp_path)
    while (trial := study.ask(max_trials=2, finishers=1, progress=False)) is not None:
        how = {**passed, "ckpt_path": trial.ckpt_path} if "ckpt_path" in passed else {}
        trainer(trial).fit(ShapedNet(Shape()), loader(), loader(), **how)
        study.tell(trial)
    assert study.state().n_full >= 1
    assert any(segment.resource > 0 for segment in study.state().segments)


def test_one_trainer_for_all_trials_is_named(tmp_path: Path) -> None:
    study = tiny_study(tmp_path)
    trial = ask(study)
    one = trainer(trial)
    one.fit(TinyNet(), loader(), loader())
    study.tell(trial)
    trial = ask(study)
    with pytest.raises(hwt.ArgumentError, match="already trained"):
        one.fit(TinyNet(), loader(), loader())
    study.close()


# ---------------------------------------------------------------------- forks of the process


def test_a_fork_neither_reports_nor_asks_nor_tells(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    trial = ask(study)

    def is_refused(act: Callable[[], Any], kind: type[hwt.HwTuneError]) -> bool:
        copy = os.fork()
        if copy:
            return os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) == 11
        try:
            act()
        except kind:
            os._exit(11)
        finally:
            os._exit(12)

    n_events = len(study.events())
    assert is_refused(lambda: trial.report(1, error=0.5), hwt.TrialError)
    assert is_refused(lambda: trial.save(1), hwt.TrialError)
    assert is_refused(lambda: study.tell(trial), hwt.ArgumentError)
    assert is_refused(lambda: study.ask(progress=False), hwt.StudyLockedError)
    assert is_refused(lambda: small_study(tmp_path).ask(progress=False), hwt.StudyLockedError)
    assert len(study.events()) == n_events
    functions.plain(trial)
    study.tell(trial)
    assert is_refused(lambda: study.ask(progress=False), hwt.StudyLockedError)
    asked_to_the_end(study)
    check_log(study)


@pytest.mark.parametrize("has_reported", [False, True])
def test_the_objectives_of_a_study_without_a_report_can_be_corrected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], has_reported: bool
) -> None:
    study = small_study(tmp_path / "my studies")
    trial = ask(study)
    if has_reported:
        trial.report(1, error=0.5)
    for session in list(open_sessions._open):
        session.close_at_exit(hwt.MetricError("'error' was never logged"))
    command = f"(rm -r '{study.dir}')"
    err = capsys.readouterr().err
    assert (command in err) is not has_reported
    with pytest.raises(hwt.StudyMismatchError) as caught:
        small_study(tmp_path / "my studies", objectives=[hwt.Metric("loss", "min")])
    assert (command in str(caught.value)) is not has_reported
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
