"""The table of instance types is what its script writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("HWTUNE_DATA", ROOT.parent / "shared/data")).resolve()


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "prices").is_dir(), reason="needs the price lists: HWTUNE_DATA or ../shared/data")
def test_the_table_is_what_the_script_writes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / "instances.csv"
    command = [sys.executable, str(ROOT / "benchmarks/instance_prices.py"), "--out", str(out)]
    environment = {**os.environ, "HWTUNE_DATA": str(DATA)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert out.read_text() == (ROOT / "lightning_hwtune/core/hardware/instances.csv").read_text()
