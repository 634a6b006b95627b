"""A first study of 20 trials on the digits, as a user writes it in three tools: from the command to value and end.

    python benchmarks/first_study.py                        # ours and Optuna; `make bench` installs the peers
    python benchmarks/first_study.py --ray --rounds 1       # also Ray Tune

Runs the scripts in `benchmarks/first` in new processes and folders, alternating, and prints one JSON object. Run it on
a quiet machine. Search space, model, data and horizon (9 epochs) are the same, and successive halving with eta 3 is the
rule everywhere, as each tool provides it. Everything else is what a user gets without further settings: ours trains two
trials at a time after a check, Optuna one after the other in its own process, and Ray Tune two at a time. Optuna keeps
its study in SQLite, as in its tutorial; a report takes about 14 ms of processor time there, and 1.4 ms in its journal.
Modules of the repository are compiled once, like those of an installed package, even where the environment forbids it.
`figures`, each the median over the rounds of the ratio within a round:

- first_value_ratio: seconds from the command to the first value of a trial, ours over Optuna's. The check comes before.
- first_value_ratio_without_check: the same with `study.run(check=False)`.
- whole_ratio: seconds from the command to the exit, ours (with the check) over Optuna's.
- first_value_ratio_vs_ray, whole_ratio_vs_ray: the same over Ray Tune's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.first.printed import FIRST  # noqa: E402 - found from the repository's root

__all__ = ["Times", "figures", "main"]

SCRIPTS: Mapping[str, Sequence[str]] = {
    "ours": ("ours",),
    "ours_unchecked": ("ours", "--unchecked"),
    "optuna": ("optuna_script",),
    "ray": ("ray_script",),
}
LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from the command of one script to its first value and to its exit."""

    first_value_s: float
    whole_s: float


def main() -> None:
    """Runs the rounds and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ray", action="store_true", help="also run Ray Tune")
    arguments = parser.parse_args()
    names = [name for name in SCRIPTS if arguments.ray or name != "ray"]
    rounds = [{name: _run(name) for name in _rotated(names, number)} for number in range(arguments.rounds)]
    machine = {"platform": platform.platform(), "cores": os.cpu_count(), "load_1min": os.getloadavg()[0]}
    shown = [{name: asdict(times) for name, times in one.items()} for one in rounds]
    print(json.dumps({"figures": figures(rounds), "machine": machine, "rounds": shown}))


def figures(rounds: Sequence[Mapping[str, Times]]) -> dict[str, float]:
    """Returns the medians of the ratios within each round."""
    pairs = {
        "first_value_ratio": ("first_value_s", "ours", "optuna"),
        "first_value_ratio_without_check": ("first_value_s", "ours_unchecked", "optuna"),
        "whole_ratio": ("whole_s", "ours", "optuna"),
        "first_value_ratio_vs_ray": ("first_value_s", "ours", "ray"),
        "whole_ratio_vs_ray": ("whole_s", "ours", "ray"),
    }
    return {
        name: statistics.median(getattr(one[ours], measure) / getattr(one[peer], measure) for one in rounds)
        for name, (measure, ours, peer) in pairs.items()
        if all(peer in one for one in rounds)
    }


def _run(name: str) -> Times:
    """Runs a script in a new folder.

    Raises:
        RuntimeError: it failed.
    """
    script, *options = SCRIPTS[name]
    print(f"{name} ...", file=sys.stderr, flush=True)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory(prefix="hwt", dir="/tmp", ignore_cleanup_errors=True) as folder:
        began = time.time()
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.first.{script}", *options],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        whole_s = time.time() - began
    if done.returncode != 0:
        raise RuntimeError(f"{name} ended with status {done.returncode}:\n{done.stderr[-4000:]}")
    times = Times(json.loads(done.stdout.splitlines()[-1])[FIRST] - began, whole_s)
    print(f"{name}: {times}", file=sys.stderr, flush=True)
    return times


def _rotated(names: Sequence[str], number: int) -> list[str]:
    """Returns the names in an order that begins with another one in each round."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


if __name__ == "__main__":
    main()
