"""Commands that read: they run no searcher and no model, and they unpickle nothing."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any, NoReturn

import cloudpickle
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "stored_logs"))
from stored import Stored

from lightning_hwtune.cli.commands import app
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.searchers import TPE, Grid, ParetoPrior, Random, Searcher, Sobol
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.engine.session import Session

VERSION = "0.2.0.dev0"
COMMANDS = [
    "status", "trials", "front --at any", "best", "rungs", "why 0", "logs 0", "export", "status --format json",
]  # fmt: skip
STUDIES = ["asha_one_device", "asha_two_brackets_tpe", "asha_stopping_sobol", "grid_to_the_end", "prior", "asked"]


def forbid(patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError(f"{getattr(owner, '__name__', owner)}.{name} was called")

    patch.setattr(owner, name, refuse)


def forbid_pickle(patch: pytest.MonkeyPatch) -> None:
    for owner in (pickle, cloudpickle):
        for name in ("load", "loads"):
            forbid(patch, owner, name)
    forbid(patch, pickle, "Unpickler")


def forbid_searchers(patch: pytest.MonkeyPatch, *searchers: type[Searcher]) -> None:
    for searcher in searchers:
        forbid(patch, searcher, "propose")


def hwtune(folder: Path, command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--dir", str(folder)])
    assert result.exit_code == 0, (command, result.output, result.exception)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_that_rests(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Stored(VERSION, name).put(tmp_path)
    forbid_pickle(monkeypatch)
    forbid_searchers(monkeypatch, Random, Sobol, Grid, TPE, ParetoPrior)
    for command in COMMANDS:
        hwtune(tmp_path, command)


@pytest.mark.parametrize("name", ["asha_two_brackets_tpe", "prior"])
@pytest.mark.slow
def test_a_study_that_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its forecast draws placeholders at random: the study's own searcher, which would fit a model, is not asked."""
    stored = Stored(VERSION, name)
    ends = [number for number, event in enumerate(stored.events, 1) if isinstance(event, ev.SegmentEnded)]
    files = stored.put(tmp_path, ends[len(ends) // 2])
    forbid_pickle(monkeypatch)
    forbid_searchers(monkeypatch, TPE, ParetoPrior)
    with Session(stored.spec, files, Limits(max_trials=40)):
        for command in COMMANDS:
            if command != "best":  # nothing may be fully trained yet
                hwtune(tmp_path, command)
