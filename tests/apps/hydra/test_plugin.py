"""The plugin as Hydra meets it at every start of every app: found, quick to import, shown and completed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from sweeps import PLAIN

HEAVY = {"torch", "lightning", "pytorch_lightning", "numpy", "pandas", "scipy", "sqlalchemy", "matplotlib", "rich"}
LIGHT = ("errors", "forms", "names", "text", "tracebacks")


def run(*arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **variables}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_import_brings_in_nothing_that_takes_time() -> None:
    code = """
import json, sys
import hydra
before = set(sys.modules)
import hydra_plugins.hwtune_sweeper
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    loaded = set(json.loads(run("-c", code)))
    assert "hydra_plugins.hwtune_sweeper" in loaded
    assert not {name.partition(".")[0] for name in loaded} & HEAVY
    ours = {name for name in loaded if name.startswith("lightning_hwtune.")}
    tables = ("lightning_hwtune.apps.hydra.node", *(f"lightning_hwtune.{room}" for room in LIGHT))
    assert [name for name in ours if not name.startswith(tables) and not tables[0].startswith(name)] == []


def test_an_app_that_is_not_swept_loads_only_the_keys_of_the_node() -> None:
    code = f"""
import runpy, sys
sys.argv = [{str(PLAIN)!r}, "hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none"]
runpy.run_path({str(PLAIN)!r}, run_name="__main__")
print(sorted(name for name in sys.modules if name.startswith("lightning_hwtune.apps.") or name in {sorted(HEAVY)}))
"""
    loaded = ["lightning_hwtune.apps.hydra", "lightning_hwtune.apps.hydra.node"]
    assert run("-c", code).splitlines()[-1] == str(loaded)


def test_hydra_lists_it() -> None:
    shown = run(str(PLAIN), "--info", "plugins")
    assert "HwtuneSweeper" in shown


def test_its_node_is_shown_with_its_keys() -> None:
    shown = run(str(PLAIN), "hydra/sweeper=hwtune", "--cfg", "hydra", "-p", "hydra.sweeper")
    assert "_target_: hydra_plugins.hwtune_sweeper.HwtuneSweeper" in shown
    assert "  ckpt_path_key: null" in shown


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("hydra/sweeper=hw", "hydra/sweeper=hwtune"),
        ("hydra/sweeper=hwtune hydra.sweeper.n_t", "hydra.sweeper.n_trials="),
        ("hydra/sweeper=hwtune hydra.sweeper.hwtune.ckpt", "hydra.sweeper.hwtune.ckpt_path_key="),
    ],
)
def test_a_shell_completes_its_keys(typed: str, offered: str) -> None:
    line = f"python app.py {typed}"
    assert offered in run(str(PLAIN), "-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line))).split()
