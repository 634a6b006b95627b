"""The modules of a training function are imported in the order of the script, also where it is only loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODULES = {
    "registry": """
names = []
def register(name):
    if name in names:
        raise ValueError("taken")
    names.append(name)
""",
    "strict": """
import registry
registry.register("mul")
import lenient
def fit():
    return registry.names
""",
    "lenient": """
import registry
if "mul" not in registry.names:
    registry.register("mul")
def load():
    return "loaded"
""",
    "shop/__init__": "",
    "shop/inner": """
import registry
assert registry.names == ["mul"]
def sell():
    return "sold"
""",
}
STORE = """
import sys
from pathlib import Path
from strict import fit
from lenient import load
{imports}
from lightning_hwtune.engine.payload import write_payload

def train(trial):
    return {calls}

print(write_payload(train, Path({folder!r})).path)
"""
LOAD = """
import sys
from lightning_hwtune.training.process.script_names import load_with_script_names
print(load_with_script_names(open({path!r}, "rb"))(None))
"""


def python(folder: Path, text: str) -> str:
    (folder / "script.py").write_text(text)
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("imports", "calls", "expected"),
    [
        ("", "load(), fit()", "('loaded', ['mul'])"),
        ("from shop.inner import sell", "sell(), load(), fit()", "('sold', 'loaded', ['mul'])"),
        ("import shop.inner", "shop.inner.sell(), load(), fit()", "('sold', 'loaded', ['mul'])"),
        ("", "fit()", "['mul']"),
    ],
)
@pytest.mark.slow
def test_modules_that_need_the_order_of_the_script(tmp_path: Path, imports: str, calls: str, expected: str) -> None:
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(text)
    path = python(tmp_path, STORE.format(imports=imports, calls=calls, folder=str(tmp_path)))
    assert python(tmp_path, LOAD.format(path=path)) == expected
