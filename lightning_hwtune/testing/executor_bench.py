"""Drives one executor with scripted verdicts, and records every message with the rules that it broke."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.parameters import Parameter
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.engine.executor import Executor
from lightning_hwtune.engine.segment_orders import segment_order
from lightning_hwtune.testing.demand import demand
from lightning_hwtune.testing.executor_training import loss_at
from lightning_hwtune.training.channel import Ended, Note, Report, Saved, SegmentOrder, VerdictMessage

__all__ = ["MAX_EPOCHS", "Bench", "Recorder", "study_of"]

MAX_EPOCHS = 3
_SEED = 11


def study_of(pool: Pool, *counts: int, does: str = "train") -> StudySpec:
    """Returns a small study; several `counts` make the number of devices a parameter."""
    parameters: dict[str, Parameter] = {"x": Float(0.0, 1.0), "does": Choice([does])}
    if counts:
        parameters["devices"] = NumDevices(*counts)
    objectives = Objectives([Metric("loss", "min")])
    return StudySpec("contract", SearchSpace(parameters), objectives, ASHA(max_epochs=MAX_EPOCHS), Random(), pool)


@final
@dataclass(slots=True)
class Recorder:
    """A sink that answers reports by a script.

    Attributes:
        answer: takes a trial and a resource; returns the kind of the verdict.
        reports: trial -> the resources that it reported, in order.
        saves, ends: trial -> its newest checkpoint, and how its segment ended.
        broken: the rules that a message broke.
    """

    answer: Callable[[int, int], VerdictKind] = lambda trial_id, resource: VerdictKind.CONTINUE
    orders: dict[int, SegmentOrder] = field(default_factory=dict)
    reports: dict[int, list[int]] = field(default_factory=dict)
    saves: dict[int, Saved] = field(default_factory=dict)
    ends: dict[int, Ended] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    _thread: int = field(default_factory=threading.get_ident)

    def reported(self, trial_id: int, segment: int, report: Report) -> VerdictMessage:
        """Records a report; returns the script's answer."""
        self._expect(trial_id, segment, f"report at {report.resource}")
        order, known = self.orders.get(trial_id), self.reports.setdefault(trial_id, [])
        if order is not None and report.metrics != {"loss": loss_at(order.config, report.resource)}:
            self.broken.append(f"The report of trial {trial_id} at {report.resource} has {dict(report.metrics)}.")
        known.append(report.resource)
        return VerdictMessage(self.answer(trial_id, report.resource), "as the contract's script says")

    def saved(self, trial_id: int, segment: int, saved: Saved) -> None:
        """Records a checkpoint."""
        self._expect(trial_id, segment, "checkpoint")
        self.saves[trial_id] = saved

    def noted(self, trial_id: int, segment: int, note: Note) -> None:
        """Checks the note's segment only."""
        self._expect(trial_id, segment, "note")

    def ended(self, trial_id: int, segment: int, ended: Ended, world_size: int) -> None:
        """Records an end."""
        self._expect(trial_id, segment, "end")
        self.ends[trial_id] = ended

    def _expect(self, trial_id: int, segment: int, what: str) -> None:
        order = self.orders.get(trial_id)
        if threading.get_ident() != self._thread:
            self.broken.append(f"A {what} of trial {trial_id} came from another thread than that of `wait`.")
        if order is None or order.segment != segment:
            self.broken.append(f"A {what} came for segment {segment} of trial {trial_id}, which was not started.")
        elif trial_id in self.ends:
            self.broken.append(f"A {what} of trial {trial_id} came after the segment's end.")


@final
class Bench:
    """One executor, with the orders and the deadline of a contract.

    Args:
        limit_s: a segment that has not ended after this many seconds breaks the contract.
    """

    def __init__(self, executor: Executor, pool: Pool, folder: Path, limit_s: float) -> None:
        self.executor, self.pool, self.folder, self.limit_s = executor, pool, folder, limit_s
        self._n_trials = 0

    def order(
        self, n_devices: int = 1, *, does: str = "train", resumes: SegmentOrder | None = None, **changes: Any
    ) -> SegmentOrder:
        """Returns an order for a new trial, or for the next segment of the trial of `resumes`."""
        trial_id = self._n_trials if resumes is None else resumes.trial_id
        self._n_trials += resumes is None
        folder = self.folder / f"{trial_id:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        given: dict[str, Any] = {
            "trial_id": trial_id,
            "segment": 1 if resumes is None else resumes.segment + 1,
            "config": {"x": trial_id / 8, "does": does},
            "seed": _SEED + trial_id,
            "slots": tuple(range(n_devices)),
            "folder": folder,
            "resource": 0,
            "checkpoint": None,
        }
        return segment_order(study_of(self.pool), **(given | changes))

    def start(self, sink: Recorder, *orders: SegmentOrder) -> None:
        """Starts segments whose messages `sink` will record."""
        for order in orders:
            sink.orders[order.trial_id] = order
            self.executor.start(order)

    def wait(self, sink: Recorder, is_over: Callable[[], bool], rule: str) -> None:
        """Waits until `is_over`. Whatever takes longer than the limit, or a wrong message, breaks `rule`."""
        give_up_at = time.monotonic() + self.limit_s
        while not is_over():
            self.executor.wait(sink, 0.2)
            demand(not sink.broken, rule, *sink.broken)
            is_late = time.monotonic() > give_up_at
            demand(not is_late, rule, f"After {self.limit_s:g} s: reports {sink.reports}, ends {sink.ends}.")

    def train(self, sink: Recorder, *orders: SegmentOrder, rule: str) -> Recorder:
        """Starts segments and waits until all of them have ended."""
        self.start(sink, *orders)
        self.wait(sink, lambda: len(sink.ends) == len(sink.orders), rule)
        return sink
