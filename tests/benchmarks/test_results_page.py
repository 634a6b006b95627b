from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import write_results

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


@pytest.mark.parametrize(("value", "expected"), [(1.0, True), (0.5, False), (None, False)])
def test_a_target_is_met_at_its_bound(value: float | None, expected: bool) -> None:
    assert write_results.is_met(value, ">= 1") is expected


def test_the_committed_page_is_what_the_committed_results_say() -> None:
    found = {path.stem: json.loads(path.read_text()) for path in sorted(write_results.RESULTS.glob("*.json"))}
    assert write_results.PAGE.read_text() == write_results.page(found)
