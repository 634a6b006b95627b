"""The check before a study: it trains shortened epochs of the first configurations in child processes.

An error of the training code is raised at once. Otherwise the check reports what a user wants to know before starting:
what is logged, how long an epoch and a start-up take, how large a checkpoint is, how long the study will take, and
whether a pause changes the training.
"""

from __future__ import annotations

import itertools
import math
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

from lightning_hwtune.core.record import Outcome, Unit
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.engine.check_segment import AUTO_STILL_S, CheckSegment, train_segment
from lightning_hwtune.engine.check_segment_orders import check_configs, check_segment_order
from lightning_hwtune.engine.counted_fit import CountedFit
from lightning_hwtune.engine.executor import Executor, preload_in, slow_libraries
from lightning_hwtune.engine.hang import AUTO
from lightning_hwtune.engine.payload import Payload
from lightning_hwtune.engine.report_notes import counts_last, late_objectives, must_train_on, rung_places
from lightning_hwtune.engine.resume_proof import (
    N_EPOCHS,
    SAVES_NOTHING,
    TOO_LONG,
    ResumeProof,
    is_affordable,
)
from lightning_hwtune.errors import MetricError, TrialError
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.tracebacks import own_lines
from lightning_hwtune.training.channel import Note, Probe, Report, SegmentOrder

__all__ = ["WHAT_NEXT", "Check", "run_check", "succeeded"]


