"""The simulating executor: segments follow learning curves on a virtual clock, with the same loop and controller.

News is ordered by (virtual time, order of scheduling), so a seed gives the same study on any machine under any load. A
segment behaves like a real one. It reports at every unit of resource. On a pause, its checkpoint is complete before the
segment ends. A trial that is stopped before its horizon saves nothing.

Time. Every segment takes `start_s` before its training, and `restore_s` more if it resumes from a checkpoint. Both
occupy the devices but do not count as training time. Saving takes no time. Failures are a Poisson process per device
(`Failures`): the segment is lost, with everything that was not saved. Machines may differ in speed (`Speeds`).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.constraints import ADDED_UP
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.core.streams import stream
from lightning_hwtune.engine.clock import VirtualClock
from lightning_hwtune.engine.executor import Abilities, Sink
from lightning_hwtune.engine.folder import NoFolder
from lightning_hwtune.engine.loop import Loop
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import FORMS
from lightning_hwtune.simulation.curves import Curves
from lightning_hwtune.simulation.provider import Cloud, SimulatedProvider
from lightning_hwtune.training.channel import Ended, Report, Saved, SegmentOrder

__all__ = ["Failures", "SimulatedExecutor", "Speeds", "simulate"]


@final
@dataclass(frozen=True, slots=True)
class Failures:
    """Random losses of segments, after `mean_s` device-seconds on average; drawn from (seed, trial, segment)."""

    mean_s: float
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean_s", FORMS["Failures"]["mean_s"].read("Failures.mean_s", self.mean_s))

    def after_s(self, order: SegmentOrder) -> float:
        """Returns after how many seconds this segment is lost if it still runs then."""
        rng = stream(self.seed, f"failure-{order.segment}", order.trial_id)
        return self.mean_s * float(rng.standard_exponential()) / order.num_devices


@final
@dataclass(frozen=True, slots=True)
class Speeds:
    """Random speeds of the machines: the seconds of each segment are multiplied by a log-normal factor with median 1.

    Args:
        spread: standard deviation of the logarithm; 0.05 is about 5 %.
        seed: the factors are drawn from (seed, trial, segment).
        per_trial: whether all segments of a trial have the same factor, as if a trial always got the same machine.
    """

    spread: float
    seed: int = 0
    per_trial: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "spread", FORMS["Speeds"]["spread"].read("Speeds.spread", self.spread))

    def factor(self, order: SegmentOrder) -> float:
        """Returns the factor of a segment."""
        number = 1 if self.per_trial else order.segment
        return math.exp(self.spread * float(stream(self.seed, f"speed-{number}", order.trial_id).standard_normal()))


@dataclass(slots=True)
class _Run:
    """A running segment. `turn` counts its scheduled entries; only the newest entry in the queue is valid."""

    order: SegmentOrder
    trains_from: float
    lost_at: float
    base_s: float
    resource: int
    factor: float = 1.0
    turn: int = 0
    end: tuple[Outcome, str] | None = None


@final
class SimulatedExecutor:
    """Trains segments by curves. `wait` jumps to the next news, and does nothing if no segment is running.

    Args:
        curves: the learning curves.
        clock: the clock of the loop; `wait` advances it.
        start_s: seconds before every segment; see the module.
        restore_s: additional seconds before a segment that resumes from a checkpoint.
        failures: the random losses of segments; None for no losses.
        speeds: the random speeds of segments; None if they are as fast as the curves say.
        has_timeouts: whether `wait` jumps no further than its timeout.
        slowness: returns by which further factor a segment takes longer.
    """

    abilities: ClassVar[Abilities] = Abilities(trains_here=False)

    def __init__(
        self,
        curves: Curves,
        clock: VirtualClock,
        *,
        start_s: float = 0.0,
        restore_s: float = 0.0,
        failures: Failures | None = None,
        speeds: Speeds | None = None,
        has_timeouts: bool = False,
        slowness: Callable[[SegmentOrder], float] = lambda order: 1.0,
    ) -> None:
        forms = FORMS["SimulatedExecutor"]
        self._curves, self._clock, self._failures, self._speeds = curves, clock, failures, speeds
        self._start_s: float = forms["start_s"].read("start_s", start_s)
        self._restore_s: float = forms["restore_s"].read("restore_s", restore_s)
        self._queue: list[tuple[float, int, int, _Run]] = []
        self._runs: dict[int, _Run] = {}
        self._count, self._has_timeouts, self._slowness = itertools.count(), has_timeouts, slowness

    def start(self, order: SegmentOrder) -> None:
        """Starts a segment at the clock's time."""
        now = self._clock.now()
        base_s = self._curves.elapsed_s(order.config, order.resource, order.num_devices)
        lost_at = now + self._failures.after_s(order) if self._failures is not None else math.inf
        delay_s = self._start_s + (self._restore_s if order.checkpoint is not None else 0.0)
        factor = self._slowness(order) * (self._speeds.factor(order) if self._speeds is not None else 1.0)
        run = _Run(order, now + delay_s, lost_at, base_s, order.resource, factor)
        self._runs[order.trial_id] = run
        self._schedule_next(run)

    def wait(self, sink: Sink, timeout_s: float) -> None:
        """Moves the clock to the next news and delivers it, or by the timeout; see the class."""
        give_up_at = self._clock.now() + timeout_s if self._has_timeouts else math.inf
        while self._queue:
            at, _, turn, run = self._queue[0]
            if run.turn != turn or self._runs.get(run.order.trial_id) is not run:
                heapq.heappop(self._queue)
                continue
            if at > give_up_at:
                self._clock.advance_to(give_up_at)
                return
            heapq.heappop(self._queue)
            self._clock.advance_to(at)
            if run.end is None and at >= run.lost_at:
                run.end = (Outcome.LOST, "simulated failure")
            if run.end is not None:
                self._bury(sink, run, Ended(0, *run.end, run.resource, False))
            else:
                self._report(sink, run)
            return
        if give_up_at < math.inf:
            self._clock.advance_to(give_up_at)

    def end(self, trial_id: int, outcome: Outcome, why: str) -> None:
        """Ends a running segment at the clock's time; `sink.ended` follows from `wait`."""
        run = self._runs.get(trial_id)
        if run is not None:
            run.end = (outcome, why)
            self._schedule(run, self._clock.now())

    def close(self) -> None:
        """Removes all segments."""
        self._queue.clear()
        self._runs.clear()

    def _trained_s(self, run: _Run, resource: int) -> float:
        """Returns the seconds that this segment trains from its start to `resource`."""
        trained_s = self._curves.elapsed_s(run.order.config, resource, run.order.num_devices) - run.base_s
        return trained_s * run.factor

    def _schedule_next(self, run: _Run) -> None:
        """Puts the next report into the queue, or the segment's loss if that comes first."""
        self._schedule(run, min(run.trains_from + self._trained_s(run, run.resource + 1), run.lost_at))

    def _schedule(self, run: _Run, at: float) -> None:
        run.turn += 1
        heapq.heappush(self._queue, (at, next(self._count), run.turn, run))

    def _report(self, sink: Sink, run: _Run) -> None:
        order = run.order
        run.resource += 1
        train_s = self._trained_s(run, run.resource)
        values = self._curves.values(order.config, run.resource)
        metrics = {name: values[name] for name in (*order.metrics, *order.measured)}
        if order.resource > 0:
            begun = self._curves.values(order.config, order.resource)
            metrics |= {name: values[name] - begun[name] for name in order.measured if name in ADDED_UP}
        verdict = sink.reported(order.trial_id, order.segment, Report(run.resource, metrics, train_s))
        is_horizon = run.resource >= order.max_resource
        is_due = order.save_every is not None and run.resource % order.save_every == 0
        if verdict.kind == VerdictKind.PAUSE or is_horizon or (verdict.kind == VerdictKind.CONTINUE and is_due):
            path = f"{order.trial_dir}/checkpoints/{order.segment}-{run.resource}.ckpt"
            sink.saved(order.trial_id, order.segment, Saved(path, "simulated", 0, run.resource, train_s))
        if verdict.kind != VerdictKind.CONTINUE or is_horizon:
            self._bury(sink, run, Ended(0, Outcome.DONE, "", run.resource, verdict.kind == VerdictKind.CONTINUE))
        else:
            self._schedule_next(run)

    def _bury(self, sink: Sink, run: _Run, ended: Ended) -> None:
        del self._runs[run.order.trial_id]
        sink.ended(run.order.trial_id, run.order.segment, ended, run.order.num_devices)


