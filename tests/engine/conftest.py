"""The fixture that the tests of the local executor share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from local_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Executors in a folder of the test, which are closed at its end."""
    bench = Bench(tmp_path)
    yield bench
    for executor in bench.executors:
        executor.close()
