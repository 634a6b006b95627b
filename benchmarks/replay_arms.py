"""The tasks of `benchmarks/replay.py`, and the study of each arm on each task.

An arm is plain data, as in `replay_settings.json`:

- `scheduler`: the settings of the scheduler. `objectives`: those of the study (default: all).
- `tpe`: the settings of TPE. Or `prior`: from which tasks a prior learns, and `options`: its options. Default: the
  table's configurations in random order.
- none of these: a study in which nothing is chosen, on the table's configurations.
- `peer`: instead of all these, a rule of another library. `eta`: its eta (default: `ETA`).
- `until`: the fraction of the virtual time after which it starts nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import RunToEnd, Scheduler, scheduler_from_settings
from lightning_hwtune.core.searchers import TPE, History, Listed, ParetoPrior, Searcher
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.streams import stream
from lightning_hwtune.simulation.accounting import Yardstick
from lightning_hwtune.simulation.curves import Curves, SyntheticCurves
from lightning_hwtune.simulation.tables import Table

__all__ = ["CrossFitted", "Problem", "best_error", "from_table", "package_of", "spec_of", "synthetic"]

N_WORKERS = 4
USD_PER_DEVICE_HOUR = 1.0
BEST = 0.01  # share of the configurations whose worst final error the chosen one is compared with
ETA = 3  # default of the peers' rules
_PACKAGES = {"synetune": "syne_tune", "neps": "neps", "optuna": "optuna"}


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One task to replay: of the table, or synthetic.

    Attributes:
        all_s: virtual seconds in which the workers could train all configurations to the end.
        max_resource: the full training, if it is shorter than the curves.
    """

    task: str
    space: SearchSpace
    configs: Sequence[Mapping[str, Any]]
    objectives: Objectives
    curves: Curves
    yardstick: Yardstick
    all_s: float
    table: Table | None = None
    max_resource: int | None = None

    @property
    def last(self) -> int:
        """The resource of a full training."""
        return self.max_resource or self.curves.max_resource


def from_table(
    table: Table, task: str, columns: Sequence[str] | None = None, max_resource: int | None = None
) -> Problem:
    """Returns a task of the table with these objectives, trained up to this resource; None = all."""
    curves, objectives = table.curves(task), table.chosen(columns)
    last = max_resource or curves.max_resource
    places = [table.objectives.names.index(name) for name in objectives.names]
    yardstick = Yardstick.of(objectives, curves.losses[:, :last, places])
    all_s = sum(curves.elapsed_s(config, last, 1) for config in table.configs) / N_WORKERS
    return Problem(task, table.space, table.configs, objectives, curves, yardstick, all_s, table, max_resource)


def synthetic(seed: int, max_resource: int = 27, **options: float) -> Problem:
    """Returns a task of the generator: 288 configurations of four numbers, two options and 1, 2 or 4 devices.

    Args:
        options: of the curves, such as `crossing`.
    """
    space = SearchSpace(
        lr=Float(1e-4, 1e-1, log=True), width=Int(8, 256, log=True), dropout=Float(0.0, 0.5), decay=Float(0.0, 0.1),
        kind=Choice(["a", "b"]), devices=NumDevices(1, 2, 4),
    )  # fmt: skip
    configs = [space.sample(stream(seed, "configs", index)) for index in range(288)]
    curves = SyntheticCurves(space, max_resource, seed, usd_per_device_hour=USD_PER_DEVICE_HOUR, **options)
    measured = Objectives([Metric("error", "min"), TrainSeconds(), Metric("usd", "min", "USD")])
    yardstick = Yardstick.sampled(measured, curves, space, configs)
    device_s = sum(config["devices"] * curves.elapsed_s(config, max_resource, config["devices"]) for config in configs)
    objectives = Objectives([Metric("error", "min"), TrainSeconds(), Cost()])
    return Problem(f"synthetic-{seed}", space, configs, objectives, curves, yardstick, device_s / N_WORKERS)


def best_error(problem: Problem) -> float:
    """Returns the final error that the best 1 % of the configurations reach."""
    first = problem.objectives.names[0]
    return float(np.nanquantile([problem.curves.values(c, problem.last)[first] for c in problem.configs], BEST))


