"""What importing the package costs and brings in, seen from fresh interpreters, and that the public names agree."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lightning_hwtune

PACKAGE = Path(lightning_hwtune.__file__).parent
FRAMEWORKS = (
    "lightning",
    "pytorch_lightning",
    "torch",
    "ray",
    "hydra",
    "pandas",
    "sqlalchemy",
    "matplotlib",
    "sklearn",
)

IMPORT_CORE = """
import importlib, pkgutil
import lightning_hwtune.core as core
for module in pkgutil.walk_packages(core.__path__, core.__name__ + "."):
    importlib.import_module(module.name)
"""


def modules_after(code: str) -> set[str]:
    """Returns the modules that a fresh interpreter has after running `code`."""
    tail = "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + tail], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_brings_in_no_framework():
    loaded = modules_after("import lightning_hwtune")
    assert "lightning_hwtune" in loaded
    assert not loaded.intersection((*FRAMEWORKS, "numpy"))


def test_names_of_the_core_bring_in_no_framework():
    loaded = modules_after(
        "from lightning_hwtune import ASHA, Float, HwTuneError, Metric, Pool, Random, SearchSpace, Stop"
    )
    assert "lightning_hwtune.core.space" in loaded
    assert not loaded.intersection(FRAMEWORKS)


def test_core_is_pure():
    loaded = modules_after(IMPORT_CORE)
    files = [path for path in (PACKAGE / "core").rglob("*.py") if path.name != "__init__.py"]
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in files}
    assert names <= loaded
    assert not loaded.intersection(name for name in FRAMEWORKS if name != "sklearn")


@pytest.mark.parametrize("name", lightning_hwtune.__all__)
def test_public_name_resolves(name):
    value = getattr(lightning_hwtune, name)
    assert value.__name__ == name if name != "__version__" else value


def test_names_are_sorted_and_listed():
    names = lightning_hwtune.__all__
    assert names == sorted(set(names))
    assert set(names) <= set(dir(lightning_hwtune))


def test_type_checkers_see_the_same_names_in_the_same_places():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module.removeprefix("lightning_hwtune.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == lightning_hwtune._NAMES
    assert {*seen, "__version__"} == set(lightning_hwtune.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Flota"):
        lightning_hwtune.Flota  # noqa: B018


def test_every_error_but_bugs_is_public():
    from lightning_hwtune import errors

    public = {name for name in lightning_hwtune.__all__ if name.endswith("Error")}
    assert public == {name for name in errors.__all__ if name.endswith("Error")} - {"IllegalMoveError"}


@pytest.mark.slow
def test_the_package_imports_no_example():
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    assert "lightning_hwtune" in imported
    assert not imported & {"models", "datamodules"}


@pytest.mark.slow
def test_every_runtime_dependency_is_imported() -> None:
    """An unused dependency costs every user its download, and may break the installation for nothing."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[^\w.-]", line)[0].lower().replace("-", "_") for line in project["dependencies"]}
    modules: dict[str, set[str]] = {}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for distribution in distributions:
            modules.setdefault(distribution.lower().replace("-", "_"), set()).add(module)
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    unused = {name for name in wanted if not modules.get(name, {name}) & imported}
    assert not unused
