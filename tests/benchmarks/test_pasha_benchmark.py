from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import pasha, pasha_figures
from lightning_hwtune.core.schedulers import ASHA


def row(speedup: float, loss: float, **more: Any) -> dict[str, Any]:
    own = {"seconds": 60.0, "started_s": 40.0, "rest_s": 20.0, "epochs": 90, "error": 0.1 + loss, "cap": 27}
    base = {"seconds": 60.0 * speedup, "started_s": 40.0, "rest_s": 0.0, "epochs": 180, "error": 0.1, "cap": 81}
    schedulers = {name for pair in pasha_figures.PAIRS.values() for name in pair}
    return {"studies": {name: base if name.startswith("asha") else own for name in schedulers}, **more}


def test_an_arm_is_summed_up_over_its_runs() -> None:
    found = pasha_figures.by_arm([row(1.0, 0.0), row(2.0, 0.02), row(4.0, -0.01), row(3.0, 0.0)])["floor"]
    assert (found["speedup"], found["median_loss"], found["share_losing_more"]) == (2.5, 0.0, 0.25)
    assert (found["speedup_started"], found["resource_ratio"]) == (1.0, 2.0)
    assert found["speedup_trained"] == 60 * 2.5 / 80  # the one that PASHA chose is still to be trained
    low, high = found["speedup_interval"]
    assert 1.0 <= low < 2.5 < high <= 4.0


def test_a_diverged_selection_counts_as_a_loss() -> None:
    assert pasha_figures.by_arm([row(1.0, float("inf"))])["floor"]["share_losing_more"] == 1.0


def test_the_half_of_the_cells_that_settles_first_is_settled() -> None:
    rows = [
        [row(speedup, 0.0, settles_at=at, rank_correlation=0.95)] * 3
        for speedup, at in ((3.0, 9), (1.5, 9), (1.0, 81), (1.0, 27))
    ]
    cells = [
        pasha_figures.cell(243, crossing, 0.01, each) for crossing, each in zip((0.0, 0.2, 0.6, 0.4), rows, strict=True)
    ]
    found = pasha_figures.synthetic(cells, rows)
    assert [each["settled"] for each in found["grid"]] == [True, True, False, False]
    assert (found["settled"]["floor"]["speedup"], found["others"]["floor"]["speedup"]) == (2.25, 1.0)
    assert found["settled_cells_at_least_2"]["floor"] == 1
    assert found["settled_by_noise"]["0.01"]["floor"] == 2.25
    assert found["losses_where_correlated"]["floor"] == [0.0] * 4
    assert found["settled_with_noiseless"] == found["settled"]


def test_curves_without_noise_are_a_group_of_their_own() -> None:
    places = list(itertools.product((0.0, 0.5), (0.0, 0.01)))
    rows = [[row(speedup, 0.0, settles_at=9, rank_correlation=0.95)] * 2 for speedup in (1.0, 3.0, 1.0, 2.0)]
    cells = [pasha_figures.cell(243, *place, each) for place, each in zip(places, rows, strict=True)]
    found = pasha_figures.synthetic(cells, rows)
    assert [each["settled"] for each in found["grid"]] == [False, True, False, False]
    assert (found["settled"]["floor"]["speedup"], found["others"]["floor"]["speedup"]) == (3.0, 2.0)
    assert (found["noiseless"]["floor"]["speedup"], found["settled_with_noiseless"]["floor"]["speedup"]) == (1.0, 2.0)
    assert list(found["settled_by_noise"]) == ["0.01"]


def test_curves_settle_where_the_order_stays() -> None:
    final = np.arange(20.0)
    assert pasha.settles_at((1, 3, 9), [-final, final, final]) == 3
    assert pasha.settles_at((1, 3, 9), [final, -final, final]) == 9
    assert pasha.settles_at((1, 3, 9), [final, final, final]) == 1


def test_several_objectives_lose_a_share_of_hypervolume() -> None:
    rows = [{"speedup": s, "partial": p, "trained": 1.0, "cap": 9} for s, p in ((1.0, 1.0), (2.0, 0.99), (3.0, 0.9))]
    found = pasha_figures.several(rows)
    assert (found["speedup"], found["hv_loss_median"], found["trained_hv_loss_median"]) == (2.0, 0.01, 0.0)


@pytest.fixture
def few_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pasha, "N_TRIALS", 30)
    monkeypatch.setattr(pasha, "LIMITS", pasha.Limits(max_trials=30, finishers=0))


@pytest.mark.usefixtures("few_trials")
@pytest.mark.parametrize("crossing", [0.0, 1.0])
def test_a_synthetic_row_compares_all_schedulers(crossing: float) -> None:
    found = pasha.on_synthetic(27, crossing, 0.0, seed=1)
    assert {name for pair in pasha_figures.PAIRS.values() for name in pair} == set(found["studies"])
    assert found["studies"]["cap_floor"] == found["studies"]["asha_floor"]
    assert (found["settles_at"] <= 3) == (crossing == 0)
    assert (found["rank_correlation"] > 0.9) == (crossing == 0)
    assert all(study["cap"] in ASHA(27, first_rung=1).levels for study in found["studies"].values())


@pytest.mark.usefixtures("few_trials")
def test_a_whole_ladder_without_the_authors_quota_is_asha() -> None:
    curves = pasha.SyntheticCurves(pasha.SPACE, 81, seed=2)
    objectives = pasha.Objectives(pasha.Metric("error", "min"))

    def decided(scheduler: pasha.Scheduler) -> list[tuple[float, tuple[int, ...]]]:
        spec = pasha.study(scheduler, pasha.SPACE, objectives, pasha.Random(), 0)
        state = pasha.simulate(spec, curves, pasha.LIMITS)
        return [(state.last_at, tuple(trial.decided)) for trial in state.trials]

    assert decided(pasha.WholeLadder(81, quota="floor")) == decided(ASHA(81, first_rung=1))
    assert decided(pasha.WholeLadder(81, quota="quantile")) != decided(ASHA(81, first_rung=1))


def test_the_noise_of_curves_is_found_again() -> None:
    noise = np.random.default_rng(0).normal(0, 0.004, size=(400, 30, 1))
    errors = np.linspace(0.9, 0.4, 400)[:, None, None] + np.linspace(0.5, 0.0, 30)[:, None] + noise
    table = SimpleNamespace(tasks=["one"], columns=["error"], curves=lambda _: SimpleNamespace(losses=errors))
    found = pasha.measured_noise(table)
    to_learn = np.median(errors[:, 0]) - errors[:, -1].min()
    assert found["p50"] == pytest.approx(0.004 / to_learn, rel=0.1)
