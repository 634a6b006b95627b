from __future__ import annotations

from pathlib import Path

from benchmarks.kept_rows import kept_rows


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    found: list[int] = []

    def find(seed: int) -> dict[str, int]:
        if seed == 2 and found.count(1) == 1:
            found.append(1)
            raise KeyboardInterrupt
        found.append(seed)
        return {"square": seed * seed}

    try:
        kept_rows(tmp_path, "table/task", {"trials": 3}, range(4), find)
    except KeyboardInterrupt:
        found.append(-1)
    rows = kept_rows(tmp_path, "table/task", {"trials": 3}, range(4), find)
    assert rows == [{"square": n * n} for n in range(4)]
    assert found == [0, 1, 1, -1, 2, 3]


def test_rows_of_other_settings_are_found_anew(tmp_path: Path) -> None:
    kept_rows(tmp_path, "part", {"trials": 3}, [0], lambda seed: {"value": 1})
    assert kept_rows(tmp_path, "part", {"trials": 3}, [0], lambda seed: {"value": 2}) == [{"value": 1}]
    assert kept_rows(tmp_path, "part", {"trials": 4}, [0], lambda seed: {"value": 2}) == [{"value": 2}]


def test_without_a_folder_nothing_is_kept() -> None:
    assert kept_rows(None, "part", {}, [5], lambda seed: {"value": seed}) == [{"value": 5}]
