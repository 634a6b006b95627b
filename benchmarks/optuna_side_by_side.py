"""Does a user of the Optuna sweeper have to change only one word?

    python benchmarks/optuna_side_by_side.py

Runs the app of `tests/apps/template`, which has no code for tuning, with `hydra/sweeper=optuna` and with
`hydra/sweeper=hwtune` in an otherwise identical command: once for one value that the app returns, once for two. The
Optuna side runs the released plugin in an environment that the script creates (`--environment`, kept between runs): a
venv with the versions of `peers/optuna_sweeper.txt`. PyTorch, Lightning and everything else come from this
interpreter's packages. Creating it needs a package index.

Prints one JSON object and exits with 1 if a side failed, or if the two differ in more than they should. `figures`, for
`one` and `two` values:

- exit_code_optuna, exit_code_hwtune. trials_optuna, trials_hwtune: jobs in the sweep's directory.
- keys_optuna, keys_hwtune: of `optimization_results.yaml`. is_same_shape: whether the other file has all of Optuna's
  keys, including those of a solution and the names of its parameters, and values are numbers on both sides.
- solutions_optuna, solutions_hwtune: the number of solutions in the file.
- differing_words: pairs of words in which the two command lines differ; there is one pair.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import lightning_hwtune as hwt

__all__ = ["main", "shape"]

ROOT = Path(__file__).resolve().parent.parent
APP, PINS = ROOT / "tests" / "apps" / "template", ROOT / "benchmarks" / "peers" / "optuna_sweeper.txt"
SWEEPERS = ("optuna", "hwtune")
N_TRIALS, LIFE_S = 4, 900.0
SPACE = ("model.optimizer.lr=tag(log, interval(1e-4, 1e-1))", "model.net.width=choice(8, 16, 32)")
COMMON = ("trainer.max_epochs=3", f"hydra.sweeper.n_trials={N_TRIALS}", "hydra.sweep.dir=sweep")
VALUES: Mapping[str, Sequence[str]] = {
    "one": ("hydra.sweeper.direction=minimize",),
    "two": ("optimized_metric=[val/error, val/loss]", "hydra.sweeper.direction=[minimize, minimize]"),
}
VERSIONS = """
import importlib.metadata, json, optuna, hydra_plugins.hydra_optuna_sweeper.optuna_sweeper as plugin
names = ("hydra-optuna-sweeper", "optuna", "hydra-core", "omegaconf", "sqlalchemy", "lightning", "torch")
versions = {name: importlib.metadata.version(name) for name in names}
print(json.dumps({"files": [optuna.__file__, plugin.__file__], "versions": versions}))
"""


@dataclass(frozen=True, slots=True)
class Side:
    """The results of one sweep. `results`: the content of its `optimization_results.yaml`; empty without one."""

    command: Sequence[str]
    exit_code: int
    n_trials: int
    results: Mapping[str, Any]


def main() -> None:
    """Runs both sides of both commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environment", type=Path, default=ROOT / "build" / "optuna_sweeper")
    python, versions = _environment(parser.parse_args().environment.absolute())
    interpreters = {"optuna": python, "hwtune": Path(sys.executable)}
    figures, words = {}, set()
    for name, overrides in VALUES.items():
        sides = {sweeper: _side(interpreters[sweeper], sweeper, overrides) for sweeper in SWEEPERS}
        figures[name] = _figures(sides)
        words |= {(a, b) for a, b in zip(*(sides[sweeper].command for sweeper in SWEEPERS), strict=True) if a != b}
    document = {
        "figures": figures | {"differing_words": sorted(words)},
        "machine": {"platform": platform.platform(), "cores": len(os.sched_getaffinity(0))},
        "versions": {"python": platform.python_version(), "lightning_hwtune": hwt.__version__, "optuna_side": versions},
    }
    print(json.dumps(document))
    sys.exit(0 if len(words) == 1 and all(map(_is_kept, figures.values())) else 1)


def _is_kept(figures: Mapping[str, Any]) -> bool:
    """Return whether both sides did the same work and left files of the same shape."""
    codes, trials = ([figures[f"{what}_{sweeper}"] for sweeper in SWEEPERS] for what in ("exit_code", "trials"))
    return codes == [0, 0] and trials == [N_TRIALS, N_TRIALS] and bool(figures["is_same_shape"])


