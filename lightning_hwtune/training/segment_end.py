"""How a segment ends: the same rules for functions, ask and tell, Hydra apps, LightningCLI scripts and the check.

- A signal (Ctrl-C, SIGTERM) always takes effect. An exception that only looks like a signal, such as a
  KeyboardInterrupt that user code raises, is an ordinary error.
- An error inside the fit that reports counts, even if user code swallows it or a later fit succeeds.
- Once the segment is stopped, or is paused and saved, user code can no longer change the result.
- After a complete training the trial stays complete. A later error is only shown.
- Any other error counts. Running out of memory is a separate outcome.
- If a process that user code has forked returns or raises here, it just ends. The segment belongs to its parent.

The full text of an error that does not count is in the trial's log. A note shows its last line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.errors import MetricError, first_line
from lightning_hwtune.host.arrived_signals import ArrivedSignals
from lightning_hwtune.host.disk_space import FULL_DISK_ERRORS, full_disks
from lightning_hwtune.host.session_signals import cause_of
from lightning_hwtune.text import counted
from lightning_hwtune.training.channel import Ended, SegmentOrder
from lightning_hwtune.training.checkpointing import make_in_trial
from lightning_hwtune.training.context import ActiveSegment

__all__ = ["conclude", "interrupt_in", "interrupt_text", "is_sigterm", "log_path", "run_to_end"]

_ONLY_PRETRAINED = (
    "no fit reported: the training function has `trial.fit`, or had it when the study was checked, so the fit of "
    "another Trainer was treated as a pretraining. If that fit counts, give its Trainer callbacks=[RungCallback()]."
)
_TERMINATED = 128 + signal.SIGTERM  # the status with which `host.session_signals` exits


def run_to_end(segment: ActiveSegment, user_code: Callable[[], Any]) -> Ended:
    """Runs user code as one segment; returns the rank's last message.

    Raises:
        KeyboardInterrupt, SystemExit: a signal arrived while user code ran, even if user code has swallowed it.
    """
    raised: BaseException | None = None
    with ArrivedSignals() as signals:
        try:
            user_code()
        except BaseException as error:
            raised = error
    if segment.is_copy:
        _end_copy(raised)
    interrupt = interrupt_in(raised) or interrupt_in(segment.failure)
    is_own = segment.failure is None and segment.is_settled and not signals.may_have_come
    if interrupt is not None and (is_sigterm(interrupt) or not is_own):
        raise interrupt
    return conclude(segment, raised)


def conclude(segment: ActiveSegment, raised: BaseException | str | None) -> Ended:
    """Returns the rank's last message for a segment whose user code has ended, if no signal arrived.

    Args:
        raised: the exception that user code raised, or its text; None if there was none.
    """
    if isinstance(raised, SystemExit) and raised.code in (0, None):
        raised = None
    if segment.failure is None and segment.is_settled:
        _show(segment, raised)
        return segment.ended(Outcome.DONE)
    error = segment.failure or raised
    if error is None and segment.has_pretrained and segment.reporter is None:
        error = MetricError(_ONLY_PRETRAINED)
    if error is None:
        _note_early_end(segment)
        return segment.ended(Outcome.DONE)
    outcome = Outcome.OUT_OF_MEMORY if isinstance(error, BaseException) and _is_out_of_memory(error) else Outcome.ERROR
    text, whole = _text(error), "" if raised is None else _text(raised)
    return segment.ended(outcome, _naming_full_disks(whole if first_line(text) in whole else text, error, segment))


def _note_early_end(segment: ActiveSegment) -> None:
    """Notes once per study that a loop ended below the horizon although its last report was to continue."""
    order = segment.order
    if segment.is_loop and segment.verdict is None and order.resource < segment.resource < order.max_resource:
        text = (
            f"the loop ended at {segment.resource} of {counted(order.max_resource, order.unit)} although the verdict "
            "there was 'continue', so the trial counts as complete. If that is meant, as in early stopping, "
            "trial.save(state, complete=True) says so; otherwise compare the verdict: "
            "`if trial.report(...).kind != 'continue'`"
        )
        segment.note(text, once_per="study", topic="a loop ended early")


def interrupt_in(error: BaseException | None) -> BaseException | None:
    """Returns the KeyboardInterrupt or exit with which a signal took effect; None if no signal caused the error."""
    for link in _chain(error):
        if isinstance(link, KeyboardInterrupt) or is_sigterm(link):
            return link
    return error if isinstance(error, SystemExit) and error.code == _TERMINATED else None


def interrupt_text(stop: BaseException) -> str:
    """Returns what an error from `interrupt_in` says of the signal: "ended by Ctrl-C", "ended by SIGTERM"."""
    return "ended by SIGTERM" if is_sigterm(stop) else cause_of(stop) or "ended by SIGTERM"


def is_sigterm(error: BaseException) -> bool:
    """Return whether an error is Lightning's reaction to SIGTERM: an exit without a status."""
    return any(kind.__name__ == "SIGTERMException" for kind in type(error).__mro__)


