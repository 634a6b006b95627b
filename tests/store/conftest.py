from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_processes import files

from lightning_hwtune.store.log import EventLog


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> str | None:
    """Where the log is: None for a file in the study's folder, or an empty place on a server."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres").fresh_schema()


@pytest.fixture
def log(storage: str | None, tmp_path: Path) -> Iterator[EventLog]:
    with EventLog.open(files(tmp_path), storage=storage, create=True) as log:
        yield log
