from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import readme_table, write_results


def speed(median: float) -> dict[str, float]:
    return {"median": median, "low": median - 0.5, "high": median + 0.5}


def arm(median: float, arrived: float = 1) -> dict[str, Any]:
    return {"time": speed(median), "usd": speed(median + 1), "arrived": arrived}


ARMS = {"as_it_comes": arm(8.0), "asha_error": arm(2.0, 0.9), "moasha": arm(4.0), "moasha_tpe": arm(9.0)}
ARMS |= {"prior_other": arm(6.0), "prior_same": arm(11.0)}
DOCUMENT: dict[str, Any] = {
    "arms": ARMS,
    "curves": {"all": {}, "cnn-60000": {}, "rnn-60000": {}},
    "tasks": {"cnn-1000": ARMS, "cnn-60000": ARMS, "rnn-60000": {**ARMS, "as_it_comes": arm(5.0)}},
}


def test_default_settings_come_first_with_the_tasks_on_which_nothing_was_chosen() -> None:
    text = readme_table.block(DOCUMENT)
    assert text is not None
    lines = text.splitlines()
    assert lines[2] == "| **default settings** | 8.0x [7.5, 8.5] | 9.0x |"
    assert lines[3] == "| chosen settings: ASHA on the error alone | 2.0x [1.5, 2.5], in 90 % of runs | 3.0x |"
    assert len(lines) == 10
    assert "**No setting was chosen on `cnn-60000` and `rnn-60000`.** There, default settings are 8.0x" in lines[-1]
    assert "and 5.0x [4.5, 5.5] sooner" in lines[-1]
    assert "chosen on the other 1 tasks" in lines[-1]


def test_only_the_part_between_the_comments_is_replaced() -> None:
    text = f"before\n{readme_table.BEGIN}\n\nold\n\n{readme_table.END}\nafter\n"
    found = readme_table.replaced(text, DOCUMENT)
    assert found.startswith(f"before\n{readme_table.BEGIN}\n\n| |")
    assert found.endswith(f"{readme_table.END}\nafter\n")
    assert "old" not in found
    assert readme_table.replaced(found, DOCUMENT) == found


def test_a_missing_arm_is_left_out_and_without_the_default_nothing_is_written() -> None:
    fewer = {**DOCUMENT, "arms": {name: found for name, found in ARMS.items() if name != "prior_same"}}
    assert (readme_table.block(fewer) or "").count("chosen settings:") == 4
    older = {**DOCUMENT, "arms": {name: found for name, found in ARMS.items() if name != "as_it_comes"}}
    assert readme_table.replaced("text", older) == "text"
    with pytest.raises(ValueError, match=r"README\.md lacks"):
        readme_table.replaced("text", DOCUMENT)


def test_the_committed_table_is_what_the_committed_results_say() -> None:
    document = json.loads((write_results.RESULTS / "replay.json").read_text())
    text = write_results.README.read_text()
    assert readme_table.BEGIN in text
    assert readme_table.replaced(text, document) == text
