"""Plug-ins of third parties: installed, named by entry points or import paths, killed, read and continued."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import lightning_hwtune as hwt
from lightning_hwtune.core.schedulers import SCHEDULER_REGISTRY
from lightning_hwtune.core.searchers import SEARCHER_REGISTRY
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.plugins import Registry

PAGE = Path(__file__).parents[1] / "docs" / "plugins.md"
BLOCKS = re.compile(r'^```python title="(\w+\.py)"\n(.*?)^```', re.MULTILINE | re.DOTALL)
HWTUNE = [sys.executable, "-m", "lightning_hwtune"]

_TRAIN = """
import os, signal, time
from pathlib import Path

def train(trial):
    kill = Path("kill")
    for epoch in range(1, 10):
        if kill.exists() and trial.id == 3 and epoch == 2:
            kill.unlink()
            os.kill(int(Path("pid").read_text()), signal.SIGKILL)
            time.sleep(60)
        if trial.report(epoch, loss=(trial["x"] - 0.3) ** 2 + 1 / epoch).kind != "continue":
            return
"""


_PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "halving-rules"
version = "1.0"

[project.entry-points."hwtune.searchers"]
corners = "my_search:Corners"

[project.entry-points."hwtune.schedulers"]
better_half = "my_rules:BetterHalf"

[project.entry-points."hwtune.policies"]
wide_on_two = "my_policy:WideOnTwo"

[project.entry-points."hwtune.executors"]
solo = "my_solo:Solo"

[tool.hatch.build.targets.wheel]
only-include = ["my_search.py", "my_rules.py", "my_policy.py", "my_executor.py", "my_solo.py"]
"""

_SOLO = """
import dataclasses
from my_executor import Counting

class Solo(Counting):
    \"\"\"Trains in this process on one device, however many the policy has given.\"\"\"

    def start(self, order):
        super().start(dataclasses.replace(order, num_devices=1, slots=order.slots[:1]))
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules of the guide's page, as a user writes them, and one more."""
    folder = tmp_path_factory.mktemp("modules")
    for title, text in BLOCKS.findall(PAGE.read_text(encoding="utf-8")):
        (folder / title).write_text(text, encoding="utf-8")
    (folder / "my_solo.py").write_text(_SOLO)
    return folder


