"""The first minute: two batches of one configuration in a child process, before a study spends anything.

What it finds is either an error, raised at once, or the numbers that a user wants to see before starting: what is
logged, how long an epoch takes, how large a checkpoint is, what the study will take.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lightning_hwtune.core.searchers import History
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.engine.devices import device_mask
from lightning_hwtune.engine.executor import Executor
from lightning_hwtune.engine.payload import Payload
from lightning_hwtune.engine.report_notes import late_objectives, must_train_on, rung_places
from lightning_hwtune.errors import MetricError, TrialError
from lightning_hwtune.training.channel import Ended, Note, Report, Saved, SegmentOrder, VerdictMessage

__all__ = ["Check", "run_check"]

_BATCHES = 2


@final
@dataclass(frozen=True, slots=True)
class Check:
    """What a check saw.

    Attributes:
        config: the configuration it trained. num_devices: on how many devices.
        logged: names that the training logs.
        epoch_s: seconds one epoch would take, from the time of two batches; NaN if the loader's length is unknown.
        gpu_bytes: the most GPU memory that one rank reserved for two batches; 0 on the CPU.
        checkpoint_bytes: size of one checkpoint. payload_bytes: of the training function with all it captures.
        largest_capture: the heaviest captured object and its bytes; None if the payload is light.
        wall_s: what the check itself took.
        notes: lines for the user. study_notes: those of them that hold for the whole study.
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


@final
class _Witness:
    """A sink that remembers."""

    def __init__(self, order: SegmentOrder) -> None:
        self._order = order
        self.reports: list[Report] = []
        self.saved_bytes = 0
        self.end: Ended | None = None
        self.notes: list[Note] = []

    def reported(self, trial_id: int, segment: int, report: Report) -> VerdictMessage:
        """Has the segment pause, so that it saves; before that it trains until all objectives are there."""
        self.reports.append(report)
        if report.probe and must_train_on(report, self._order.metrics, self._order.levels, len(self.reports)):
            return VerdictMessage("continue", "an objective was not logged yet")
        return VerdictMessage("pause", "this was a check")

    def saved(self, trial_id: int, segment: int, saved: Saved) -> None:
        """Keeps the size."""
        self.saved_bytes = saved.n_bytes

    def noted(self, trial_id: int, segment: int, note: Note) -> None:
        """Keeps the line."""
        self.notes.append(note)

    def ended(self, trial_id: int, segment: int, ended: Ended, world_size: int) -> None:
        """Keeps how it ended."""
        self.end = ended

    def forgets_interruption(self) -> bool:
        """Return whether the segment ended for no fault of its own, as when the fork server is killed; forgets it."""
        is_interrupted = self.end is not None and self.end.outcome == "interrupted"
        if is_interrupted:
            self.report, self.end = None, None
        return is_interrupted


def run_check(
    spec: StudySpec, executor: Executor, payload: Payload, folder: Path, tick: Callable[[], None] = lambda: None
) -> Check:
    """Trains two batches of the searcher's first configuration; `folder` is emptied.

    Args:
        tick: called about once a second meanwhile.

    Raises:
        MetricError: an objective was not logged.
        TrialError: the training code failed, or never reported; the message carries the traceback.
    """
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    order = _order(spec, folder)
    witness = _Witness(order)
    try:
        executor.start(order)
        while witness.end is None:
            executor.wait(witness, 1.0)
            tick()
            if witness.forgets_interruption():
                executor.start(order)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    reports, end = witness.reports, witness.end
    if end.outcome != "done":
        text = end.error.rstrip()
        why = text.rpartition("\n")[2]
        raise TrialError(f"the check failed, so nothing was started: {why}\n\nwith {dict(order.config)}:\n{text}")
    if not reports:
        wanted = ", ".join(repr(name) for name in spec.objectives.metrics) or "an epoch"
        raise MetricError(
            f"the training function returned without reporting {wanted}. Call trial.fit(model, data), or the fit "
            "of a Trainer with a validation loop, or trial.report(epochs, ...)."
        )
    probe = reports[0].probe
    logged = {name for report in reports for name in (report.probe.logged if report.probe else report.metrics)}
    about_reports = rung_places(reports[0], spec.scheduler)
    if probe is not None:
        about_reports += late_objectives(reports, order.metrics, order.levels, order.unit)
    return Check(
        config=order.config,
        num_devices=order.num_devices,
        logged=tuple(sorted(logged)),
        epoch_s=probe.epoch_s if probe else math.nan,
        checkpoint_bytes=witness.saved_bytes,
        payload_bytes=payload.n_bytes,
        largest_capture=payload.largest,
        wall_s=time.monotonic() - began,
        notes=(*(note.text for note in witness.notes), *about_reports),
        study_notes=tuple(note for note in witness.notes if note.once_per == "study"),
        gpu_bytes=probe.gpu_bytes if probe else 0,
    )


def _order(spec: StudySpec, folder: Path) -> SegmentOrder:
    config = spec.searcher.propose(spec.space, 0, spec.seed, History([], spec.objectives)) or {}
    num_devices = spec.allocation.devices(config)
    slots = tuple(range(num_devices))
    return SegmentOrder(
        study=spec.name,
        trial_id=0,
        segment=1,
        config=config,
        seed=spec.seed,
        num_devices=num_devices,
        slots=slots,
        accelerator=spec.pool.accelerator,
        threads_per_device=spec.pool.threads_per_device,
        trial_dir=str(folder.resolve()),
        resource=0,
        checkpoint=None,
        unit=spec.scheduler.unit,
        max_resource=spec.scheduler.max_resource,
        levels=spec.scheduler.levels,
        metrics=spec.objectives.metrics,
        across_ranks=spec.objectives.across_ranks,
        batch=spec.batch,
        env=device_mask(spec.pool, slots),
        probe_batches=_BATCHES,
    )