def _figures(sides: Mapping[str, Side]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for sweeper, side in sides.items():
        solutions = side.results.get("solutions")
        found |= {
            f"exit_code_{sweeper}": side.exit_code,
            f"trials_{sweeper}": side.n_trials,
            f"keys_{sweeper}": list(side.results),
            f"solutions_{sweeper}": int(bool(side.results)) if solutions is None else len(solutions),
        }
    return found | {"is_same_shape": holds(shape(sides["hwtune"].results), shape(sides["optuna"].results))}


def holds(ours: Any, theirs: Any) -> bool:
    """Return whether a shape has all keys of another one, with the same kinds of values; it may have more."""
    if isinstance(theirs, Mapping):
        return isinstance(ours, Mapping) and all(
            key in ours and holds(ours[key], value) for key, value in theirs.items()
        )
    if isinstance(theirs, list) and theirs:
        return isinstance(ours, list) and bool(ours) and holds(ours[0], theirs[0])
    return bool(ours == theirs)


def shape(content: Any) -> Any:
    """Returns a file's content without its values: keys, kinds of values, and the first element of each list."""
    if isinstance(content, Mapping):
        return {key: shape(value) for key, value in content.items()}
    if isinstance(content, list):
        return [shape(content[0])] if content else []
    return "number" if isinstance(content, int | float) else type(content).__name__


# ---------------------------------------------------------------------- one side


def _side(python: Path, sweeper: str, overrides: Sequence[str]) -> Side:
    """Runs the command with one sweeper, on a copy of the app."""
    words = ["train.py", "-m", f"hydra/sweeper={sweeper}", *SPACE, *COMMON, *overrides]
    _say(f"{sweeper}: python {' '.join(words)}")
    with tempfile.TemporaryDirectory(prefix=f"side-{sweeper}-") as folder:
        copy = Path(shutil.copytree(APP, Path(folder) / "app", ignore=shutil.ignore_patterns("__pycache__")))
        done = subprocess.run(
            [python, *words],
            cwd=copy,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            timeout=LIFE_S,
        )
        found = copy / "sweep" / "optimization_results.yaml"
        results = yaml.safe_load(found.read_text(encoding="utf-8")) if found.exists() else {}
        return Side(words, done.returncode, len(list((copy / "sweep").glob("*/.hydra/overrides.yaml"))), results)


# ---------------------------------------------------------------------- the environment of the Optuna side


def _environment(folder: Path) -> tuple[Path, dict[str, str]]:
    """Creates the environment if it is missing; returns its interpreter and the versions that it imports.

    Raises:
        RuntimeError: the environment imports another Optuna than its own.
    """
    python, made = folder / "bin" / "python", folder / "made.txt"
    pins = PINS.read_text(encoding="utf-8")
    if not made.exists() or made.read_text(encoding="utf-8") != pins:
        _say(f"making {folder}")
        venv.create(folder, clear=True, with_pip=True)
        # installed before the path is extended, because pip skips a package that it finds, even in another version
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", PINS]
        subprocess.run(install, check=True, stdout=sys.stderr)
        [site] = folder.glob("lib/python*/site-packages")
        # after the environment's own packages, so that the pinned versions are found first
        (site / "behind.pth").write_text("".join(f"{path}\n" for path in _paths()), encoding="utf-8")
        made.write_text(pins, encoding="utf-8")
    told = subprocess.run([python, "-c", VERSIONS], check=True, capture_output=True, text=True, cwd=folder)
    found = json.loads(told.stdout.splitlines()[-1])
    strangers = [file for file in found["files"] if not Path(file).is_relative_to(folder)]
    if strangers:
        raise RuntimeError(f"{strangers[0]} is imported in {folder}, not what is installed there: remove the folder")
    return python, found["versions"]


def _paths() -> list[str]:
    """Returns the folders of this interpreter's packages, including editable ones; not its library or this folder."""
    own = {str(Path(os.__file__).parent), str(Path(__file__).parent)}
    return [path for path in sys.path if path and Path(path).is_dir() and path not in own and "lib-dynload" not in path]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
