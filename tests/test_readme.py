"""What the README shows runs as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_readme_shows_code() -> None:
    assert len(BLOCKS) >= 2


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_the_readme_runs_as_printed(number: int, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(BLOCKS[number], encoding="utf-8")
    # the examples live in the repository's root; an unguarded script, as a reader would paste it
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "trial_id=" in done.stdout or "val_error" in done.stdout


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_sweep_of_the_readme_runs_as_printed(tmp_path: Path) -> None:
    [line] = re.findall(r"^\.venv/bin/python (train\.py -m .*)$", README, re.MULTILINE)
    smaller = "trainer=quick hydra.sweeper.n_trials=1"
    command = ["bash", "-c", f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT))}/{line} {smaller}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    [results] = tmp_path.rglob("optimization_results.yaml")
    assert "model.lr" in results.read_text(encoding="utf-8")


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