def log_path(order: SegmentOrder, rank: int) -> Path:
    """Returns the path of the file with a rank's output."""
    return Path(order.trial_dir) / "logs" / f"segment_{order.segment:02d}_rank_{rank}.log"


def _end_copy(raised: BaseException | None) -> NoReturn:
    """Ends a process that user code has forked, as Python would end it, but without returning into the study."""
    code = raised.code if isinstance(raised, SystemExit) else None
    if raised is not None and not isinstance(raised, SystemExit):
        traceback.print_exception(raised)
    elif code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    is_good = raised is None or (isinstance(raised, SystemExit) and code in (0, None))
    os._exit(0 if is_good else code & 0xFF if isinstance(code, int) else 1)


# ---------------------------------------------------------------------- errors that do not count


def _show(segment: ActiveSegment, raised: BaseException | str | None) -> None:
    """Shows what user code did after the end, and writes the full text of an error to the trial's log."""
    what = ""
    if raised is not None:
        text = _text(raised)
        what = first_line(text)
        _append_to_log(segment, text)
    if not segment.is_over:
        if what:
            segment.note(f"an error after the complete training did not change the result: {what}")
        return
    parts = []
    is_check = segment.order.probe_batches is not None
    if segment.skipped:
        step = _STEPS.get(segment.skipped, segment.skipped)
        who = "the check skips" if is_check else "trials that pause or stop skip"
        same = ", and so do trials that pause or stop" if is_check else ""
        parts.append(f"{who} the {step} that follows the training{same}. It runs after a full training")
    if what:
        who = "the check had paused the training" if is_check else "the segment was paused or stopped"
        same = ". The same holds for trials that pause or stop" if is_check and not segment.skipped else ""
        parts.append(f"an error after {who} did not change the result: {what}{same}")
    if parts:
        text = ". ".join([*parts, *filter(None, [segment.hints.after_a_pause])])
        segment.note(text, once_per="study", topic=_AFTER)


_STEPS = {"validate": "validation", "predict": "prediction"}  # stages of Lightning, as nouns


_AFTER = "after a pause or stop"


def _append_to_log(segment: ActiveSegment, text: str) -> None:
    path = log_path(segment.order, segment.rank)
    # the cause of the error may be the disk, and a study's folder that is gone stays gone
    with contextlib.suppress(OSError):
        make_in_trial(path.parent, Path(segment.order.trial_dir))
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{text.rstrip()}\n")


# ---------------------------------------------------------------------- errors


def _text(error: BaseException | str) -> str:
    return error if isinstance(error, str) else "".join(traceback.format_exception(error))


def _naming_full_disks(text: str, error: BaseException | str, segment: ActiveSegment) -> str:
    """Returns the text of an error; if no space was left on a disk, its exception line names the full disks."""
    links = _causes(error) if isinstance(error, BaseException) else ()
    if not any(isinstance(link, OSError) and link.errno in FULL_DISK_ERRORS for link in links):
        return text
    full = full_disks([Path(segment.order.trial_dir), *segment.folders, Path(tempfile.gettempdir()), Path(".")])
    line = first_line(text)
    before, found, after = text.rpartition(line)
    if not full or not found:
        return text
    return f"{before}{line} (there is no space left on the disk of {' and of '.join(map(str, full))}){after}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and the errors from which, or during whose handling, it was raised."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error, the errors from which it was raised, and the members of exception groups, each once."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        link = left.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            left.append(link.__cause__)
            left.extend(link.exceptions if isinstance(link, BaseExceptionGroup) else ())


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # raised by the error's own `__str__`
        return ""


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, one of its causes or a member of its group is running out of memory on any device."""
    import torch

    return any(
        isinstance(link, MemoryError | torch.OutOfMemoryError)
        or (isinstance(link, RuntimeError) and any(sign in _message(link) for sign in _MEMORY_SIGNS))
        for link in _causes(error)
    )


_MEMORY_SIGNS = ("out of memory", "DefaultCPUAllocator: can't allocate memory", "not enough memory")
