"""The kept rows of peers: new ones replace old ones, and only those of the same settings and seeds are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import peer_rows, replay, searchers

ARM = {"peer": "optuna_tpe", "until": 0.3}


def row(seed: int, version: str, value: float = 0.0, about: Any = ARM) -> dict[str, Any]:
    return {"task": "a", "arm": "optuna_tpe", "seed": seed, "version": version, "about": about, "value": value}


def test_a_new_row_replaces_the_one_of_the_same_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_rows, "FOLDER", tmp_path / "rows")
    assert peer_rows.kept("replay") == []
    peer_rows.keep("replay", [row(0, "1.0"), row(1, "1.0")], replay.KEY)
    peer_rows.keep("replay", [row(1, "2.0", 5.0), row(2, "2.0")], replay.KEY)
    assert [(r["seed"], r["version"], r["value"]) for r in peer_rows.kept("replay")] == [
        (0, "1.0", 0.0), (1, "2.0", 5.0), (2, "2.0", 0.0),
    ]  # fmt: skip
    assert peer_rows.versions(peer_rows.kept("replay"), "optuna") == {"optuna": "1.0, 2.0"}
    assert [r["seed"] for r in replay.kept_peers(["a"], range(1, 9), {"optuna_tpe": ARM})] == [1, 2]
    assert replay.peer_versions(peer_rows.kept("replay")) == {"optuna": "1.0, 2.0"}
    assert replay.kept_peers(["a"], range(9), {"optuna_tpe": {**ARM, "until": 0.5}}) == []
    assert replay.kept_peers(["b"], range(9), {"optuna_tpe": ARM}) == []


def test_the_committed_rows_name_their_version_and_are_those_of_the_present_arms() -> None:
    for kept in peer_rows.kept(searchers.KEPT):
        assert kept["version"]
        assert kept["arm"] in searchers.PEERS
    for kept in peer_rows.kept(replay.KEPT):
        assert kept["version"]
        assert kept["about"] == replay.SETTINGS["arms"][kept["arm"]]
