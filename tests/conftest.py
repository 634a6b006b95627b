"""Settings for all tests.

`pytest --core-only` is for an environment with nothing but the core dependencies: a test that an extra is missing for
is skipped there, and properties are tried on a tenth of the examples, since `make test` tries them on all. Without
it, a test that an extra is missing for fails.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer.testing
from hypothesis import HealthCheck, settings
from postgres_server import PostgresServer, postgres_programs
from slurm_cluster import SlurmCluster, slurm_programs

# a shell that starts the tests in the background has them, and every process they start, ignore Ctrl-C; nohup: SIGHUP
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# as in an activated environment, which the commands in messages depend on
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])

# as in the Makefile: sums are then added in the same order in segments and in the trainings that they are compared with
os.environ.setdefault("OMP_NUM_THREADS", "1")

# no limit for the time of an example or of drawing it: a loaded machine must not turn a property into a failure
settings.register_profile("hwtune", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hwtune")
# `CliRunner` makes all commands of an app for each call; once for all tests is enough
vars(typer.testing)["_get_command"] = cache(vars(typer.testing)["_get_command"])

_SETTINGS = "_hypothesis_internal_use_settings"  # where a property keeps the settings of its decorator

_EXTRAS = {
    "cli": "jsonargparse",
    "examples": "torchvision",
    "gp": "botorch",
    "prior": "sklearn",
    "serve": "uvicorn",
    "tables": "pyarrow",
}
_MODULES = {*_EXTRAS.values(), "mkdocs", "mlflow", "nbclient", "nbformat", "tensorboard"}
_LACKS = re.compile(
    r"No module named '?(\w+)|`Import (\w+)` failed|optional dependency '(\w+)'|pip install 'lightning_hwtune\[(\w+)\]'"
)


@pytest.fixture(scope="module", autouse=True)
def _handlers_stay() -> Iterator[None]:
    """A module that left a handler of a signal behind would make later ones fail."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number.name: signal.getsignal(number) for number in numbers}
    yield
    assert {number.name: signal.getsignal(number) for number in numbers} == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount file systems")
    yield folder
    subprocess.run(["umount", folder], check=True)


def _absent(what: str, why: str) -> NoReturn:
    """Skip the test, or let it fail if `HWTUNE_MUST_RUN` names what it lacks."""
    if what in os.environ.get("HWTUNE_MUST_RUN", "").split():
        pytest.fail(f"HWTUNE_MUST_RUN names {what}, but {why}")
    pytest.skip(why)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server. A test that stops it starts it again."""
    if importlib.util.find_spec("psycopg") is None:
        _absent("postgresql", "psycopg is not installed")
    if postgres_programs() is None:
        _absent("postgresql", "there is no initdb: install Debian's package postgresql")
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def ray_is_there() -> None:
    """Ray is installed."""
    if importlib.util.find_spec("ray") is None:
        _absent("ray", "Ray is not installed: pip install 'lightning_hwtune[ray]'")


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A running Slurm with two nodes. A test that kills a node starts it again."""
    if slurm_programs() is None:
        _absent("slurm-wlm", "there is no Slurm: install Debian's package slurm-wlm")
    with SlurmCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium or Chrome."""
    if importlib.util.find_spec("playwright") is None:
        _absent("chromium", "playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        _absent("chromium", "there is no Chromium: install Debian's package chromium")
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--core-only", action="store_true", help="skip tests that an extra is missing for")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--core-only"):
        functions = {getattr(item.obj, "__func__", item.obj) for item in items if isinstance(item, pytest.Function)}
        for function in functions:
            if getattr(function, "is_hypothesis_test", False):
                own: settings = getattr(function, _SETTINGS, settings.default)
                setattr(function, _SETTINGS, settings(own, max_examples=max(own.max_examples // 10, 5)))


def _lacks_extra(config: pytest.Config, text: str) -> str:
    """Return what a failure lacks, "" where it has another reason or where nothing may be missing."""
    if not config.getoption("--core-only"):
        return ""
    found = ("".join(groups) for groups in _LACKS.findall(text))
    lacking = (_EXTRAS.get(name, name) for name in found)
    return next((name for name in lacking if name in _MODULES and importlib.util.find_spec(name) is None), "")


def _skipped(report: Any, config: pytest.Config, place: str) -> Any:
    if report.failed and (name := _lacks_extra(config, str(report.longrepr))):
        report.outcome, report.longrepr = "skipped", (place, 0, f"Skipped: {name} is not installed")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    report = yield
    return _skipped(report, collector.config, str(getattr(collector, "path", "")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    return _skipped(report, item.config, str(item.path))
