"""Whether the toolkit keeps its promises on a real GPU: at most 4 minutes, on one device.

    make gpu-check                                       # installs what a bare machine lacks, then this
    python benchmarks/gpu_check.py                       # all checks
    python benchmarks/gpu_check.py --only bit_equality   # one of them
    python benchmarks/gpu_check.py --accelerator cpu     # a rehearsal of those that need no GPU

Prints one line per check on standard error as soon as the check ends, and one JSON object on standard output. Each
check runs in a separate process with its own time limit, and its line goes into `gpu_check.jsonl` in the folder `--out`
at once, so that a run that is cut off keeps what it found.

Exit status: 0 if all checks passed, or if the machine has no GPU, which prints `"ran": false`; 1 if a check failed or
the GPU cannot be used. `figures`: checks, passed, start_to_first_batch_s (median over the segments of a study on the
GPU) and seconds of the whole run. `not_checked` lists what one GPU cannot show.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.gpu import device  # noqa: E402 - found from the repository's root

__all__ = ["main", "summary"]

NOT_CHECKED = ("several GPUs in one trial", "NCCL")
LIMIT_S = 230.0
"""Seconds for all checks; what would begin later is reported as not run."""


def main() -> int:
    """Run the checks, or one part of them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accelerator", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--only", metavar="CHECK", help="run one check in this process and print what it saw")
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=ROOT / "build", help="where gpu_check.jsonl goes")
    parser.add_argument("--study", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    accelerator = arguments.accelerator
    if accelerator == "gpu" and not device.is_visible():
        print("no GPU is visible on this machine: nothing was checked", file=sys.stderr)
        print(json.dumps({"ran": False, "reason": "no GPU is visible", "not_checked": list(NOT_CHECKED)}))
        return 0
    if arguments.study is not None:
        from benchmarks.gpu.checks import one_of_two

        print(json.dumps(one_of_two(accelerator, arguments.study, arguments.seed)))
        return 0
    if arguments.only is not None:
        return _run_here(arguments.only, accelerator)
    return _run_all(accelerator, arguments.out)


def _run_here(name: str, accelerator: str) -> int:
    from benchmarks.gpu.checks import CHECKS

    if name not in CHECKS:
        print(f"no check is called {name!r}; there are: {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="hwtune-gpu-", ignore_cleanup_errors=True) as folder:
        print(json.dumps(CHECKS[name][0](accelerator, Path(folder))))
    return 0


def _run_all(accelerator: str, out: Path) -> int:
    from benchmarks.gpu.checks import CHECKS, NEEDS_GPU

    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    if accelerator == "gpu":
        try:
            found = {**json.loads(device.describe()), "driver": device.driver()}
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            print(f"the GPU cannot be used: {error}", file=sys.stderr)
            print(json.dumps({"ran": False, "reason": f"the GPU cannot be used: {error}"}))
            return 1
    lines = []
    with (out / "gpu_check.jsonl").open("w") as file:
        for name, (_, limit_s) in CHECKS.items():
            if accelerator == "cpu" and name in NEEDS_GPU:
                continue
            line = _line(name, accelerator, min(limit_s, LIMIT_S - (time.monotonic() - began)))
            file.write(json.dumps(line) + "\n")
            file.flush()
            lines.append(line)
            print(_text(line), file=sys.stderr, flush=True)
    document = summary(lines, found, time.monotonic() - began)
    print(json.dumps(document))
    return 0 if all(line["ok"] for line in lines) else 1


def _line(name: str, accelerator: str, limit_s: float) -> dict[str, Any]:
    """Run one check in a process of its own; return its line."""
    if limit_s <= 0:
        return {"check": name, "ok": False, "seconds": 0.0, "error": "not run: the time for all checks is over"}
    command = [sys.executable, __file__, "--only", name, "--accelerator", accelerator]
    began = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT
    )
    try:
        text, error = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return {"check": name, "ok": False, "seconds": limit_s, "error": f"not done after {limit_s:.0f} s"}
    line: dict[str, Any] = {"check": name, "ok": process.returncode == 0}
    line["seconds"] = round(time.monotonic() - began, 1)
    if line["ok"]:
        return {**line, "seen": json.loads(text.strip().splitlines()[-1])}
    return {**line, "error": error.strip()[-1500:] or f"exit status {process.returncode}"}


def _text(line: dict[str, Any]) -> str:
    verdict = "ok    " if line["ok"] else "FAILED"
    return f"{verdict} {line['check']:<24} {line['seconds']:5.1f} s  {json.dumps(line.get('seen', line.get('error')))}"


def summary(lines: list[dict[str, Any]], found: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return the one JSON object of a run.

    Args:
        lines: one per check. found: what the device reports about itself. seconds: of the whole run.
    """
    seen = {line["check"]: line["seen"] for line in lines if line["ok"]}
    on_gpu = seen.get("digits_study", {}).get("gpu", {})
    return {
        "ran": True,
        "date": datetime.date.today().isoformat(),
        "figures": {
            "checks": len(lines),
            "passed": sum(line["ok"] for line in lines),
            "start_to_first_batch_s": on_gpu.get("start_to_first_batch_s"),
            "seconds": round(seconds, 1),
        },
        "checks": lines,
        "not_checked": list(NOT_CHECKED),
        "machine": {"device": found.get("name"), "driver": found.get("driver"), "platform": platform.platform()},
        "versions": {"python": platform.python_version(), "torch": found.get("torch")},
    }


if __name__ == "__main__":
    sys.exit(main())
