"""A controller that is restarted at any place of a log decides next what the one before it would have decided.

Simulated studies run to their end. After every write the log so far is read through JSON, and a new controller is
asked: before a session opens, with the running segments still running, at the same time and with the same free devices.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA, PASHA, Hyperband, Scheduler, SuccessiveHalving
from lightning_hwtune.core.searchers import TPE, ParetoPrior, Random, Searcher, Sobol
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.space import Float, Int, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.clock import VirtualClock
from lightning_hwtune.engine.folder import NoFolder
from lightning_hwtune.engine.loop import Loop
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import Failures, SimulatedExecutor

SCHEDULERS = {
    "asha": ASHA(max_epochs=9, first_rung=1),
    "chosen_ladder": ASHA(max_epochs=9),
    "hyperband": Hyperband(max_epochs=9),
    "pasha": PASHA(max_epochs=9),
    "successive_halving": SuccessiveHalving(max_epochs=9),
}
N_TRIALS = 10
LEAST_PREFIXES = 60  # of one study: 32 of them are at least 2,000 together


def _prior() -> ParetoPrior:
    configs = [{"x": i / 12, "width": 8 + (7 * i) % 57} for i in range(12)]
    losses = [[abs(config["x"] - 0.4), config["width"] / 8] for config in configs]
    objectives = Objectives([Metric("error", "min"), TrainSeconds()])
    return ParetoPrior([EarlierTask.of("earlier", configs, losses)], objectives, candidates=16)


SEARCHERS = {"random": Random, "sobol": Sobol, "tpe": lambda: TPE(min_points=2), "prior": _prior}


class Restarts:
    """Rebuilds the state after each write, and compares what the two controllers answer."""

    def __init__(self, spec: StudySpec, clock: VirtualClock) -> None:
        self._clock, self._rebuilt = clock, StudyState(spec)
        self.controller = Controller(StudyState(spec), self._replay, observe=self._compare)
        self.n_prefixes, self.different = 0, list[str]()

    def _replay(self, events: Sequence[ev.Event]) -> None:
        for event in events:
            self._rebuilt.apply(ev.from_dict(json.loads(json.dumps(ev.to_dict(event)))))

    def _compare(self, events: Sequence[ev.Event]) -> None:
        now = self._clock.now()
        free = self._rebuilt.spec.pool.size - sum(s.num_devices for s in self._rebuilt.running.values())
        kept, restarted = (
            controller.ask(now, free)
            for controller in (self.controller, Controller(self._rebuilt, lambda events: None))
        )
        self.n_prefixes += 1
        if kept != restarted:
            self.different.append(f"after {self.n_prefixes} writes: {kept} is after a restart {restarted}")


def restarts_of(scheduler: Scheduler, searcher: Searcher, *counts: int) -> Restarts:
    """Simulates a study, with failures, and returns what restarts at all its prefixes decide."""
    devices = {"devices": NumDevices(*counts)} if len(counts) > 1 else {}
    objectives = [Metric("error", "min"), TrainSeconds(), *([Cost()] if devices else [])]
    if isinstance(searcher, ParetoPrior):
        objectives = objectives[:2]
    spec = StudySpec(
        name="restarted",
        space=SearchSpace(x=Float(0.0, 1.0), width=Int(8, 64), **devices),
        objectives=Objectives(objectives),
        scheduler=scheduler,
        searcher=searcher,
        pool=Pool("cpu", max(counts), usd_per_device_hour=1.0),
        max_failures=9,
    )
    clock = VirtualClock()
    restarts = Restarts(spec, clock)
    restarts.controller.create(clock.now())
    restarts.controller.open(Limits(max_trials=N_TRIALS, finishers=3), clock.now(), "host", 1, "0")
    executor = SimulatedExecutor(
        SyntheticCurves(spec.space, 9), clock, start_s=1.0, restore_s=0.5, failures=Failures(200.0)
    )
    Loop(restarts.controller, executor, clock, NoFolder(), is_first_error_fatal=False).run()
    return restarts


@pytest.mark.parametrize("counts", [(1,), (1, 2, 3)], ids=["one_device", "three_counts"])
@pytest.mark.parametrize("searcher", SEARCHERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_restart_decides_the_same_next(scheduler: str, searcher: str, counts: tuple[int, ...]) -> None:
    restarts = restarts_of(SCHEDULERS[scheduler], SEARCHERS[searcher](), *counts)
    assert restarts.different == []
    assert restarts.n_prefixes >= LEAST_PREFIXES