@pytest.fixture(scope="module")
def installed(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a wheel, installed into a separate folder."""
    source, folder = tmp_path_factory.mktemp("source") / "plugins", tmp_path_factory.mktemp("installed")
    shutil.copytree(modules, source)
    (source / "pyproject.toml").write_text(_PROJECT)
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=source, check=True)
    [wheel] = (source / "dist").glob("*.whl")
    command = ["pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return folder


def test_the_scheduler_of_the_page_is_short(modules: Path) -> None:
    code = re.sub(r'""".*?"""', "", (modules / "my_rules.py").read_text(), flags=re.DOTALL).splitlines()
    assert len([line for line in code if line.strip() and not line.startswith(("import", "from"))]) <= 25


def hwtune(folder: Path, path: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [*HWTUNE, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(folder: Path, path: Path, *words: str) -> str:
    process = hwtune(folder, path, *words)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "searcher", "scheduler", "policy", "executor"),
    [
        ("installed", "corners", "better_half", "wide_on_two", "solo"),
        ("modules", "my_search:Corners", "my_rules.BetterHalf", "my_policy:WideOnTwo", "my_solo:Solo"),
    ],
    ids=["entry points", "import paths"],
)
def test_a_study_with_all_four_is_killed_read_and_continued(
    place: str,
    searcher: str,
    scheduler: str,
    policy: str,
    executor: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    path: Path = request.getfixturevalue(place)
    (tmp_path / "job.py").write_text(_TRAIN)
    study = {
        "study": "halves", "train": "job:train", "space": {"x": {"type": "float", "low": 0, "high": 1}},
        "objectives": [{"metric": "loss", "mode": "min"}], "searcher": {"name": searcher, "margin": 0.2},
        "scheduler": {"name": scheduler, "max_epochs": 9, "slack": 0.1}, "pool": {"accelerator": "cpu", "devices": 2},
        "allocation": {"name": policy, "key": "x", "limit": 0.5}, "max_trials": 6, "executor": executor,
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    (tmp_path / "kill").touch()
    process = hwtune(tmp_path, path, "run", "study.yaml", "--no-check")
    (tmp_path / "pid").write_text(str(process.pid))
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL

    created = stored(tmp_path)
    assert created["searcher"] == {"name": "my_search:Corners", "margin": 0.2}
    assert created["allocation"] == {"name": "my_policy:WideOnTwo", "key": "x", "limit": 0.5}
    assert (created["scheduler"]["name"], created["scheduler"]["slack"]) == ("my_rules:BetterHalf", 0.1)

    assert json.loads(finished(tmp_path, path, "status", "--format", "json"))["state"] != "finished"
    assert "against the median" in finished(tmp_path, path, "why", "0")
    finished(tmp_path, path, "front", "--at", "any")
    assert "segments were started" in finished(tmp_path, path, "run", "study.yaml", "--no-check")
    trials = json.loads(finished(tmp_path, path, "trials", "--format", "json"))
    assert [round(trial["config"]["x"], 6) for trial in trials] == [0.8, 0.2] * 3
    assert [trial["devices"] for trial in trials] == [2, 1] * 3
    assert {trial["state"] for trial in trials} <= {"completed", "stopped"}


def stored(folder: Path) -> dict[str, Any]:
    """The study's settings, as they are in its log."""
    with contextlib.closing(sqlite3.connect(folder / "hwtune" / "halves" / "study.db")) as database:
        [[body]] = database.execute("select body from hwtune_events where seq = 1")
    settings: dict[str, Any] = json.loads(body)["spec"]
    return settings


@pytest.mark.slow
def test_the_classes_of_the_page_pass_the_suites_as_the_page_calls_them(modules: Path) -> None:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run([sys.executable, *words], cwd=modules, capture_output=True, text=True, timeout=120)
    assert "4 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("name", "says"),
    [("nowhere:Mine", "No module named"), ("json:JSONDecoder", "derives from Executor"), ("dask", "'inline'")],
)
def test_an_executor_that_cannot_be_found_is_refused_before_anything_runs(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        study(tmp_path).run(lambda trial: None, max_trials=1, executor=name)


@dataclass(frozen=True)
class Corners(hwt.Searcher):
    """Only the two ends."""

    first: int = 0

    def propose(self, space: Any, draw: int, seed: int, history: Any) -> dict[str, Any]:
        return {name: space[name].quantile(0.01 if (draw + self.first) % 2 else 0.99) for name in space}


class Plain(hwt.Searcher):
    """No dataclass; its argument is in the attribute of the same name."""

    def __init__(self, share: float) -> None:
        self.share = share

    def propose(self, space: Any, draw: int, seed: int, history: Any) -> dict[str, Any]:
        return {name: space[name].quantile(self.share) for name in space}


class Hiding(Plain):
    """Keeps its argument elsewhere."""

    def __init__(self, portion: float) -> None:
        super().__init__(portion)


class Forgetting(Plain):
    """Its settings lack an argument."""

    def settings(self) -> dict[str, Any]:
        return {"name": "forgetting"}


class Drifting(Plain):
    """Does not come back as it was."""

    def __init__(self, share: float) -> None:
        super().__init__(share / 2)


def study(folder: Path, **parts: Any) -> hwt.Study:
    return hwt.Study("s", {"x": hwt.Float(0, 1)}, [hwt.Metric("loss", "min")], max_epochs=3, dir=folder, **parts)


@pytest.mark.parametrize("searcher", [Corners(), Corners(first=1), Plain(0.25)], ids=["ends", "first", "plain"])
def test_what_has_an_import_path_comes_back_from_the_log(searcher: hwt.Searcher) -> None:
    stored = json.loads(json.dumps(SEARCHER_REGISTRY.stored(searcher)))
    assert stored["name"] == f"{type(searcher).__module__}:{type(searcher).__name__}"
    again = SEARCHER_REGISTRY.rebuilt(stored)
    assert (type(again), again.settings()) == (type(searcher), searcher.settings())


def test_a_study_with_a_searcher_of_this_module_is_read_and_continued(tmp_path: Path) -> None:
    def train(trial: Any) -> None:
        for epoch in (1, 2, 3):
            if trial.report(epoch, loss=trial["x"] / epoch).kind != "continue":
                return

    for n_trials in (2, 4):
        study(tmp_path, searcher=Corners()).run(train, max_trials=n_trials, executor="inline", check=False)
    read = hwt.Study.load("s", tmp_path)
    assert [trial.config["x"] for trial in read.state().trials] == [0.99, 0.01, 0.99, 0.01]


@pytest.mark.parametrize(
    ("searcher", "says"),
    [
        (Hiding(0.5), "no attribute 'portion'"),
        (Forgetting(0.5), "missing 1 required positional argument: .share."),
        (Drifting(0.5), "the object rebuilt from them has"),
        (Plain(lambda: 0), "not plain data"),  # type: ignore[arg-type]
        (Plain(float("nan")), "not plain data"),
    ],
)
def test_what_could_not_be_rebuilt_is_refused_when_the_study_is_made(
    tmp_path: Path, searcher: hwt.Searcher, says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        study(tmp_path, searcher=searcher)
    assert not (tmp_path / "s").exists()


def test_a_class_inside_a_function_is_refused(tmp_path: Path) -> None:
    class Inside(Corners):
        pass

    with pytest.raises(ArgumentError, match="defined inside a function"):
        study(tmp_path, searcher=Inside())


def test_a_class_of_a_script_or_notebook_is_refused(tmp_path: Path) -> None:
    script = """
        import lightning_hwtune as hwt

        class Mine(hwt.Searcher):
            def propose(self, space, draw, seed, history):
                return {"x": 0.5}

        try:
            hwt.Study("s", {"x": hwt.Float(0, 1)}, [hwt.Metric("loss", "min")], max_epochs=3, searcher=Mine())
        except hwt.ArgumentError as error:
            print(error)
        """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    output = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Move the class to a module next to it, e.g. my_searcher.py" in output.stdout


_CELL = """
import lightning_hwtune as hwt

class {name}(hwt.{base}):
    def __init__(self):
        pass

{method}

try:
    hwt.Study("s", {{"x": hwt.Float(0, 1)}}, [hwt.Metric("loss", "min")], max_epochs=3, {argument}={name}())
except hwt.ArgumentError as error:
    print(error)
"""
_CELLS = {
    "searcher": ("Mine", "Searcher", "    def propose(self, space, draw, seed, history): return {'x': 0.5}"),
    "allocation": (
        "Ours",
        "AllocationPolicy",
        "    def counts(self, space, pool): return (1,)\n"
        "    def first(self, space, pool, config): return hwt.Allocation(1)",
    ),
}


@pytest.mark.slow
def test_a_class_of_a_notebook_cell_is_refused_with_the_way_out(tmp_path: Path) -> None:
    cells = [
        _CELL.format(name=name, base=base, method=method, argument=argument)
        for argument, (name, base, method) in _CELLS.items()
    ]
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        f"for cell in {cells!r}: InteractiveShell.instance().run_cell(cell, store_history=True)"
    )
    output = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    for argument, module in (("searcher", "my_searcher.py"), ("allocation", "my_policy.py")):
        assert f"`{argument}` is {_CELLS[argument][0]} of __main__" in output.stdout
        assert f"Move the class to a module next to it, e.g. {module}, and import it from there" in output.stdout
    assert not (tmp_path / "hwtune").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module:Mine", "No module named 'no_such_module'"),
        ("json:JSONDecoder", "derives from Searcher"),
        ("json:nothing", "no attribute 'nothing'"),
        ("lightning_hwtune.core.searchers.base:Searcher", "It lacks propose"),
        ("randm", "random"),
        ("a b", "import path such as"),
        (None, "import path such as"),
        (3, "import path such as"),
    ],
)
def test_a_name_that_leads_nowhere_is_answered(name: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        SEARCHER_REGISTRY.find(name)


def test_a_surplus_setting_is_answered_by_those_that_are_known() -> None:
    with pytest.raises(ArgumentError, match="the settings first"):
        SEARCHER_REGISTRY.rebuilt({"name": f"{__name__}:Corners", "last": 1})
    with pytest.raises(ArgumentError, match="import path such as"):
        SCHEDULER_REGISTRY.rebuilt({"max_epochs": 3})


def test_a_class_of_a_higher_room_has_a_short_name_in_logs() -> None:
    path = "lightning_hwtune.core.searchers.sobol:Sobol"
    registry = Registry[hwt.Searcher]("searcher", "none", hwt.Searcher, {}, other_rooms={"spread": path})
    assert registry.names == ("spread",)
    assert registry.find("spread") is hwt.Sobol
    stored = registry.stored(hwt.Sobol())
    assert stored == {"name": "spread"}
    assert registry.rebuilt(stored) == hwt.Sobol()
    registry.check(hwt.Sobol())
    with pytest.raises(ArgumentError, match="did you mean 'spread'"):
        registry.find("sprea")
