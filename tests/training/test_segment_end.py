"""How a segment ends, by one rule: errors before, in and after the fit that reports, raised or swallowed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from broken_training import Breaks, TinyNet, fit, loader
from rank_bench import Bench, Said

from lightning_hwtune.core.decisions import Continue, Pause, Stop
from lightning_hwtune.training.channel import Note, Report, Saved
from lightning_hwtune.training.segment_end import log_path
from lightning_hwtune.training.trial import Trial

Train = Callable[[Trial], Any]


def error(text: str = "broken") -> Any:
    raise ValueError(text)


def memory() -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


# ---------------------------------------------------------------------- after the fit


class Odd(BaseException):
    """An exception that `except Exception` does not catch."""


def _predict(trial: Trial) -> None:
    trainer = fit(trial)
    torch.cat(trainer.predict(TinyNet(), loader())).sum()


def _test(trial: Trial) -> None:
    assert fit(trial).test(TinyNet(), loader())[0]["test_error"] >= 0


def _metrics(trial: Trial) -> None:
    trainer = fit(trial)
    trainer.test(TinyNet(), loader())
    assert trainer.callback_metrics["test_error"] >= 0


def _validate_again(trial: Trial) -> None:
    assert fit(trial).validate(TinyNet(), loader())[0]["val_error"] >= 0


def _cross_validation(trial: Trial) -> None:
    folds = [torch.vstack(fit(trial).predict(TinyNet(), loader())) for _ in range(2)]
    assert torch.stack(folds).isfinite().all()


NEEDS_A_RESULT = [_predict, _test, _metrics, _validate_again, _cross_validation]


def _raise(trial: Trial) -> None:
    fit(trial)
    error()


def _raise_in_finally(trial: Trial) -> None:
    try:
        fit(trial)
    finally:
        error()


def _exit(trial: Trial) -> None:
    fit(trial)
    sys.exit(3)


def _raise_oddly(trial: Trial) -> None:
    fit(trial)
    raise Odd


def _run_out_of_memory(trial: Trial) -> None:
    fit(trial)
    memory()


def _break(hook: str) -> Train:
    return lambda trial: fit(trial, Breaks(hook, error))


RAISES = [
    _raise, _raise_in_finally, _exit, _raise_oddly, _run_out_of_memory,
    _break("on_train_end"), _break("on_fit_end"), _break("teardown"),
]  # fmt: skip


@pytest.mark.parametrize("verdict", ["pause", "stop"])
@pytest.mark.parametrize("train", [*NEEDS_A_RESULT, *RAISES])
def test_nothing_counts_once_a_segment_is_paused_or_stopped(bench: Bench, train: Train, verdict: str) -> None:
    said = bench.inline(train, {1: verdict})
    assert (said.ended[0].outcome, said.ended[0].error, said.ended[0].reached_end) == ("done", "", False)
    assert [report.resource for report in said.of(Report)] == [1]
    assert len(said.of(Saved)) == (verdict == "pause")
    [note] = said.of(Note)
    assert (note.once_per, note.topic != "") == ("study", True)
    assert "did not change the result: " in note.text
    assert "trial.is_paused_or_stopped" in note.text
    assert "Traceback (most recent call last)" in log_path(bench.order, 0).read_text()


@pytest.mark.parametrize("train", [_predict, _test, _validate_again, _raise])
@pytest.mark.parametrize("is_check", [False, True])
def test_a_note_about_the_end_of_a_checks_segment_says_that_it_is_from_the_check(
    bench: Bench, train: Train, is_check: bool
) -> None:
    said = bench.inline(train, {1: "pause"}, **({"probe_batches": 2} if is_check else {}))
    [note] = said.of(Note)
    says = {
        (_predict, False): "trials that pause or stop skip the prediction that follows the training. It runs after",
        (_predict, True): "the check skips the prediction that follows the training, and so do trials that pause",
        (
            _test,
            True,
        ): "the check skips the test that follows the training, and so do trials that pause or stop. It runs",
        (
            _validate_again,
            True,
        ): "the check skips the validation that follows the training, and so do trials that pause",
        (_raise, False): "an error after the segment was paused or stopped did not change the result: ValueError: ",
        (_raise, True): "an error after the check had paused the training did not change the result: ValueError: ",
    }
    assert note.text.startswith(says.get((train, is_check), "trials that pause or stop skip the "))
    assert ("The same holds for trials that pause or stop" in note.text) is (train is _raise and is_check)


@pytest.mark.parametrize("train", NEEDS_A_RESULT[:4])
def test_after_a_complete_training_results_are_there(bench: Bench, train: Train) -> None:
    said = bench.inline(train, {4: "stop"})
    assert (said.ended[0].outcome, said.of(Note)) == ("done", [])


@pytest.mark.parametrize("script", [{4: "stop"}, {}])
@pytest.mark.parametrize("train", [_raise, _exit, _raise_oddly, _break("on_fit_end")])
def test_a_complete_training_stays_complete_and_shows_the_error(
    bench: Bench, train: Train, script: dict[int, str]
) -> None:
    said = bench.inline(train, script)
    assert said.ended[0].outcome == "done"
    assert said.saved.resource == 4
    [note] = said.of(Note)
    assert note.once_per == "segment"
    assert "after the complete training did not change the result: " in note.text
    assert "Traceback (most recent call last)" in log_path(bench.order, 0).read_text()


@pytest.mark.parametrize("deleted", ["study", "study/trials", "study/trials/000", "study/trials/000/logs"])
def test_an_error_after_the_end_never_recreates_a_deleted_study(bench: Bench, tmp_path: Path, deleted: str) -> None:
    def train(trial: Trial) -> None:
        fit(trial)
        shutil.rmtree(tmp_path / deleted)
        error()

    trial_dir = tmp_path / "study" / "trials" / "000"
    (trial_dir / "logs").mkdir(parents=True)
    assert bench.inline(train, {}, trial_dir=str(trial_dir)).ended[0].outcome == "done"
    assert (trial_dir / "logs").exists() == (deleted != "study")


def test_a_trial_that_was_lost_after_its_end_stays_complete(bench: Bench) -> None:
    whole = bench.inline(fit, {4: "stop"})
    said = bench.inline(_raise, {}, **bench.resume(whole, 2))
    assert (said.ended[0].outcome, said.of(Report)) == ("done", [])


def test_a_trial_can_ask_whether_its_segment_was_paused_or_stopped(bench: Bench) -> None:
    seen = []

    def train(trial: Trial) -> None:
        seen.append(trial.is_paused_or_stopped)
        fit(trial)
        seen.append(trial.is_paused_or_stopped)

    for script in ({2: "pause"}, {2: "stop"}, {4: "stop"}, {}):
        bench.inline(train, script)
    assert seen == [False, True, False, True, False, False, False, False]


# ---------------------------------------------------------------------- swallowed


def _except(trial: Trial, broken: Any) -> None:
    try:
        fit(trial, broken)
    except Exception as caught:
        print(caught)


def _suppress(trial: Trial, broken: Any) -> None:
    with contextlib.suppress(BaseException):
        fit(trial, broken)


def _return_in_finally(trial: Trial, broken: Any) -> None:
    try:
        fit(trial, broken)
    finally:
        return  # noqa: B012


def _try_again(trial: Trial, broken: Any) -> None:
    for callbacks in ([broken], []):
        try:
            fit(trial, *callbacks)
            break
        except Exception:
            continue


def _fit_in_between(trial: Trial, broken: Any) -> None:
    _suppress(trial, broken)
    fit(trial)
    trial.fit(TinyNet(), loader(), loader(), logger=False)


def _raise_another(trial: Trial, broken: Any) -> None:
    try:
        fit(trial, broken)
    except Exception:
        raise RuntimeError("the training did not work") from None


SWALLOWS = [_except, _suppress, _return_in_finally, _try_again, _fit_in_between, _raise_another]
BREAKS = [
    ("on_train_batch_end", 3), ("on_validation_end", 3), ("on_train_epoch_end", 3), ("on_sanity_check_end", None),
    ("on_train_start", None),
]  # fmt: skip


@pytest.mark.parametrize(("action", "outcome"), [(error, "error"), (memory, "out-of-memory")])
@pytest.mark.parametrize("swallow", SWALLOWS)
def test_an_error_in_the_fit_counts_also_when_it_is_swallowed(
    bench: Bench, swallow: Any, action: Any, outcome: str
) -> None:
    said = bench.inline(lambda trial: swallow(trial, Breaks("on_train_batch_end", action, 3)), {4: "stop"})
    assert said.ended[0].outcome == outcome
    assert ("broken" if outcome == "error" else "out of memory") in said.ended[0].error
    assert [report.resource for report in said.of(Report)] == [1, 2]


@pytest.mark.parametrize(("hook", "epoch"), BREAKS)
def test_an_error_in_any_hook_counts_also_when_a_later_fit_succeeds(bench: Bench, hook: str, epoch: Any) -> None:
    said = bench.inline(lambda trial: _try_again(trial, Breaks(hook, error, epoch)), {4: "stop"})
    assert (said.ended[0].outcome, "broken" in said.ended[0].error) == ("error", True)
    assert all(report.resource < 4 for report in said.of(Report))
    assert said.of(Saved) == []


def test_an_exit_inside_the_fit_is_no_good_end(bench: Bench) -> None:
    said = bench.inline(lambda trial: fit(trial, Breaks("on_train_batch_end", lambda: sys.exit(0), 2)), {4: "stop"})
    assert (said.ended[0].outcome, "SystemExit: 0" in said.ended[0].error) == ("error", True)


def test_a_pause_that_could_not_be_saved_counts(bench: Bench) -> None:
    class Unsaveable(TinyNet):
        def on_save_checkpoint(self, checkpoint: Any) -> None:
            error("not to be saved")

    def train(trial: Trial) -> None:
        with contextlib.suppress(ValueError):
            trial.fit(Unsaveable(), loader(), loader(), logger=False)

    said = bench.inline(train, {1: "pause"})
    assert (said.ended[0].outcome, "not to be saved" in said.ended[0].error) == ("error", True)


def test_memory_that_runs_out_stays_so_in_the_error_that_user_code_makes_of_it(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        try:
            memory()
        except RuntimeError as caught:
            raise ValueError("too large a batch") from caught

    assert bench.inline(train, {}).ended[0].outcome == "out-of-memory"


def test_a_quick_run_of_lightning_is_the_checks(bench: Bench) -> None:
    said = bench.inline(lambda trial: fit(trial, fast_dev_run=True), {})
    assert "`fast_dev_run` is True; allowed: False in a study" in said.ended[0].error

    def own_trainer(trial: Trial) -> None:
        L.Trainer(fast_dev_run=True, accelerator="cpu").fit(TinyNet(), loader(), loader())

    said = bench.inline(own_trainer, {})
    assert "allowed: False in a study. The check of a new study already trains a few batches" in said.ended[0].error


# ---------------------------------------------------------------------- signals


def _interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("script", [{1: "pause"}, {4: "stop"}])
def test_a_signal_acts_after_the_end_too(bench: Bench, script: dict[int, str]) -> None:
    def train(trial: Trial) -> None:
        fit(trial)
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            sys.exit(1)  # as Lightning answers it

    with pytest.raises(KeyboardInterrupt):
        bench.inline(train, script)


def _exit_like_lightning() -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


IMITATIONS = {
    "KeyboardInterrupt": lambda: error_of(KeyboardInterrupt()),
    "as Lightning answers it": _exit_like_lightning,
    "the status of SIGTERM": lambda: sys.exit(128 + 15),
}


def error_of(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("script", [{1: "pause"}, {1: "stop"}, {4: "stop"}])
@pytest.mark.parametrize("name", IMITATIONS)
def test_user_code_that_raises_what_a_signal_would_changes_nothing_after_the_end(
    bench: Bench, name: str, script: dict[int, str]
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def train(trial: Trial) -> None:
        fit(trial)
        IMITATIONS[name]()

    for said in (bench.inline(train, script), bench.segment(train, script)):
        assert said.ended[0].outcome == "done"
        assert "did not change the result: " in said.of(Note)[-1].text
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_acts_where_user_code_has_its_own_handler(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        fit(trial)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with pytest.raises(KeyboardInterrupt):
            bench.inline(train, {1: "pause"})
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_in_the_fit_acts_where_user_code_swallows_it(bench: Bench) -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            bench.inline(lambda trial: _suppress(trial, Breaks("on_train_batch_end", _interrupt, 2)), {4: "stop"})
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_request_to_terminate_goes_through(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        fit(trial)
        signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # as `host.session_signals` has it
    try:
        with pytest.raises(SystemExit):
            bench.inline(train, {1: "pause"})
    finally:
        signal.signal(signal.SIGTERM, before)


# ---------------------------------------------------------------------- loops that report by hand


def _loop(trial: Trial, n: int = 4, save: bool = False, first: int = 1) -> None:
    for epoch in range(first, n + 1):
        trial.report(epoch, val_error=1.0 / epoch)
        if save:
            trial.save(epoch)


@pytest.mark.parametrize("save", [False, True])
@pytest.mark.parametrize("verdict", ["pause", "stop"])
def test_a_loop_that_ignores_the_answer_gets_an_error_at_its_next_report(
    bench: Bench, verdict: str, save: bool
) -> None:
    said = bench.inline(lambda trial: _loop(trial, save=save), {1: "continue", 2: verdict})
    assert [report.resource for report in said.of(Report)] == [1, 2]
    assert said.ended[0].outcome == "error"
    assert (
        f"`trial.report(...)` is 3; allowed: no report after 2 epochs, because the verdict there was {verdict!r}"
        in (said.ended[0].error)
    )
    assert "trial.save(state); return" in said.ended[0].error


def test_a_loop_that_swallows_that_error_has_it_all_the_same(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        for epoch in range(1, 5):
            with contextlib.suppress(Exception):
                trial.report(epoch, val_error=1.0)

    said = bench.inline(train, {1: "pause"})
    assert ("no report after 1 epoch" in said.ended[0].error, len(said.of(Report))) == (True, 1)


@pytest.mark.parametrize("probe", [None, 2])
def test_without_rungs_a_loop_may_ignore_the_pause_of_a_check_or_a_limit(bench: Bench, probe: int | None) -> None:
    said = bench.inline(_loop, {1: "pause"}, levels=(4,), probe_batches=probe)
    assert (said.ended[0].outcome, [report.resource for report in said.of(Report)]) == ("done", [1])


def test_a_loop_beyond_the_horizon_has_a_complete_trial_and_a_note(bench: Bench) -> None:
    said = bench.inline(lambda trial: _loop(trial, 6), {4: "stop"})
    assert [report.resource for report in said.of(Report)] == [1, 2, 3, 4]
    assert said.ended[0].outcome == "done"
    [note] = said.of(Note)
    assert "`trial.report(...)` is 5; allowed: an integer up to 4" in note.text


def _compares(is_over: Callable[[Any], bool]) -> Train:
    """Returns a loop that saves and returns when the comparison of the verdict says so."""

    def train(trial: Trial) -> None:
        for epoch in range(1, 5):
            if is_over(trial.report(epoch, val_error=1.0 / epoch)):
                trial.save(epoch)
                return

    return train


COMPARISONS: dict[str, Callable[[Any], bool]] = {
    "kind": lambda verdict: verdict.kind != "continue",
    "word": lambda verdict: verdict in ("pause", "stop"),
    "other word": lambda verdict: verdict != "continue",
    "class": lambda verdict: verdict in (Pause, Stop),
    "other class": lambda verdict: verdict != Continue,
    "instance": lambda verdict: not isinstance(verdict, Continue),
    "match": lambda verdict: {"pause": True, "stop": True}.get(verdict, False),
}


@pytest.mark.parametrize("verdict", ["pause", "stop"])
@pytest.mark.parametrize("name", COMPARISONS)
def test_a_verdict_is_compared_as_it_is_written(bench: Bench, name: str, verdict: str) -> None:
    said = bench.inline(_compares(COMPARISONS[name]), {3: verdict})
    assert [report.resource for report in said.of(Report)] == [1, 2, 3]
    assert (said.ended[0].outcome, said.of(Note)) == ("done", [])


@pytest.mark.parametrize("is_over", [bool, lambda verdict: not verdict, lambda verdict: verdict and True])
@pytest.mark.parametrize("script", [{}, {1: "pause"}])
def test_a_verdict_is_not_true_or_false(bench: Bench, is_over: Any, script: dict[int, str]) -> None:
    said = bench.inline(_compares(is_over), script)
    assert said.ended[0].outcome == "error"
    assert "since a verdict is not true or false" in said.ended[0].error


@pytest.mark.parametrize(("end", "is_noted"), [("return", True), ("complete", False), ("raise", False)])
def test_a_loop_that_ends_early_is_noted_once_per_study(bench: Bench, end: str, is_noted: bool) -> None:
    def train(trial: Trial) -> None:
        for epoch in (1, 2):
            trial.report(epoch, val_error=1.0)
            trial.save(epoch, complete=end == "complete" and epoch == 2)
        if end == "raise":
            error()

    notes = bench.inline(train, {}).of(Note)
    assert [note.once_per for note in notes] == ["study"] * is_noted
    assert all("ended at 2 of 4 epochs although the verdict there was 'continue'" in note.text for note in notes)


@pytest.mark.parametrize("verdict", ["pause", "stop"])
def test_an_end_that_could_not_be_saved_counts(bench: Bench, verdict: str) -> None:
    def train(trial: Trial) -> None:
        n = 1 if verdict == "pause" else 4
        _loop(trial, n)
        with contextlib.suppress(Exception):
            trial.save(lambda: None)  # a local function cannot be pickled

    said = bench.inline(train, {1: "pause"} if verdict == "pause" else {4: "stop"})
    assert (said.ended[0].outcome, "pickle" in said.ended[0].error) == ("error", True)


@pytest.mark.parametrize("resource", [0, -1, 1.5, 0.5, "1", None, True, float("nan"), [1], torch.tensor(1.5)])
def test_a_resource_is_a_positive_integer(bench: Bench, resource: Any) -> None:
    said = bench.inline(lambda trial: trial.report(resource, val_error=1.0), {})
    assert "allowed: a positive integer" in said.ended[0].error
    assert "After the first epoch report 1" in said.ended[0].error
    assert said.of(Report) == []


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        ([1, 1], "is 1; allowed: an integer above 1, the epochs of the last report"),
        ([2, 1], "is 1; allowed: an integer above 2"),
        ([40], "is 40; allowed: an integer up to 4, the epochs of a full training"),
    ],
)
def test_resources_grow_up_to_the_horizon(bench: Bench, resources: list[int], text: str) -> None:
    def train(trial: Trial) -> None:
        for resource in resources:
            trial.report(resource, val_error=1.0)

    said = bench.inline(train, {})
    assert text in said.ended[0].error
    assert [report.resource for report in said.of(Report)] == resources[:-1]


def test_a_resumed_loop_goes_on_where_it_was_saved(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        if trial.report((trial.load() or 0) + 1, val_error=1.0).kind != "continue":
            trial.save(trial._segment.resource)

    first = bench.inline(train, {1: "pause"})
    again = bench.resume(first, 2)
    assert bench.inline(train, {}, **again).of(Report)[0].resource == 2
    from_the_start = bench.inline(lambda trial: (trial.load(), trial.report(1, val_error=1.0)), {}, **again)
    error = from_the_start.ended[0].error
    assert "is 1; allowed: an integer above 1, the epochs of the checkpoint of this segment" in error


@pytest.mark.parametrize("value", ["high", "0.5", None, True, [1.0], [], {}, torch.ones(2), 1j, object()])
def test_a_value_that_is_no_number_is_refused_with_its_name(bench: Bench, value: Any) -> None:
    said = bench.inline(lambda trial: trial.report(1, val_error=value), {})
    assert "MetricError: the objective 'val_error' must be a single number; " in said.ended[0].error
    assert said.of(Report) == []


@pytest.mark.parametrize("value", [1, 0.5, torch.tensor(0.5), torch.ones(1), float("nan"), float("inf")])
def test_numbers_of_any_kind_are_reported(bench: Bench, value: Any) -> None:
    [report] = bench.inline(lambda trial: trial.report(1, val_error=value), {}).of(Report)
    assert isinstance(report.metrics["val_error"], float)


# ---------------------------------------------------------------------- in a separate process


@pytest.mark.training
@pytest.mark.parametrize("num_devices", [1, 2])
def test_the_rule_holds_on_every_rank(bench: Bench, num_devices: int) -> None:
    def train(trial: Trial) -> None:
        trainer = fit(trial)
        trainer.test(TinyNet(), loader())[0]["test_error"]

    said: Said = bench.segment(train, {1: "pause"}, num_devices=num_devices)
    assert [ended.outcome for ended in said.ended] == ["done"] * num_devices
    assert len(said.of(Note)) == 1
    for rank in range(num_devices):
        assert "IndexError" in log_path(bench.order, rank).read_text()


@pytest.mark.training
def test_memory_that_one_rank_swallows_is_that_ranks_last_word(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        action = memory if os.environ["RANK"] == "1" else lambda: None
        _suppress(trial, Breaks("on_train_batch_end", action, 1))

    said: Said = bench.segment(train, {4: "stop"}, num_devices=2)
    assert "out-of-memory" in [ended.outcome for ended in said.ended]


# ---------------------------------------------------------------------- odd errors


class _Mute(RuntimeError):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise KeyError("no text")

    __repr__ = __str__


def _cycle(*kinds: type[Exception]) -> Exception:
    """Returns the first of errors each of which was raised from the next one, and the last one from the first."""
    errors = [kind(f"broken {number}") for number, kind in enumerate(kinds)]
    for this, cause in zip(errors, [*errors[1:], errors[0]], strict=True):
        this.__cause__ = cause
    return errors[0]


def _looped_group() -> Exception:
    member = ValueError("broken")
    group = ExceptionGroup("several", [member])
    member.__cause__ = group
    return group


ODD_ERRORS = [
    (lambda: _cycle(ValueError, KeyError), "error", "broken"),
    (lambda: _cycle(ValueError), "error", "broken"),
    (lambda: _cycle(ValueError, MemoryError), "out-of-memory", "broken"),
    (_looped_group, "error", "broken"),
    (_Mute, "error", "str() failed"),
    (lambda: ExceptionGroup("several", [_Mute(), ValueError("broken")]), "error", "broken"),
    (lambda: ExceptionGroup("several", [ValueError("x"), torch.OutOfMemoryError("broken")]), "out-of-memory", "broken"),
    (lambda: ExceptionGroup("several", [ExceptionGroup("in it", [MemoryError("broken")])]), "out-of-memory", "broken"),
    (lambda: RuntimeError("CUDA error: out of memory"), "out-of-memory", "out of memory"),
    (lambda: ValueError("out of memory"), "error", "out of memory"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "outcome", "text"), ODD_ERRORS)
@pytest.mark.parametrize("is_in_fit", [False, True])
def test_an_error_of_any_shape_ends_the_segment_as_what_it_is(
    bench: Bench, make: Callable[[], BaseException], outcome: str, text: str, is_in_fit: bool
) -> None:
    def fail() -> None:
        raise make()

    said = bench.inline(lambda trial: fit(trial, Breaks("on_train_start", fail)) if is_in_fit else fail(), {4: "stop"})
    assert said.ended[0].outcome == outcome
    assert text in said.ended[0].error
