"""The densities of TPE and of BOHB: they integrate to 1, samples follow them, and nothing is locked out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import trapezoid

from lightning_hwtune.core.searchers.cells import Cells
from lightning_hwtune.core.searchers.kernels import Kernels
from lightning_hwtune.core.searchers.new_configs import Untried
from lightning_hwtune.core.searchers.reference_kernels import ReferenceKernels
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace

SPACE = SearchSpace(x=Float(0, 1), kind=Choice(["a", "b", "c"]))
CELLS = Cells(SPACE)
GRID = np.linspace(0, 1, 2001)
BOTH = pytest.mark.parametrize("kind", [Kernels, ReferenceKernels])
Density = type[Kernels] | type[ReferenceKernels]


def curves(kernels: Kernels | ReferenceKernels) -> np.ndarray:
    """The density along x for each option, shape (3, len(GRID))."""
    rows = [np.column_stack([GRID, np.full_like(GRID, option)]) for option in range(3)]
    return np.exp([kernels.log_density(at) for at in rows])


def points(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return CELLS.rows([SPACE.sample(rng) for _ in range(n)])


@BOTH
@given(seed=st.integers(0, 10**6), n=st.integers(1, 8))
@settings(max_examples=20, deadline=None)
def test_densities_sum_to_one(kind: Density, seed: int, n: int) -> None:
    total = trapezoid(curves(kind(CELLS, points(seed, n))).sum(axis=0), GRID)
    assert total == pytest.approx(1.0, abs=1e-4)


@given(seed=st.integers(0, 10**6), n=st.integers(0, 8))
@settings(max_examples=20, deadline=None)
def test_marginals_are_what_the_density_leaves_of_one_parameter(seed: int, n: int) -> None:
    kernels = Kernels(CELLS, points(seed, n))
    joint = curves(kernels)
    of_x = np.exp(kernels.log_marginals(np.column_stack([GRID, np.zeros_like(GRID)])))[:, 0]
    assert of_x == pytest.approx(joint.sum(axis=0))
    of_kind = np.exp(kernels.log_marginals(np.column_stack([np.zeros(3), np.arange(3)])))[:, 1]
    assert of_kind == pytest.approx(trapezoid(joint, GRID, axis=1), abs=1e-4)


THREE = CELLS.rows([{"x": 0.02, "kind": "a"}, {"x": 0.9, "kind": "a"}, {"x": 0.5, "kind": "c"}])


@pytest.mark.parametrize("draw", [Kernels.sample, Kernels.sample_marginals, ReferenceKernels.sample])
def test_samples_follow_the_density(draw: Callable[..., np.ndarray]) -> None:
    kernels = ReferenceKernels(CELLS, THREE) if draw is ReferenceKernels.sample else Kernels(CELLS, THREE)
    drawn = draw(kernels, np.random.default_rng(0), 4000)
    density = curves(kernels).sum(axis=0)
    cdf = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(GRID))])
    assert stats.kstest(drawn[:, 0], lambda x: np.interp(x, GRID, cdf)).pvalue > 0.01
    shares = trapezoid(curves(kernels), GRID, axis=1)
    assert [float(np.mean(drawn[:, 1] == option)) for option in range(3)] == pytest.approx(shares, abs=0.03)


@pytest.mark.parametrize(
    ("xs", "widths"),
    [
        ([0.5], [1.0]),
        ([0.1, 0.5], [0.4, 0.4]),
        ([0.5, 0.1, 0.9, 0.2], [0.4, 1 / 6, 0.4, 0.3]),  # the first end has its only neighbour, but at least 1 / 6
        ([0.3, 0.3, 0.3], [0.2, 0.2, 0.2]),
    ],
)
def test_a_bandwidth_is_the_longer_way_to_a_neighbour(xs: list[float], widths: list[float]) -> None:
    space = SearchSpace(x=Float(0, 1))
    kernels = Kernels(Cells(space), np.array(xs)[:, None])
    factors = kernels.columns[0].log_factors(GRID)
    for place, (x, width) in enumerate(zip([*xs, 0.5], [*widths, 1.0], strict=True)):  # the last one is the prior
        expected = stats.truncnorm(-x / width, (1 - x) / width, x, width).logpdf(GRID)
        assert factors[:, place] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n", [1, 10, 100])
@pytest.mark.parametrize("n_options", [2, 5, 50])
def test_nothing_is_locked_out_when_all_points_are_the_same(n: int, n_options: int) -> None:
    space = SearchSpace(x=Float(0, 1), kind=Choice([f"option {i}" for i in range(n_options)]), devices=NumDevices(1, 2))
    cells = Cells(space)
    kernels = Kernels(cells, cells.rows([{"x": 0.1, "kind": "option 0", "devices": 1}] * n))
    elsewhere = cells.rows([{"x": 0.9, "kind": "option 1", "devices": 2}])
    prior = math.log(1 / n_options) + stats.truncnorm(-0.5, 0.5, 0.5, 1).logpdf([0.9, 0.75]).sum()
    assert kernels.log_density(elsewhere)[0] >= prior - math.log(n + 1) - 1e-9


@pytest.mark.parametrize("parameter", [Int(1, 5), Int(1, 100, log=True), Choice([1, 2, 4]), NumDevices(1, 2, 4)])
def test_cells_are_snapped_to_values(parameter: Int | Choice | NumDevices) -> None:
    space = SearchSpace(p=parameter, x=Float(2, 3), kind=Choice(["a", "b"]))
    cells, rng = Cells(space), np.random.default_rng(0)
    rows = np.column_stack([rng.random((50, 2)), rng.integers(2, size=50)])
    snapped = cells.snapped(rows)
    configs = [cells.config(row) for row in rows.tolist()]
    assert cells.rows(configs) == pytest.approx(snapped, abs=1e-9)
    assert [space.validate(config) for config in configs] == configs


CONDITIONAL = SearchSpace(
    x=Float(0, 1, when={"kind": ["a", "c"]}), kind=Choice(["a", "b", "c"]), part=Choice(["p", "q"], when={"kind": "c"})
)


@given(seed=st.integers(0, 10**6), n=st.integers(0, 8))
@settings(max_examples=20, deadline=None)
def test_densities_of_a_space_with_conditions_sum_to_one(seed: int, n: int) -> None:
    cells, rng = Cells(CONDITIONAL), np.random.default_rng(seed)
    kernels = Kernels(cells, cells.rows([CONDITIONAL.sample(rng) for _ in range(n)]))
    full, absent = np.ones_like(GRID), np.full_like(GRID, math.nan)
    a, c_p, c_q = (np.column_stack([GRID, full * kind, part]) for kind, part in ((0, absent), (2, 0 * full), (2, full)))
    integral = sum(trapezoid(np.exp(kernels.log_density(rows)), GRID) for rows in (a, c_p, c_q))
    [b] = np.exp(kernels.log_density(cells.rows([{"kind": "b"}])))
    assert integral + b == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("n", [3, 40, 1500])
def test_listed_configurations_are_drawn_by_place_and_encoded_once(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(0)
    listed, other = ([CONDITIONAL.sample(drawn) for _ in range(n)] for _ in range(2))
    cells, seen, row = Cells(CONDITIONAL), list[object](), Cells.row
    monkeypatch.setattr(Cells, "row", lambda self, config: seen.append(config) or row(self, config))
    untried = Untried.of(CONDITIONAL, listed, [])
    places = untried.some_places(np.random.default_rng(1), 20)
    assert [listed[place] for place in places] == untried.some(np.random.default_rng(1), 20)
    assert len(set(places)) == min(n, 20)
    for configs in (listed, listed, other):
        expected = np.array([row(cells, configs[place]) for place in places])
        assert cells.rows_at(configs, places) == pytest.approx(expected, nan_ok=True)
    assert len(seen) == 2 * len(places)
