from __future__ import annotations

import pytest

from benchmarks.overhead import Run, figures
from benchmarks.peers.workload import BATCH_SIZES, DEPTHS, DROPOUTS, LEARNING_RATES, VARIABLE, WIDTHS, Workload


def run(contender: str, wall_s: float, epochs: int = 100, **more: float) -> Run:
    return Run(contender, wall_s, 2 * wall_s - 4.0, wall_s - 1.0, 5.0, epochs, 40, wall_s / 10, 1000.0 + wall_s, more)


def test_ratios_are_taken_within_a_round_and_figures_are_medians() -> None:
    slow = [run("ours", 60.0, overhead_share=share, idle_with_work_share=share / 10) for share in (0.09, 0.05, 0.07)]
    rounds = [
        {"ours": run("ours", ours), "ray_tune": run("ray_tune", ray), "ours_2s_epochs": one}
        for ours, ray, one in zip((10.0, 20.0, 12.0), (40.0, 40.0, 30.0), slow, strict=True)
    ]
    found = figures(rounds)
    assert found["wall_ratio_vs_ray"] == 0.4
    assert found["run_ratio_vs_ray"] == pytest.approx(11 / 29)
    assert found["overhead_per_trial_s"] == 1.2
    assert found["peak_pss_mb"] == 1012.0
    assert found["overhead_share_2s_epochs"] == 0.07
    assert found["idle_with_work_share"] == pytest.approx(0.007)
    assert not any("optuna" in name or "like_for_like" in name for name in found)


def test_the_comparison_under_one_rule_is_of_whole_walls_and_of_walls_per_epoch() -> None:
    slow = run("ours", 60.0, overhead_share=0.1, idle_with_work_share=0.0)
    rounds = [
        {
            "ours": run("ours", 5.0),
            "ours_stopping": run("ours_stopping", ours, epochs=200),
            "optuna_pruner": run("optuna_pruner", 20.0, epochs=250),
            "bare": run("bare", 100.0),
            "ours_2s_epochs": slow,
        }
        for ours in (10.0, 15.0, 11.0)
    ]
    found = {name: value for name, value in figures(rounds).items() if name.startswith("like_for_like")}
    assert found == {
        "like_for_like_vs_optuna": pytest.approx(11 / 20),
        "like_for_like_per_epoch_vs_optuna": pytest.approx((11 / 200) / (20 / 250)),
        "like_for_like_cpu_vs_optuna": pytest.approx(18 / 36),
        "like_for_like_overhead_per_trial_s": pytest.approx(1.1),
    }


def workload(**changes: object) -> Workload:
    settings = {"n_trials": 30, "seed": 0, "max_epochs": 27, "eta": 3, "n_workers": 2, "epoch_s": 0.0, "folder": "x"}
    return Workload(**{**settings, **changes})  # type: ignore[arg-type]


def test_configurations_are_the_same_for_everybody_and_lie_in_the_space() -> None:
    configs = workload().configs()
    assert configs == workload(max_epochs=9, folder="y").configs()
    assert configs != workload(seed=1).configs()
    assert configs[:10] == workload(n_trials=10).configs()
    for config in configs:
        assert LEARNING_RATES[0] <= config["lr"] <= LEARNING_RATES[1]
        assert WIDTHS[0] <= config["width"] <= WIDTHS[1]
        assert DEPTHS[0] <= config["depth"] <= DEPTHS[1]
        assert DROPOUTS[0] <= config["dropout"] <= DROPOUTS[1]
        assert config["batch_size"] in BATCH_SIZES


def test_a_workload_travels_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = workload(epoch_s=2.0)
    monkeypatch.setenv(VARIABLE, sent.environment()[VARIABLE])
    assert Workload.current() == sent
