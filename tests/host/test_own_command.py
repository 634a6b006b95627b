"""Commands that messages print can be pasted, whether or not an environment is activated."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_hwtune.host.own_command import own_command


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes the folder of an environment's scripts. The working directory is that of the test."""
    monkeypatch.chdir(tmp_path)

    def make(name: str) -> Path:
        scripts = tmp_path / name / "bin"
        scripts.mkdir(parents=True)
        for script in ("python", "hwtune"):
            (scripts / script).write_text(f"#!/bin/sh\necho {shlex.quote(name)}\n")
            (scripts / script).chmod(0o755)
        return scripts

    return make


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (["own"], "hwtune"),  # activated
        (["own", "other"], "hwtune"),
        ([], "own/bin/hwtune"),
        (["other"], "own/bin/hwtune"),  # another environment is activated
        (["other", "own"], "own/bin/hwtune"),
    ],
)
def test_the_words_start_the_own_installation(
    environment: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, path: list[str], words: str
) -> None:
    folders = {name: environment(name) for name in ("own", "other")}
    monkeypatch.setattr(sys, "executable", str(folders["own"] / "python"))
    monkeypatch.setenv("PATH", ":".join(str(folders[name]) for name in path))
    assert own_command() == words
    started = subprocess.run(
        own_command(), shell=True, executable="/bin/sh", capture_output=True, text=True, check=True
    )
    assert started.stdout == "own\n"


def test_from_elsewhere_and_with_odd_names_the_whole_path_is_given(
    environment: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scripts = environment("my tools")
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", "")
    assert shlex.split(own_command()) == ["my tools/bin/hwtune"]
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert shlex.split(own_command()) == [str(scripts / "hwtune")]


@pytest.mark.parametrize("is_found", [True, False])
def test_without_a_script_beside_python_it_is_found_on_the_path_or_started_as_a_module(
    environment: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, is_found: bool
) -> None:
    scripts = environment("own")
    (scripts / "hwtune").unlink()
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", str(environment("user")) if is_found else "")
    assert own_command() == ("hwtune" if is_found else f"{scripts / 'python'} -m lightning_hwtune")
