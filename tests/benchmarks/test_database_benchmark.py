from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from postgres_proxy import PostgresProxy
from postgres_server import PostgresServer

from benchmarks import database
from benchmarks.database import appended, first_uses, lost_and_repeated, wrong_clocks


def test_an_event_that_is_missing_or_twice_in_the_log_counts() -> None:
    assert lost_and_repeated(["a", "b"], Counter("ab")) == (0, 0)
    assert lost_and_repeated(["a", "b", "c"], Counter("aab")) == (1, 1)
    assert lost_and_repeated(["a"], Counter("ab")) == (0, 0)  # written, but never acknowledged


@pytest.mark.slow
def test_its_faults_are_survived(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CUTS_S", (0.5,))
    with PostgresProxy(postgres) as proxy:
        found = appended(tmp_path, postgres, proxy, n_rounds=1)
        assert proxy.swallowed == 2
    assert (found["lost"], found["repeated"], found["false_locks"]) == (0, 0, 0)
    assert len(found["recover_s"]) == 6
    assert first_uses(tmp_path / "first", postgres, 2) == 0
    assert wrong_clocks(tmp_path / "clocks", postgres) == 0
