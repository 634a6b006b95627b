"""The user's guide builds without a warning, its reference is complete, and its complete examples run as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.apps.hydra.node import HWTUNE_KEYS, SWEEPER_KEYS
from lightning_hwtune.cli.commands import app

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
BLOCKS = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BASICS = "getting-started.md"  # other pages use the files that it shows
COMPLETE = sorted(
    path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if 'title="shell"' in path.read_text("utf-8")
)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guide, built with every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an announcement of the theme's
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_guide_builds_strictly_and_loads_nothing_from_elsewhere(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    assert "lightning_hwtune" in home
    assert re.findall(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="https?:[^"]*"', home) == []


def test_every_page_is_in_the_navigation(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    menu = home[home.index('<nav class="md-nav md-nav--primary') : home.index("<article")]
    pages = [path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")]
    assert len(pages) > 20
    assert [page for page in pages if page != "index" and f'href="{page}/"' not in menu] == []


def test_every_public_name_has_its_place_in_the_reference(site: Path) -> None:
    page = (site / "api" / "index.html").read_text(encoding="utf-8")
    told = set(re.findall(r'<h\d id="lightning_hwtune\.(?:[\w.]+\.)?(\w+)"', page))
    assert set(hwt.__all__) - {"__version__"} <= told
    assert "run" in told, "members of Study are missing"


def test_every_command_has_its_place_in_the_reference(site: Path) -> None:
    page = (site / "command-line" / "index.html").read_text(encoding="utf-8")
    names = [item.name or item.callback.__name__ for item in app.registered_commands if item.callback is not None]
    assert len(names) > 10
    assert [name for name in names if f"<code>hwtune {name}</code>" not in page] == []


def test_every_key_of_the_hydra_sweeper_has_its_place_in_the_reference(site: Path) -> None:
    page = (site / "hydra-keys" / "index.html").read_text(encoding="utf-8")
    keys = {*HWTUNE_KEYS, *SWEEPER_KEYS}
    assert len(keys) > 20
    told = set(re.findall(r"<td><code>(\w+)</code></td>", page))
    assert keys <= told


def test_there_are_complete_examples() -> None:
    assert BASICS in COMPLETE


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", COMPLETE)
def test_the_complete_examples_of_a_page_run_as_printed(page: str, tmp_path: Path) -> None:
    _write_files(DOCS / BASICS, tmp_path)
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
    for title, text in BLOCKS.findall((DOCS / page).read_text(encoding="utf-8")):
        if title != "shell":
            (tmp_path / title).write_text(text, encoding="utf-8")
            continue
        command = ["bash", "-e", "-u", "-o", "pipefail", "-c", text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"


def _write_files(page: Path, folder: Path) -> None:
    for title, text in BLOCKS.findall(page.read_text(encoding="utf-8")):
        if title != "shell":
            (folder / title).write_text(text, encoding="utf-8")