def spec_of(problem: Problem, arm: Mapping[str, Any], seed: int) -> StudySpec:
    """Returns the study of an arm."""
    wanted = arm.get("objectives") or problem.objectives.names
    return StudySpec(
        name=problem.task,
        space=problem.space,
        objectives=Objectives([item for item in problem.objectives if item.name in wanted]),
        scheduler=_scheduler(problem, arm, seed),
        searcher=_searcher(problem, arm, seed),
        pool=Pool("cpu", N_WORKERS, USD_PER_DEVICE_HOUR),
        seed=seed,
    )


def package_of(arm: Mapping[str, Any]) -> str | None:
    """Returns the package that the peer of an arm needs; None if it needs none."""
    return _PACKAGES.get(arm.get("peer", "").partition("_")[0])


def _scheduler(problem: Problem, arm: Mapping[str, Any], seed: int) -> Scheduler:
    last = problem.last
    kind, _, variant = arm.get("peer", "").partition("_")
    if kind == "synetune":
        from benchmarks.peers.replay_syne_tune import SyneTuneMOASHA

        return SyneTuneMOASHA(last, eta=float(Fraction(arm.get("eta", ETA))), is_repaired=variant == "repaired")
    if kind == "neps":
        from benchmarks.peers.replay_neps import NePSMOASHA

        return NePSMOASHA(last, eta=ETA, seed=seed)
    if kind == "optuna":
        return RunToEnd(last)
    return scheduler_from_settings({"name": "asha", **arm.get("scheduler", {}), "max_epochs": last})


def _searcher(problem: Problem, arm: Mapping[str, Any], seed: int) -> Searcher:
    kind, _, variant = arm.get("peer", "").partition("_")
    if kind == "optuna":
        from benchmarks.peers.replay_optuna import OptunaSearch

        return OptunaSearch(variant, problem.configs, seed, len(problem.objectives))
    if problem.table is not None and "prior" in arm:
        return _prior(problem.table, problem.task, arm, seed)
    if "scheduler" in arm and "tpe" not in arm:
        return Listed(problem.configs)
    return TPE(configs=problem.configs, **arm.get("tpe", {}))


def _prior(table: Table, task: str, arm: Mapping[str, Any], seed: int) -> Searcher:
    """Returns a cross-fitted prior from the tasks of the "other" network, or from those of the "same" one."""
    network, is_same = task.partition("-")[0], arm["prior"] == "same"
    tasks = [name for name in table.tasks if name != task and (name.partition("-")[0] == network) == is_same]
    options = arm.get("options", {})
    order = np.random.default_rng(seed).permutation(len(table.configs))
    halves = [sorted(order[::2].tolist()), sorted(order[1::2].tolist())]
    return CrossFitted(
        tuple(
            ParetoPrior.from_table(table, tasks, rows=known, configs=[table.configs[row] for row in drawn], **options)
            for drawn, known in (halves, halves[::-1])
        )
    )


class CrossFitted(Searcher):
    """Draws alternately from two priors. Each sees only the trials that it drew, under its own numbers."""

    name = "cross_fitted"

    def __init__(self, priors: tuple[ParetoPrior, ...]) -> None:
        self.priors = priors

    def check(self, space: SearchSpace) -> None:
        """Refuses a space that one of the priors refuses."""
        for prior in self.priors:
            prior.check(space)

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns the next draw of the prior whose turn it is, or of the other one if it has no draws left."""
        n = len(self.priors)
        for turn in (draw % n, (draw + 1) % n):
            own = [
                dataclasses.replace(trial, draw=trial.draw // n)
                for trial in history.trials
                if trial.draw is not None and trial.draw % n == turn
            ]
            config = self.priors[turn].propose(space, draw // n, seed, dataclasses.replace(history, trials=own))
            if config is not None:
                return config
        return None

    def settings(self) -> dict[str, Any]:
        """Returns the settings that identify it."""
        return {"name": self.name, "priors": [prior.digest for prior in self.priors]}
