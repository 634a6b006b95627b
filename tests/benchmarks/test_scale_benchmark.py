"""The benchmark of a controller with many nodes, on a few."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import scale
from lightning_hwtune.core.controller import Controller


def test_a_small_study_has_all_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(kind.count for kind in scale.KINDS) == 128
    assert sum(kind.count * kind.type.devices for kind in scale.KINDS) == 1024
    monkeypatch.setattr(scale, "KINDS", [dataclasses.replace(kind, count=1) for kind in scale.KINDS])
    ask = Controller.ask
    row = scale.study("random", 40, 0)
    assert Controller.ask is ask
    assert row["trials"] == 40
    assert row["ended"].endswith("nothing left to promote")
    found = scale.figures({"random": row, "default": row})
    assert len(found) == 10
    assert all(value > 0 for value in found.values())
    assert found["default_ask_ms"] == row["ask_ms"]
    assert row["segments"] > 40
    assert len(row["segments_by_type"]) == 3
