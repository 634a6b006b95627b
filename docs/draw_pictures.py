"""Draws the pictures of the pages on schedulers and searchers into `docs/images`: `python docs/draw_pictures.py`.

Each is a simulated study on synthetic curves (`lightning_hwtune.engine.curves`), decided by the parts themselves; the
learning curves are drawn by `lightning_hwtune.report.plots`. A seed gives the same picture everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import (
    ASHA,
    PASHA,
    Hyperband,
    MedianStopping,
    RunToEnd,
    Scheduler,
    SuccessiveHalving,
)
from lightning_hwtune.core.searchers import TPE, Grid, ParetoPrior, Random, Searcher, Sobol
from lightning_hwtune.core.searchers.earlier import EarlierTask
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.core.streams import stream
from lightning_hwtune.engine.curves import SyntheticCurves
from lightning_hwtune.engine.replay import point
from lightning_hwtune.engine.simulated import simulate
from lightning_hwtune.report.plots.canvas import INK, StudyFigure, tidy
from lightning_hwtune.report.plots.curves import curves_figure

IMAGES = Path(__file__).with_name("images")
MAX_EPOCHS, N_TRIALS, N_DRAWS, SEED = 27, 45, 60, 8
SPACE = SearchSpace(lr=Float(1e-4, 1e-1, log=True), dropout=Float(0.0, 0.5))
OBJECTIVES = Objectives([Metric("error", "min"), TrainSeconds()])
CURVES = SyntheticCurves(SPACE, MAX_EPOCHS, seed=SEED, crossing=0.4)

SCHEDULERS: dict[str, Scheduler] = {
    "asha": ASHA(MAX_EPOCHS),
    "pasha": PASHA(MAX_EPOCHS),
    "successive_halving": SuccessiveHalving(MAX_EPOCHS),
    "hyperband": Hyperband(MAX_EPOCHS),
    "median_stopping": MedianStopping(MAX_EPOCHS, every=5),
    "run_to_end": RunToEnd(MAX_EPOCHS),
}


def searchers() -> dict[str, Searcher]:
    """Returns the searchers; the prior knows 60 configurations of a task with the same functions and longer epochs."""
    earlier = SyntheticCurves(SPACE, MAX_EPOCHS, seed=SEED, crossing=0.6, unit_s=40.0)
    configs = [SPACE.sample(stream(SEED, "earlier", number)) for number in range(N_DRAWS)]
    losses = [OBJECTIVES.loss(point(earlier, config, MAX_EPOCHS, 1)) for config in configs]
    prior = ParetoPrior([EarlierTask.of("earlier", configs, np.array(losses))], OBJECTIVES)
    return {"random": Random(), "sobol": Sobol(), "grid": Grid(), "tpe": TPE(), "prior": prior}


def main() -> None:
    """Draws all pictures."""
    for name, scheduler in SCHEDULERS.items():
        save(curves_figure(study(name, scheduler, Random(), N_TRIALS)), f"scheduler_{name}")
    for name, searcher in searchers().items():
        save(draws_figure(study(name, ASHA(MAX_EPOCHS), searcher, N_DRAWS)), f"searcher_{name}")


def study(name: str, scheduler: Scheduler, searcher: Searcher, n_trials: int) -> StudyState:
    """Returns a finished study of four workers."""
    spec = StudySpec(name, SPACE, OBJECTIVES, scheduler, searcher, Pool("cpu", 4), seed=SEED)
    return simulate(spec, CURVES, Limits(max_trials=n_trials))


def draws_figure(state: StudyState) -> Figure:
    """Returns where a study's configurations lie, the later the darker, over the error after the full training."""
    figure = StudyFigure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    rates, dropouts = np.geomspace(1e-4, 1e-1, 60), np.linspace(0.0, 0.5, 60)
    errors = [[_final_error(rate, dropout) for rate in rates] for dropout in dropouts]
    field = axes.contourf(rates, dropouts, errors, levels=12, cmap="Blues_r", alpha=0.55)
    figure.colorbar(field, ax=axes, label="error after the full training, lower is better")
    draws = [trial.config for trial in state.trials]
    shades: Sequence[float] = np.linspace(0.75, 0.0, len(draws)).tolist()
    axes.scatter(
        [config["lr"] for config in draws],
        [config["dropout"] for config in draws],
        c=[str(shade) for shade in shades],
        edgecolors=INK,
        linewidths=0.6,
        s=24,
    )
    axes.set_xscale("log")
    axes.set_xlabel("lr")
    axes.set_ylabel("dropout")
    tidy(axes)
    axes.set_title(f"{state.spec.name}: {len(draws)} draws, the later the darker", loc="left", fontsize="medium")
    return figure


def _final_error(rate: float, dropout: float) -> float:
    floor, half, power, _ = CURVES.traits({"lr": float(rate), "dropout": float(dropout)})
    return float(floor + (0.9 - floor) * (1 + MAX_EPOCHS / half) ** -power)


def save(figure: Figure, name: str) -> None:
    """Writes a small PNG without a date in it."""
    figure.savefig(IMAGES / f"{name}.png", dpi=75, metadata={"Software": None})


if __name__ == "__main__":
    main()