def _forget(events: Sequence[ev.Event]) -> None:
    """A sink that discards events, for callers that need only the final state."""


def simulate(
    spec: StudySpec,
    curves: Curves,
    limits: Limits,
    *,
    start_s: float = 0.0,
    restore_s: float = 0.0,
    failures: Failures | None = None,
    speeds: Speeds | None = None,
    cloud: Cloud | None = None,
    sink: Callable[[Sequence[ev.Event]], None] = _forget,
) -> StudyState:
    """Runs a whole study on a virtual clock that starts at 0; returns its final state.

    Args:
        cloud: the provider that rents the nodes of the pool; None: the pool is there from the beginning to the end.
        sink: receives every event, as a store would. For example, a list's `extend` collects the log.

    Raises:
        ArgumentError: the curves do not have an objective, or end before the study's horizon.
    """
    _check(spec, curves)
    if spec.pool.has_several_kinds and cloud is None:
        raise ArgumentError("cloud", None, "a Cloud, because the pool has nodes of several kinds, which are rented")
    clock = VirtualClock()
    controller = Controller(StudyState(spec), sink)
    controller.create(clock.now())
    controller.open(limits, clock.now(), "simulation", 0, "simulation", rents=cloud is not None)
    provider = None if cloud is None else SimulatedProvider(cloud, clock)

    def slowness(order: SegmentOrder) -> float:
        nodes = controller.state.nodes_of(order.slots)
        return 1.0 if provider is None else max((provider.factor(node.rented_as) for node in nodes), default=1.0)

    executor = SimulatedExecutor(
        curves, clock, start_s=start_s, restore_s=restore_s, failures=failures, speeds=speeds, has_timeouts=True,
        slowness=slowness,
    )  # fmt: skip
    loop = Loop(
        controller, executor, clock, NoFolder(), is_first_error_fatal=False, provider=provider, wait_s=math.inf,
        late_s=0.0, end_s=0.0,
    )  # fmt: skip
    done = loop.run()
    controller.close(clock.now(), ev.SessionState.FINISHED, done.reason.text)
    return controller.state


def _check(spec: StudySpec, curves: Curves) -> None:
    wanted = (*spec.objectives.metrics, *spec.objectives.measured_in_training)
    absent = [name for name in wanted if name not in curves.metrics]
    if absent:
        argument = "objectives" if absent[0] in spec.objectives.names else "constraints"
        raise ArgumentError(argument, absent[0], f"the metrics of the curves: {', '.join(curves.metrics)}")
    if spec.scheduler.max_resource > curves.max_resource:
        raise ArgumentError(
            "scheduler",
            spec.scheduler.max_resource,
            f"a full training of at most {curves.max_resource}, because the curves end there",
        )
