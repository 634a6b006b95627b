"""The end of a trial's output."""

from __future__ import annotations

from pathlib import Path

from lightning_hwtune.web.logs import MOST_BYTES, log_tails


def test_the_end_of_each_rank_of_the_newest_segment(tmp_path: Path) -> None:
    assert log_tails(tmp_path) == []
    lines = "".join(f"line {number}\n" for number in range(10_000))
    for name, text in {"segment_01_rank_0": "old", "segment_02_rank_0": lines, "segment_02_rank_1": "é\n"}.items():
        (tmp_path / f"{name}.log").write_text(text, encoding="utf-8")
    first, second = log_tails(tmp_path)
    assert (first["name"], first["is_whole"]) == ("segment_02_rank_0.log", False)
    assert lines.endswith(first["text"])
    assert first["text"].startswith("line ")
    assert MOST_BYTES - 20 < len(first["text"]) <= MOST_BYTES
    assert second == {"name": "segment_02_rank_1.log", "text": "é\n", "is_whole": True}