@final
@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check.

    Attributes:
        config: the configuration that was trained.
        num_devices: the number of devices that trained it.
        logged: the names that the training logs.
        epoch_s: estimated seconds per epoch, from the time of two batches. NaN if the loader's length is unknown.
        gpu_bytes: the largest amount of GPU memory that one rank reserved for two batches. 0 on the CPU.
        gpu_total_bytes: the memory of that GPU. 0 on the CPU.
        checkpoint_bytes: the size of one checkpoint.
        payload_bytes: the size of the training function with everything that it captures; 0 if it needs no file.
        largest_capture: the name and the bytes of the largest captured object. None if the payload is small.
        wall_s: the seconds that the check itself took.
        units_s: for each device count, the seconds of one unit of resource (an epoch, a step or a sample).
        startup_s: seconds of a segment outside its training, once the fork server has imported `libraries`.
        warm_up_s: the additional seconds that the first epoch of a trial takes.
        libraries: installed modules that the training imports and that the fork server can import in advance.
        imports: the other packages that each segment imports, with the seconds of each, the slowest first.
        notes: lines for the user.
        study_notes: the notes that apply to the whole study.
    """

    config: Mapping[str, Any]
    num_devices: int
    logged: tuple[str, ...]
    epoch_s: float
    checkpoint_bytes: int
    payload_bytes: int
    largest_capture: tuple[str, int] | None
    wall_s: float
    notes: tuple[str, ...] = ()
    study_notes: tuple[Note, ...] = ()
    gpu_bytes: int = 0
    gpu_total_bytes: int = 0
    units_s: Mapping[int, float] = field(default_factory=dict)
    startup_s: float = math.nan
    warm_up_s: float = 0.0
    imports: tuple[tuple[str, float], ...] = ()
    libraries: tuple[str, ...] = ()

    @property
    def start_up(self) -> float:
        """The start-up of a segment in units of resource; 0 if it is unknown."""
        known = [seconds for seconds in self.units_s.values() if math.isfinite(seconds) and seconds > 0]
        return self.startup_s / statistics.fmean(known) if known and math.isfinite(self.startup_s) else 0.0


def run_check(
    spec: StudySpec,
    executor: Executor,
    payload: Payload | None,
    folder: Path,
    tick: Callable[[], None] = lambda: None,
    *,
    hang_timeout_s: float | str | None = AUTO,
) -> Check:
    """Trains shortened epochs of the study's first configurations; `folder` is emptied.

    The check trains with the smallest and with the largest device count. If the study may pause trials, it trains
    twice with each count, without a pause and with one, and both results must be equal bit by bit.

    Args:
        executor: one that can check; see `Abilities`.
        payload: the training function as a file; None if the executor needs none.
        tick: called about once per second during the check.
        hang_timeout_s: the check ends after this many seconds without a sign of work. "auto" means ten minutes, None
            means no limit.

    Raises:
        MetricError: an objective was not logged.
        TrialError: the training code failed, never reported, or made no progress. The error has the traceback.
    """
    began, still_s = time.monotonic(), AUTO_STILL_S if isinstance(hang_timeout_s, str) else hang_timeout_s
    found: list[_ConfigFindings] = []
    counted_fit = CountedFit()
    try:
        for config in check_configs(spec):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            found.append(_check_one(spec, executor, config, folder, tick, still_s, counted_fit))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _summary(spec, found, payload, time.monotonic() - began)


@final
@dataclass(frozen=True, slots=True)
class _ConfigFindings:
    """What the check found out with one configuration. `notes` come from the comparison with and without a pause."""

    order: SegmentOrder
    whole: CheckSegment
    notes: tuple[str, ...] = ()
    resumed: CheckSegment | None = None


def _check_one(
    spec: StudySpec,
    executor: Executor,
    config: Mapping[str, Any],
    folder: Path,
    tick: Callable[[], None],
    still_s: float | None,
    counted_fit: CountedFit,
) -> _ConfigFindings:
    """Trains one configuration without a pause, and also with one if the comparison is useful."""

    def train(order: SegmentOrder, plan: Callable[[Report], bool]) -> CheckSegment:
        found = counted_fit.train(order, lambda chosen: train_segment(executor, chosen, plan, tick, still_s))
        return succeeded(spec, order, found)

    may_pause = spec.scheduler.pauses and len(spec.scheduler.levels) > 1
    n_epochs = N_EPOCHS if may_pause else 1
    first = check_segment_order(spec, config, folder / "whole")
    n_reports: set[int] = set()

    def at_end(report: Report) -> bool:
        if report.resource in n_reports:  # the segment is being trained again
            n_reports.clear()
        n_reports.add(report.resource)
        if report.probe and must_train_on(report, spec.objectives.metrics, spec.scheduler.levels, len(n_reports)):
            return False
        is_last = len(n_reports) >= n_epochs or report.resource >= spec.scheduler.max_resource
        return is_last or (n_epochs > 1 and not is_affordable(report))

    whole = train(first, at_end)
    preload_in(executor, tuple(_worth(whole)))  # before the next segment, which then starts sooner
    resources = sorted(n_reports)
    if n_epochs == 1 or len(resources) < 2:
        is_cut = n_epochs > 1 and resources[0] < spec.scheduler.max_resource and whole.saved_as is not None
        is_cut = is_cut and not is_affordable(whole.reports[0])  # otherwise the training has ended by itself
        return _ConfigFindings(first, whole, (TOO_LONG,) if is_cut else ())
    paused = folder / "paused"
    before = train(check_segment_order(spec, config, paused), lambda report: report.resource >= resources[-2])
    if before.saved_as is None:
        return _ConfigFindings(first, whole, (SAVES_NOTHING,))
    resumes = before.saved_as.resource, before.saved_as.path
    after = train(check_segment_order(spec, config, paused, resumes), lambda report: report.resource >= resources[-1])
    note = ResumeProof(whole, before, after).note(spec.scheduler.unit)
    return _ConfigFindings(first, whole, (note,) if note else (), after)


WHAT_NEXT = "The guide's page 'What goes wrong' (docs/failures.md), 'After a failed check', says what to do next."
"""The last line of a failed check."""


def succeeded(spec: StudySpec, order: SegmentOrder, found: CheckSegment) -> CheckSegment:
    """Returns what was trained.

    Raises:
        MetricError, TrialError: as for `run_check`.
    """
    end = found.end
    if end is not None and end.outcome != Outcome.DONE and not (end.outcome == Outcome.LOST and found.has_paused):
        text = end.error.rstrip()
        why = text.rpartition("\n")[2]
        where = " when it resumed from a checkpoint" if order.checkpoint is not None else ""
        raise TrialError(
            f"the check failed{where}, so nothing was started: {why}\n\nwith {dict(order.config)}:\n"
            f"{own_lines(text).rstrip()}\n\n{WHAT_NEXT}",
            traceback=text,
        )
    if not found.reports:
        wanted = ", ".join(repr(name) for name in spec.objectives.metrics) or "an epoch"
        raise MetricError(
            f"the training function returned without reporting {wanted}. Call trial.fit(model, data), or the fit "
            "of a Trainer with a validation loop, or trial.report(epochs, ...)."
        )
    return found


def _summary(spec: StudySpec, found: Sequence[_ConfigFindings], payload: Payload | None, wall_s: float) -> Check:
    first = found[0]
    reports, saved = first.whole.reports, [item.whole.saved_as for item in found]
    logged = {name for report in reports for name in (report.probe.logged if report.probe else report.metrics)}
    about_reports = rung_places(reports[0], spec.scheduler) + counts_last(reports[-1], spec.objectives)
    if reports[0].probe is not None:
        scheduler = spec.scheduler
        about_reports += late_objectives(reports, spec.objectives.metrics, scheduler.levels, scheduler.unit)
    notes = [note for item in found for note in item.whole.notes]
    proofs = dict.fromkeys(text for item in found for text in item.notes)
    study_notes = [note for note in notes if note.once_per == "study"] + [Note(text, "study") for text in proofs]
    startup_s = statistics.fmean(_startup_s(item) for item in found)
    probes = [item.whole.reports[-1].probe or Probe((), 0.0) for item in found]
    return Check(
        config=first.order.config,
        num_devices=first.order.num_devices,
        logged=tuple(sorted(logged)),
        epoch_s=_epoch_s(first.whole),
        units_s={item.order.num_devices: _unit_s(item.whole, spec.scheduler.unit) for item in found},
        startup_s=startup_s,
        warm_up_s=_warm_up_s(first.whole),
        imports=_imports(first.resumed or first.whole),
        libraries=tuple(_worth(first.whole)),
        checkpoint_bytes=max((item.n_bytes for item in saved if item is not None), default=0),
        payload_bytes=payload.n_bytes if payload is not None else 0,
        largest_capture=payload.largest if payload is not None else None,
        wall_s=wall_s,
        notes=tuple(map(spelled, dict.fromkeys([*(note.text for note in notes), *about_reports, *proofs]))),
        study_notes=tuple(dict.fromkeys(replace(note, text=spelled(note.text)) for note in study_notes)),
        gpu_bytes=max(probe.gpu_bytes for probe in probes),
        gpu_total_bytes=max(probe.gpu_total_bytes for probe in probes),
    )


def _epoch_s(found: CheckSegment) -> float:
    """Returns the seconds of a whole epoch: the lowest of the estimates from the shortened epochs."""
    known = [report.probe.epoch_s for report in found.reports if report.probe is not None]
    if not known:  # a training loop that the user wrote trains whole epochs
        known = [after - before for before, after in itertools.pairwise([0.0, *_times(found)])]
    return math.nan if any(map(math.isnan, known)) else min(known)


def _unit_s(found: CheckSegment, unit: str) -> float:
    """Returns the seconds of an epoch divided by its units of resource; NaN if their number is unknown."""
    first = found.reports[0]
    if unit == Unit.EPOCHS:
        return _epoch_s(found)
    if first.probe is None:  # a training loop that the user wrote
        return min(
            (after.train_s - before.train_s) / (after.resource - before.resource)
            for before, after in itertools.pairwise([Report(0, {}, 0.0), *found.reports])
        )
    places = first.probe.places
    return _epoch_s(found) / places.per_epoch if places is not None and places.is_known else math.nan


def _warm_up_s(found: CheckSegment) -> float:
    """Returns how many seconds longer the first epoch of a trial takes than the fastest later one."""
    first, *others = (after - before for before, after in itertools.pairwise([0.0, *_times(found)]))
    return max(first - min(others), 0.0) if others else 0.0


def _times(found: CheckSegment) -> list[float]:
    return [report.train_s for report in found.reports]


def _startup_s(item: _ConfigFindings) -> float:
    """Returns the seconds of a segment outside its training, once the fork server has imported what it may import."""
    found = item.resumed or item.whole
    last = found.reports[-1]
    around_s = max(found.wall_s - last.train_s, 0.0)  # before the first report and after the last one
    if item.resumed is not None:
        return around_s
    if last.probe is not None and math.isfinite(last.probe.startup_s):
        around_s = min(around_s, last.probe.startup_s)  # `around_s` includes the start of the fork server
    return max(around_s - sum(_worth(found).values()), 0.0)


def _imports(found: CheckSegment) -> tuple[tuple[str, float], ...]:
    """Returns the packages that a segment imports and the seconds of each, the slowest first."""
    probe, times, preloaded = found.reports[-1].probe, dict[str, float](), _worth(found)
    for module, seconds in (probe.imports if probe else {}).items():
        if module in preloaded:
            continue
        package = module.partition(".")[0]
        times[package] = times.get(package, 0.0) + seconds
    return tuple(sorted(times.items(), key=lambda item: -item[1]))


def _worth(found: CheckSegment) -> dict[str, float]:
    """Returns the libraries that are slow enough to be imported by the fork server, and the seconds of each."""
    probe = found.reports[-1].probe
    return slow_libraries(probe.libraries) if probe else {}
