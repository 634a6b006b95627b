"""The benchmark of the scaling model, on applications whose step times are known."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import scaling
from benchmarks.rules_page import scaling_details
from lightning_hwtune.core.hardware.scaling.step_time import StepTime

GROWING = StepTime(0.02, 0.0007, 0.0, 0.02, 0.2, 1.6, 0.0, 0.0, 0.0, 0.7, 0.02)
STEP_TIMES = {
    "audio": GROWING,
    "text": dataclasses.replace(GROWING, fixed_s=0.2, per_sample_s=0.002, node_s=0.8),
    "video": dataclasses.replace(GROWING, fixed_s=0.05, per_sample_s=0.005, local_s=0.1, node_s=0.5),
    "clicks": dataclasses.replace(GROWING, per_sample_s=0.0001, node_s=0.1),
}
ALL_SIZES = [(1, 1), (2, 1), (4, 1), scaling.PROBE, *scaling.SIZES]


def application(name: str, batches: tuple[int, ...] = (16, 32, 64, 128, 256)) -> scaling.Application:
    """Returns an application with exact measurements."""
    step_time, shares = STEP_TIMES[name], np.array(batches, dtype=float)
    steps = {}
    for devices, nodes in ALL_SIZES:
        seconds = step_time.seconds(devices, nodes, shares)
        steps[devices, nodes] = (shares, seconds, seconds - step_time.computing(shares))
    return scaling.Application(name, [1536, 3072, 6144], steps)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    apps = [application(name) for name in STEP_TIMES]
    shapes = scaling.learned_shapes(apps)
    return [row for app in apps for row in scaling.rows_of(app, shapes[app.name])]


def test_applications_that_follow_the_formula_are_predicted_and_the_laws_are_not_as_near(
    rows: list[dict[str, object]],
) -> None:
    found = scaling.figures(rows)
    assert {row["app"] for row in rows} == set(STEP_TIMES)
    assert {row["devices"] for row in rows} == {devices for devices, _ in scaling.SIZES}
    assert (found["median_error"], found["p90_error"]) < (0.05, 0.1)
    assert found["median_error_constant"] > 2 * found["median_error"]
    assert found["median_error_linear"] > found["median_error_amdahl"] > 0.05
    parts = scaling.parts(rows)
    assert parts[0]["model"][0] == pytest.approx(found["median_error"], abs=1e-3)
    assert sum(part["sizes"] for part in parts if part["part"] in STEP_TIMES) == parts[0]["sizes"] == len(rows)
    table = scaling_details({"parts": parts})[1]
    assert table.count("\n") == len(parts) + 1


@pytest.mark.parametrize("name", STEP_TIMES)
def test_one_node_alone_is_refused(name: str) -> None:
    assert scaling.is_refused(application(name))


def test_a_batch_that_does_not_fit_is_accumulated_and_one_that_was_not_measured_left_out() -> None:
    app = application("audio")
    one = float(GROWING.computing(256))
    assert app.measured_s(1, 1, 1024) == pytest.approx(4 * one)
    assert app.measured_s(16, 4, 16 * 512) == pytest.approx(float(GROWING.seconds(16, 4, 256)) + one)
    assert app.measured_s(16, 4, 16 * 48) == pytest.approx(float(np.mean(GROWING.seconds(16, 4, np.array([32, 64])))))
    assert app.measured_s(16, 4, 16 * 8) is None
    assert app.measured_s(12, 3, 1024) is None
    assert app.measured_s(20, 5, 20 * 16) is None


@pytest.mark.parametrize(
    ("speed_ups", "devices", "expected"),
    [
        ({8: 4.0}, 16, 16 / (1 + 15 / 7)),  # Amdahl: 8 / 4 - 1 = 7 a
        ({2: 2.0, 4: 4.0}, 16, 16.0),
        ({2: 2.5, 4: 5.0}, 8, 8.0),  # faster than linear counts as linear
    ],
)
def test_amdahls_law(speed_ups: dict[int, float], devices: int, expected: float) -> None:
    assert scaling.law(speed_ups, devices, with_crosstalk=False) == pytest.approx(expected)


def test_the_universal_law_finds_its_own_numbers() -> None:
    exact = {n: n / (1 + 0.05 * (n - 1) + 0.01 * n * (n - 1)) for n in (2, 4, 8, 16)}
    measured = {n: exact[n] for n in (2, 4, 8)}
    assert scaling.law(measured, 16, with_crosstalk=True) == pytest.approx(exact[16])


def test_the_files_are_read_full_nodes_only(tmp_path: Path) -> None:
    columns = ["app", "placement", "local_bsz", "step_time", "sync_time", "num_nodes", "num_replicas"]
    placed = [("a", "1", 8, 0.2, 0.0, 1, 1), ("a", "1", 4, 0.1, 0.0, 1, 1), ("a", "3", 4, 0.2, 0.1, 1, 3)]
    placed += [("a", "44", 4, 0.3, 0.2, 2, 8), ("a", "34", 4, 0.9, 0.2, 2, 7)]
    pd.DataFrame(placed, columns=columns).to_parquet(tmp_path / "pollux_placements.parquet")
    large = pd.DataFrame([("a", "", 4, 0.4, 0.2, 6, 24)], columns=columns).drop(columns="placement")
    large.to_parquet(tmp_path / "pollux_scalability.parquet")
    pd.DataFrame({"app": ["a", "a", "b"], "batch_size": [64, 32, 9]}).to_parquet(tmp_path / "pollux_validation.parquet")
    (app,) = scaling.applications(tmp_path)
    assert app.global_batches == [32, 64]
    assert set(app.steps) == {(1, 1), (3, 1), (8, 2), (24, 6)}
    assert app.steps[1, 1][0].tolist() == [4, 8]


def test_without_the_measurements_the_script_ends_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HWTUNE_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match="set HWTUNE_DATA"):
        scaling.folder()
