"""The problems of `benchmarks/searchers.py`: five functions, and ASHA on synthetic curves with 10 and 20 parameters.

Each says how far a study is from the best: its *regret*, the least value found minus the true minimum, or with several
objectives its *missing hypervolume*, as a share of that of the true front. On synthetic curves the true front is
unknown, so the whole box between the best and the worst error and seconds counts, and seconds in their logarithm.

- branin: Dixon and Szego, "The global optimization problem: an introduction", 1978; two numbers.
- hartmann6: Hartman, "Some experiments in global optimization", 1973; six numbers.
- mixed: like the tuning of a network. The best learning rate depends on the optimizer, one of five unordered options;
  further an unordered activation, integers and numbers. The minimum is 0.
- zdt1: Zitzler, Deb and Thiele, "Comparison of multiobjective evolutionary algorithms", 2000; six numbers, two
  objectives, reference (1.1, 6.6).
- dtlz2: Deb, Thiele, Laumanns and Zitzler, "Scalable multi-objective optimization test problems", 2002; seven numbers,
  three objectives, reference 1.1 in each.
- asha_10, asha_20: 200 trials of `ASHA(max_epochs=27)`, error and seconds, so many numbers; crossing 0.3, no noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.ranking.hypervolume import hypervolume
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import History, Searcher
from lightning_hwtune.core.searchers.memory import Memory
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.streams import stream
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate

__all__ = ["ASHA_STUDIES", "FUNCTIONS", "Found", "Function", "asha_study", "function_study"]

Config = Mapping[str, Any]

N_TRIALS = 100
N_TRIALS_ASHA, MAX_EPOCHS, LEVELS = 200, 27, (1, 3, 9, 27)
N_RANDOM = 1_500  # configurations whose hypervolume a study is compared with


@dataclass(frozen=True, slots=True)
class Found:
    """What one study has found: see the module; `of_random` only on synthetic curves."""

    missing: float
    of_random: float | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A function to minimise. `reference` and `volume`: of the true front, for several objectives."""

    space: SearchSpace
    n_objectives: int
    value: Callable[[Config], Sequence[float]]
    minimum: float = 0.0
    reference: tuple[float, ...] = ()
    volume: float = 1.0

    def missing(self, losses: npt.NDArray[np.float64]) -> float:
        """Returns the regret or the missing hypervolume of losses, shape `(n_points, n_objectives)`."""
        if self.n_objectives == 1:
            return float(losses.min()) - self.minimum
        return 1 - hypervolume(losses, self.reference) / self.volume


def function_study(
    function: Function, searcher: Searcher, seed: int, at_a_time: int, n_trials: int = N_TRIALS
) -> Found:
    """Returns what a searcher finds; so many trials run at once, and the one that began first ends first."""
    objectives = Objectives([Metric(f"f{place}", "min") for place in range(function.n_objectives)])
    trials, memory = list[TrialRecord](), Memory()
    for draw in range(n_trials):
        if draw >= at_a_time:
            _end(trials[draw - at_a_time], function)
        config = searcher.propose(function.space, draw, seed, History(trials, objectives, memory=memory))
        if config is None:
            break
        trials.append(TrialRecord(draw, config, 0, 0, 1, 0.0, state=TrialState.RUNNING, draw=draw))
    return Found(function.missing(np.array([function.value(trial.config) for trial in trials])))


def _end(trial: TrialRecord, function: Function) -> None:
    values = {f"f{place}": value for place, value in enumerate(function.value(trial.config))}
    trial.measurements, trial.decided = [Measurement(1, values, 1.0, 1.0)], {1: "stop"}
    trial.state = TrialState.COMPLETED


def asha_study(
    n_parameters: int, searcher: Searcher, seed: int, at_a_time: int, n_trials: int = N_TRIALS_ASHA
) -> Found:
    """Returns what a searcher finds under ASHA; so many devices train at once."""
    space = SearchSpace({f"x{place}": Float(0, 1) for place in range(n_parameters)})
    curves = SyntheticCurves(space, MAX_EPOCHS, seed, crossing=0.3, noise=0.0)
    spec = StudySpec(
        name="searchers",
        space=space,
        objectives=Objectives([Metric("error", "min"), TrainSeconds()]),
        scheduler=ASHA(max_epochs=MAX_EPOCHS),
        searcher=searcher,
        pool=Pool("cpu", at_a_time),
        seed=seed,
    )
    state = simulate(spec, curves, Limits(max_trials=n_trials, finishers=0))
    losses = [spec.objectives.loss(m.values) for trial in state.trials for m in trial.measurements]
    of_random = [
        (curves.values(config, level)["error"], curves.elapsed_s(config, level, 1))
        for config in (space.sample(stream(seed, "reference", draw)) for draw in range(N_RANDOM))
        for level in LEVELS
    ]
    volume = _box_share(curves, np.array(losses))
    return Found(1 - volume, volume / _box_share(curves, np.array(of_random)))


