"""Can libraries that run their own training be tuned as their users write it, and how many lines does that need?

    python benchmarks/foreign_libraries.py                    # all libraries: about 1 GB to download
    python benchmarks/foreign_libraries.py --only darts scvi

For each library `benchmarks/foreign` has two scripts: NAME_plain.py, as the library's users write it, and
NAME_tuned.py, the same with a study of two objectives around it. The tuned script runs twice in its own environment,
in which the library from the index and this checkout are installed: as it is (ASHA), and with `RunToEnd` instead of
`ASHA`, which never pauses a trial. Both studies draw the same configurations with the same seeds.

Prints one JSON object and exits with 1 if a library failed. `figures`:

- libraries. completed: libraries with which both studies completed.
- equal_values: libraries with which at least one fully trained trial was paused and resumed, and all such trials ended
  with exactly the value of the uninterrupted study.
- extra_lines_max: the largest number of lines that a tuned script has in addition to its plain script. Blank lines,
  docstrings and indentation do not count.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import lightning_hwtune as hwt  # noqa: E402 - found from the repository's root
from lightning_hwtune.core.events import SegmentStarted  # noqa: E402
from lightning_hwtune.core.record import TrialRecord  # noqa: E402

__all__ = ["extra_lines", "main"]

SCRIPTS = ROOT / "benchmarks" / "foreign"
LIBRARIES = {
    "darts": "darts",
    "scvi": "scvi-tools",
    "pytorch_forecasting": "pytorch-forecasting",
    "neuralforecast": "neuralforecast",
}
"""Name of the scripts -> name of the package."""
LIFE_S = 1200.0


def main() -> int:
    """Run the libraries; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(LIBRARIES), default=list(LIBRARIES))
    parser.add_argument("--environments", type=Path, default=ROOT / "build" / "foreign", help="kept between runs")
    arguments = parser.parse_args()
    found = {}
    for name in arguments.only:
        python = environment(arguments.environments / name, LIBRARIES[name])
        found[name] = _tuned(name, python)
        print(f"{name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
    figures = {
        "libraries": len(found),
        "completed": sum(seen["completed"] for seen in found.values()),
        "equal_values": sum(seen["equal"] for seen in found.values()),
        "extra_lines_max": max(seen["extra_lines"] for seen in found.values()),
    }
    versions = {"python": platform.python_version(), **{name: seen["version"] for name, seen in found.items()}}
    machine = {"platform": platform.platform(), "cores": len(os.sched_getaffinity(0))}
    print(json.dumps({"figures": figures, "libraries": found, "machine": machine, "versions": versions}))
    return 0 if figures["libraries"] == figures["completed"] == figures["equal_values"] else 1


def environment(folder: Path, package: str) -> Path:
    """Return the Python of an environment with the library and this checkout; create it if it is missing.

    Packages that it does not install itself, such as PyTorch, come from the environment that runs this script.
    """
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
        (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, package], check=True)
        ready.touch()
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--force-reinstall", str(ROOT)], check=True)
    return python


def _tuned(name: str, python: Path) -> dict[str, Any]:
    plain, tuned = (SCRIPTS / f"{name}_{kind}.py" for kind in ("plain", "tuned"))
    seen: dict[str, Any] = {
        "version": _version(python, LIBRARIES[name]),
        "plain_lines": len(_code(plain.read_text())),
        "extra_lines": extra_lines(plain.read_text(), tuned.read_text()),
        "completed": False,
        "equal": False,
    }
    with tempfile.TemporaryDirectory(prefix="hwtune-foreign-") as folder:
        studies = []
        paused = tuned.read_text()
        whole = paused.replace("ASHA(", "RunToEnd(").replace(", first_rung=1", "")
        for kind, text in (("paused", paused), ("whole", whole)):
            where = Path(folder) / kind
            where.mkdir()
            (where / tuned.name).write_text(text)
            error = _run(python, where, tuned.name)
            if error:
                return {**seen, "error": f"{kind}: {error}"}
            studies.append(hwt.Study.load(name, dir=where / "hwtune"))
        seen["completed"] = True
        return {**seen, **_compared(*studies)}


def _run(python: Path, folder: Path, script: str) -> str:
    """Run a script; return the end of its output if it failed."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [str(python), script]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=LIFE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not done after {LIFE_S:.0f} s"
    return (done.stdout + done.stderr)[-1500:] if done.returncode else ""


def _compared(paused: hwt.Study, whole: hwt.Study) -> dict[str, Any]:
    """Return how the fully trained trials of both studies compare."""
    segments: dict[int, int] = {}
    for event in paused.events():
        if isinstance(event, SegmentStarted):
            segments[event.trial_id] = segments.get(event.trial_id, 0) + 1
    reference = {trial.trial_id: trial for trial in whole.state().trials}
    n_resumed, differing = 0, []
    for trial in paused.state().trials:
        if trial.state != "completed" or segments[trial.trial_id] < 2 or trial.last is None:
            continue
        other = reference[trial.trial_id]
        n_resumed += 1
        mine, theirs = _values(trial), _values(other)
        if trial.config != other.config or mine != theirs:
            differing.append([trial.trial_id, mine, theirs])
    facts = {"trials": len(reference), "resumed_to_the_end": n_resumed, "differing": differing}
    return {**facts, "equal": n_resumed > 0 and not differing}


def _values(trial: TrialRecord) -> dict[str, float]:
    """Return the last values of a trial, without the measured time, which differs in each run."""
    return {} if trial.last is None else {name: value for name, value in trial.last.values.items() if name != "train_s"}


def extra_lines(plain: str, tuned: str) -> int:
    """Return how many lines of code the second script has beyond the first; a changed line counts as one."""
    changes = difflib.SequenceMatcher(None, _code(plain), _code(tuned), autojunk=False).get_opcodes()
    return sum(end - begin for kind, _, _, begin, end in changes if kind in ("insert", "replace"))


def _code(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(('"""', "#"))]


def _version(python: Path, package: str) -> str:
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
