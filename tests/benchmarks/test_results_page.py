from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import overview_page, write_results

FOUND: dict[str, Any] = {
    "import_time": {"figures": {"import_s": 0.4, "has_torch": False}, "machine": "a machine", "seeds": []},
    "decisions": {
        "figures": {"us_2obj_cloud_10k": 99.5, "growth_exponent": 0.1, "one": {"trials": 4, "keys": ["a", "b"]}},
        "decisions": [{"objectives": 2, "shape": "cloud", "n": 100, "within": "crowding", "mean_us": 1.5}],
    },
}


def test_a_figure_stands_beside_its_target_and_is_bold_where_it_misses_it() -> None:
    page = write_results.page(FOUND)
    assert "| `import_s` | **0.4** | <= 0.3 |" in page
    assert "| `us_2obj_cloud_10k` | 99.5 | <= 100 |" in page
    assert "| `growth_exponent` | 0.1 |  |" in page
    assert "| `one: trials` | 4 |  |\n| `one: keys` | a, b |  |" in page
    assert "| 2 | cloud | 100 | crowding | 1.5 | - | - |" in page
    assert page.count("Not run yet.") == len(write_results.TITLES) - len(FOUND)


def test_the_searchers_and_the_fronts_have_a_table_for_each_case() -> None:
    ratio = {"median": 0.5, "low": 0.25, "high": 0.75}
    searchers = {"medians": {"branin, 1 at a time": {"default": 0.1, "random": 0.2}}, "figures": {}}
    fronts = {"figures": {}, "trials": 60, "groups": {"taskset": {"studies": 2, "chosen_error_p90_taskset": 0.05}}}
    page = write_results.page(
        {"searchers": {**searchers, "ratios": {"branin, 1 at a time": {"random": ratio}}}, "replay_fronts": fronts}
    )
    assert "| branin, 1 at a time | 0.1 | 0.2 |" in page
    assert "| branin, 1 at a time | 0.5 [0.25, 0.75] |" in page
    assert "| taskset | 2 | - | - | - | - | - | 0.05 |" in page


def test_a_prior_has_tables_of_gains_ratios_and_moved_optima() -> None:
    gain = {"mean_gain": 0.04, "interval_90": [0.02, 0.06], "tasks_worse_by_0.02": 1, "worst": -0.03, "by_task": {}}
    kind = {"hypervolume_without": {"at_5": 0.8}, "prior": {"at_5": gain}}
    one = {"best_at_60": 0.01, "decades_away_late": 0.2}
    document = {
        "figures": {"gain_at_5": 0.04, "moved_1_decades_away": 0.2},
        "partial": kind,
        "full": kind,
        "prior_over_default": {"lcbench": {"at_5": {"least": 0.9, "task": "3945", "median": 1.1}}},
        "moved": {"moved_by_1": {"prior": one, "random": one | {"best_at_60": 0.03}, "vs_random_at_60": 0.33}},
    }
    page = write_results.page({"transfer": document})
    assert "| `gain_at_5` | **0.04** | >= 0.05 |" in page
    assert page.count("| `prior` | 0.04 | [0.02, 0.06] | 1 | -0.03 |") == 2
    assert "| lcbench | 0.9 (3945) | 1.1 |" in page
    assert "| moved by 1 | `random` | 0.03 | 0.2 |" in page


@pytest.mark.parametrize(("value", "expected"), [(1.0, True), (0.5, False), (None, False)])
def test_a_target_is_met_at_its_bound(value: float | None, expected: bool) -> None:
    assert write_results.is_met(value, ">= 1") is expected


def test_the_committed_page_is_what_the_committed_results_say() -> None:
    found = {path.stem: json.loads(path.read_text()) for path in sorted(write_results.RESULTS.glob("*.json"))}
    assert write_results.PAGE.read_text() == write_results.page(found)


def test_the_page_begins_with_a_chart_and_what_was_found() -> None:
    spread = {"median": 8.52, "low": 7.4, "high": 10.7}
    arm = {"time": spread, "usd": spread | {"median": 9.3}}
    ahead = {f"tasks_ahead_of_{name}": 9 for name in ("synetune_repaired", "neps", "optuna")}
    replay = {"arms": {"as_it_comes": arm, "moasha": arm}, "tasks": {"a": {}, "b": {}}, "figures": ahead}
    told = overview_page.beginning(
        {"replay": replay, "crash": {"figures": {"kills": 20, "lost_reports": 0, "failed_trials": 1}}}
    )
    assert told[0].startswith("![")
    assert "On 2 replayed tasks" in told[1]
    assert "8.5 times sooner [7.4, 10.7]" in told[1]
    assert "9.3 times less money" in told[1]
    assert "killed 20 times, 0 reports were lost and 1 trials failed" in told[-1]
    assert overview_page.beginning(FOUND) == []
    [axes] = overview_page.speed_ups(replay).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ASHA on error, time and money", "default settings"]
    assert [bar.get_width() for bar in axes.patches] == [8.52, 8.52]