def _box_share(curves: SyntheticCurves, losses: npt.NDArray[np.float64]) -> float:
    low = curves.best, math.log(curves.unit_s / 4)
    high = 0.9, math.log(curves.unit_s * 4 * curves.max_resource)
    scaled = np.column_stack([losses[:, 0], np.log(losses[:, 1])])
    return hypervolume((scaled - low) / np.subtract(high, low), (1.0, 1.0))


def branin(config: Config) -> tuple[float]:
    """Returns the function of two numbers with three minima of 0.397887."""
    x, y = config["x0"], config["x1"]
    bend = y - 5.1 * x * x / (4 * math.pi**2) + 5 * x / math.pi - 6
    return (bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10,)


_HEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_STEEPNESS = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_CENTRES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(config: Config) -> tuple[float]:
    """Returns the function of six numbers with six local minima, the least of them -3.32237."""
    x = np.array([config[f"x{place}"] for place in range(6)])
    return (-float(_HEIGHTS @ np.exp(-(_STEEPNESS * (x - _CENTRES) ** 2).sum(axis=1))),)


_BEST_LR = {
    "sgd": (-1.0, 0.15),
    "adam": (-3.0, 0.05),
    "adamw": (-3.5, 0.0),
    "rmsprop": (-4.0, 0.1),
    "lion": (-4.5, 0.05),
}
_ACTIVATION = {"relu": 0.03, "gelu": 0.0, "tanh": 0.1}


def mixed(config: Config) -> tuple[float]:
    """Returns a function like the error of a network, above its minimum."""
    best, extra = _BEST_LR[config["optimizer"]]
    off_lr = (math.log10(config["lr"]) - best) ** 2
    off_width, off_depth = (math.log2(config["width"] / 256) / 5) ** 2, ((config["depth"] - 4) / 7) ** 2
    off_dropout, off_decay = (config["dropout"] - 0.15) ** 2, ((math.log10(config["decay"]) + 3) / 5) ** 2
    smooth = 0.1 * off_lr + 0.2 * off_width + 0.1 * off_depth + 0.5 * off_dropout + 0.1 * off_decay
    return (extra + _ACTIVATION[config["activation"]] + smooth,)


def zdt1(config: Config) -> tuple[float, float]:
    """Returns two objectives with the front f2 = 1 - sqrt(f1)."""
    first, *rest = (config[f"x{place}"] for place in range(6))
    g = 1 + 9 * sum(rest) / len(rest)
    return first, g * (1 - math.sqrt(first / g))


def dtlz2(config: Config) -> tuple[float, float, float]:
    """Returns three objectives, whose front is an eighth of the unit sphere."""
    a, b, *rest = (config[f"x{place}"] for place in range(7))
    g = 1 + sum((x - 0.5) ** 2 for x in rest)
    a, b = a * math.pi / 2, b * math.pi / 2
    return g * math.cos(a) * math.cos(b), g * math.cos(a) * math.sin(b), g * math.sin(a)


def _cube(n: int) -> SearchSpace:
    return SearchSpace({f"x{place}": Float(0, 1) for place in range(n)})


_MIXED = SearchSpace(
    optimizer=Choice(list(_BEST_LR)),
    activation=Choice(list(_ACTIVATION)),
    lr=Float(1e-6, 1.0, log=True),
    width=Int(8, 2048, log=True),
    depth=Int(1, 8),
    dropout=Float(0.0, 0.8),
    decay=Float(1e-6, 1e-1, log=True),
)

FUNCTIONS: Mapping[str, Function] = {
    "branin": Function(SearchSpace(x0=Float(-5, 10), x1=Float(0, 15)), 1, branin, 0.397887),
    "hartmann6": Function(_cube(6), 1, hartmann6, -3.32237),
    "mixed": Function(_MIXED, 1, mixed),
    "zdt1": Function(_cube(6), 2, zdt1, reference=(1.1, 6.6), volume=5.6 + 2 / 3 + 0.66),
    "dtlz2": Function(_cube(7), 3, dtlz2, reference=(1.1, 1.1, 1.1), volume=1.1**3 - math.pi / 6),
}

ASHA_STUDIES: Mapping[str, int] = {"asha_10": 10, "asha_20": 20}
"""Name -> number of parameters."""
