"""Draws the pictures of the pages on rules, and of the gallery, into `docs/images`: `python docs/draw_pictures.py`.

Those of schedulers and searchers are simulated studies on synthetic curves (`lightning_hwtune.simulation.curves`), with
the real schedulers and searchers; `lightning_hwtune.views.plots` draws the learning curves. Those of the gallery are of
a study on formulas (`gallery_study`). Those of orders show the orders of `lightning_hwtune.core.ranking` on made-up
losses. The scaling model has the points of its page. A seed gives the same picture everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gallery_study import gallery_study
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_hwtune.core.hardware.catalogue import Catalogue
from lightning_hwtune.core.hardware.policies import DoublingAllocation
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingPoint
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.ranking.rung import RungRanking
from lightning_hwtune.core.ranking.soft_ranking import CrissCross, orders_agree
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
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.core.streams import stream
from lightning_hwtune.planning.comparison import Comparison, Wish
from lightning_hwtune.planning.deadline_choice import AtSpeeds
from lightning_hwtune.planning.figure import plan_figure
from lightning_hwtune.planning.job import Job, halving_stages
from lightning_hwtune.planning.nodes import NodeKind
from lightning_hwtune.planning.options import rented_options, with_spread
from lightning_hwtune.planning.seer import Halving
from lightning_hwtune.simulation.accounting import point
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.views.plots import FIGURES, ledger_figure
from lightning_hwtune.views.plots.canvas import DEVICE_COLORS, FAINT, INK, StudyFigure, tidy
from lightning_hwtune.views.plots.curves import curves_figure
from lightning_hwtune.views.plots.scaling import scaling_figure
from lightning_hwtune.views.plots.timeline import timeline_figure

GALLERY = [name for name in FIGURES if name != "ledger"]
IMAGES = Path(__file__).with_name("images")
MAX_EPOCHS, N_TRIALS, N_DRAWS, SEED = 27, 45, 60, 8
SPACE = SearchSpace(lr=Float(1e-4, 1e-1, log=True), dropout=Float(0.0, 0.5))
OBJECTIVES = Objectives([Metric("error", "min"), TrainSeconds()])
CURVES = SyntheticCurves(SPACE, MAX_EPOCHS, seed=SEED, crossing=0.4)

PROFILE = [ScalingPoint(*size) for size in ((1, 1, 256, 0.92), (1, 1, 64, 0.25), (4, 1, 256, 0.29), (8, 2, 256, 0.31))]

SPEEDS = {1: 1.0, 2: 1.98, 4: 3.67, 8: 5.51, 12: 7.54}

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
    save(orders_figure(), "orders")
    save(noise_figure(), "soft_ranking")
    save(ledger_figure(priced_study()), "ledger")
    gallery = gallery_study()
    for name in GALLERY:
        save(FIGURES[name](gallery), f"gallery_{name}")
    save(scaling_figure(ScalingModel.fit(PROFILE, devices_per_node=4), [1, 2, 4, 8, 16, 32]), "scaling")
    save(timeline_figure(doubling_study()), "allocation")
    save(plan_figure(rented_plans()), "plan")


def study(name: str, scheduler: Scheduler, searcher: Searcher, n_trials: int) -> StudyState:
    """Returns a finished study of four workers."""
    spec = StudySpec(name, SPACE, OBJECTIVES, scheduler, searcher, Pool("cpu", 4), seed=SEED)
    return simulate(spec, CURVES, Limits(max_trials=n_trials))


def priced_study() -> StudyState:
    """Returns a finished study on one machine with four GPUs, in which starting a segment takes a while."""
    pool = Pool(instance=Catalogue.builtin()["g4dn.12xlarge"])
    objectives = Objectives([Metric("error", "min"), Cost()])
    spec = StudySpec("digits", SPACE, objectives, ASHA(MAX_EPOCHS), Random(), pool, seed=SEED)
    curves = SyntheticCurves(SPACE, MAX_EPOCHS, seed=SEED, crossing=0.4, unit_s=60.0)
    return simulate(spec, curves, Limits(max_trials=N_TRIALS, max_cost_usd=3.0), start_s=40.0, restore_s=10.0)


def doubling_study() -> StudyState:
    """Returns a finished study of four devices whose promoted trials get twice as many."""
    policy, pool = DoublingAllocation(max_devices=4), Pool("cpu", 4)
    scheduler = ASHA(MAX_EPOCHS, first_rung=3)
    spec = StudySpec("doubling", SPACE, OBJECTIVES, scheduler, Random(), pool, seed=SEED, allocation=policy)
    curves = AtSpeeds(SyntheticCurves(SPACE, MAX_EPOCHS, seed=SEED, crossing=0.4, unit_s=60.0), SPEEDS)
    return simulate(spec, curves, Limits(max_trials=24), start_s=20.0, restore_s=10.0)


def rented_plans() -> Comparison:
    """Returns the plans of the first command on the page about plans."""
    job = Job(halving_stages(trials=81, max_units=81), 120.0, SPEEDS, 20.0)
    kind, wish = NodeKind.of(Catalogue.builtin()["g4dn.12xlarge"], most=16, launch_s=120.0), Wish(2400.0)
    halving = Halving.of(max_units=81, unit_s=120.0, speeds=SPEEDS, start_s=20.0)
    options = [with_spread(option, halving, kind, variation=1.5) for option in rented_options(job, kind, wish)]
    return Comparison(wish, options)


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


ORDERS = ("hypervolume_contribution", "farthest_first", "crowding", "weighted", "objective:0")
RUNG, QUOTA = 27, 9
BLUE, RED = DEVICE_COLORS[:2]


def orders_figure() -> Figure:
    """Returns one rung under each order: its fronts as lines, and who is among the first third."""
    losses = _rung()
    fronts = front_ranks(losses)
    figure = StudyFigure(figsize=(11.0, 6.6), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    for panel, within in zip(panels, (None, *ORDERS), strict=True):
        for front in range(int(fronts.max()) + 1):
            members = losses[fronts == front]
            across, up = members[members[:, 1].argsort()].T[::-1]
            panel.plot(across, up, color=FAINT if front else INK, linewidth=0.8, zorder=1)
        panel.scatter(losses[:, 1], losses[:, 0], s=26, color="white", edgecolors=INK, linewidths=0.7, zorder=2)
        if within is None:
            panel.set_title("fronts; front 0 is the dark line", loc="left", fontsize="medium")
        else:
            _mark_first(panel, losses, within)
        tidy(panel)
    for panel in panels[3:]:
        panel.set_xlabel("seconds")
    for panel in panels[::3]:
        panel.set_ylabel("error")
    return figure


def _rung() -> np.ndarray:
    """Made-up losses of a rung, error and seconds: crowded where training is short, and three that are far off."""
    rng = stream(SEED, "rung", 0)
    seconds = 4.0 + 40.0 * rng.beta(0.9, 1.8, RUNG)
    error = 0.08 + 1.1 / (1.0 + 0.25 * seconds) + rng.exponential(0.045, RUNG)
    return np.column_stack([error, seconds])


def _mark_first(panel: Axes, losses: np.ndarray, within: str) -> None:
    ranking = RungRanking(2, within)
    for trial_id, loss in enumerate(losses):
        ranking.insert(trial_id, loss)
    first = ranking.order()[:QUOTA]
    panel.scatter(losses[first, 1], losses[first, 0], s=46, color=BLUE, zorder=3)
    for place, trial_id in enumerate(first, start=1):
        at = losses[trial_id, ::-1]
        panel.annotate(str(place), at, xytext=(4, 4), textcoords="offset points", fontsize="small", color=INK, zorder=4)
    panel.set_title(within, loc="left", fontsize="medium")


LOWER, UPPER, N_CURVES = 3, 9, 7


def noise_figure() -> Figure:
    """Returns curves that cross by noise and curves that cross for good, and what the soft ranking makes of each."""
    figure = StudyFigure(figsize=(9.4, 6.6), layout="constrained")
    for row, (crossing, what) in zip(
        figure.subplots(2, 2), ((0.0, "noise only"), (0.5, "one starts slowly")), strict=True
    ):
        curves = _curves(crossing)
        criss_cross = CrissCross(1)
        for epoch in range(UPPER):
            for trial_id in range(N_CURVES):
                criss_cross.observe(trial_id, epoch + 1, curves[trial_id, epoch])
        lower, upper = curves[:, LOWER - 1], curves[:, UPPER - 1]
        [epsilon] = criss_cross.noise(above=LOWER)
        is_same = orders_agree(lower[:, None], upper[:, None], [epsilon])
        _draw_curves(row[0], curves, f"{what}: epsilon = {epsilon:.3f}")
        _draw_places(
            row[1], lower, upper, epsilon, "the same order: the ladder stays" if is_same else "another order: it grows"
        )
    return figure


def _curves(crossing: float) -> np.ndarray:
    """Made-up errors, shape `(N_CURVES, UPPER)`; with `crossing` one begins badly and ends well."""
    epochs, floors = np.arange(1, UPPER + 1), np.array([0.1, 0.11, 0.2, 0.21, 0.3, 0.31, 0.4])[:, None]
    curves = floors + 0.4 * epochs**-0.8 + 0.012 * stream(SEED, "noise", 8).standard_normal((N_CURVES, UPPER))
    curves[0] += crossing * np.exp(-(epochs - 1) / 2.5)
    return np.asarray(curves)


def _draw_curves(panel: Axes, curves: np.ndarray, title: str) -> None:
    for level in (LOWER, UPPER):
        panel.axvline(level, color=FAINT, linewidth=0.8, zorder=1)
    for number, curve in enumerate(curves):
        panel.plot(range(1, UPPER + 1), curve, marker=".", linewidth=1.0, color=RED if number == 0 else INK)
    panel.set_xticks([1, LOWER, UPPER])
    panel.set_xlabel("epochs; the two top rungs are 3 and 9")
    panel.set_ylabel("error")
    tidy(panel)
    panel.set_title(title, loc="left", fontsize="medium")


def _draw_places(panel: Axes, lower: np.ndarray, upper: np.ndarray, epsilon: float, title: str) -> None:
    places = np.arange(1, N_CURVES + 1)
    panel.errorbar(
        places, np.sort(lower), yerr=epsilon, fmt="none", ecolor=BLUE, capsize=5, label="there, within epsilon"
    )
    placed = upper.argsort(kind="stable")
    colors = [RED if trial_id == 0 else INK for trial_id in placed]
    panel.scatter(places, lower[placed], c=colors, s=30, zorder=3, label="who is there by the upper rung")
    panel.set_xlabel("place, from the best")
    panel.set_ylabel("error at the lower rung")
    tidy(panel)
    panel.legend(frameon=False, loc="upper left", fontsize="small")
    panel.set_title(title, loc="left", fontsize="medium")


def save(figure: Figure, name: str) -> None:
    """Writes a small PNG without a date in it."""
    figure.savefig(IMAGES / f"{name}.png", dpi=75, metadata={"Software": None})


if __name__ == "__main__":
    main()
