from __future__ import annotations

import pytest

from benchmarks.first_study import Times, figures


def test_figures_are_medians_of_the_ratios_within_a_round() -> None:
    rounds = [
        {"ours": Times(ours, 20.0), "ours_unchecked": Times(4.0, 15.0), "optuna": Times(optuna, 25.0)}
        for ours, optuna in ((10.0, 8.0), (12.0, 12.0), (30.0, 10.0))
    ]
    assert figures(rounds) == {
        "first_value_ratio": pytest.approx(1.25),
        "first_value_ratio_without_check": pytest.approx(0.4),
        "whole_ratio": pytest.approx(0.8),
    }


def test_ray_is_compared_where_it_ran() -> None:
    found = figures([{name: Times(2.0, 4.0) for name in ("ours", "ours_unchecked", "optuna", "ray")}])
    assert found["first_value_ratio_vs_ray"] == found["whole_ratio_vs_ray"] == 1.0
