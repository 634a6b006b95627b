"""The notebooks' code runs from top to bottom, and no outputs are kept in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(notebook: Path) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_no_outputs(notebook: Path) -> None:
    assert [cell["outputs"] for cell in cells(notebook) if cell["outputs"]] == []


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_code_of_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    # each cell is executed by itself in one `__main__`, as a kernel does it
    script = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
namespace = sys.modules["__main__"].__dict__
for number, source in enumerate(json.loads(sys.stdin.read())):
    exec(compile(source, f"<cell {{number}}>", "exec"), namespace)
"""
    sources = ["".join(cell["source"]).replace("Path.cwd()", f"Path({str(ROOT)!r})") for cell in cells(notebook)]
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(sources),
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "fully trained" in done.stdout
