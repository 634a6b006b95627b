"""Does the toolkit keep its promises on a real GPU? Takes at most 4 minutes, on one device.

    make gpu-check                                       # installs what a bare machine lacks, then this
    python benchmarks/gpu_check.py                       # all checks
    python benchmarks/gpu_check.py --only bit_equality   # one of them
    python benchmarks/gpu_check.py --accelerator cpu     # a rehearsal of those that need no GPU
    make gpu-check-packing                               # those of `--packing`: meters, packing, profile, strategy

Prints one line per check on standard error as soon as the check ends, and one JSON object on standard output. Each
check has its own time limit. Its line is written at once to `gpu_check.jsonl` in the folder `--out`, so a run that is
cut off keeps its results. The checks share one worker process, since importing PyTorch takes longer than most of them.
If a check exceeds its limit or ends the worker, a new worker runs the remaining checks.

Exit status: 0 if all checks passed, or if the machine has no GPU, which prints `"ran": false`; 1 if a check failed or
the GPU cannot be used. `figures`: checks, passed, start_to_first_batch_s (median over the segments of a study on the
GPU) and seconds of the whole run. `not_checked` lists what cannot be tested with one GPU.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.gpu import device  # noqa: E402 - found from the repository's root

__all__ = ["CLAIMS", "main", "summary"]

CLAIMS = {
    "fork_server_before_cuda": "The fork server opens no GPU, and CUDA works in the ranks that it forks",
    "masks": "A segment sees only its own GPU, by number and by UUID",
    "checkpoint_on_cpu": "A checkpoint from the GPU loads and trains on the CPU",
    "memory_given_back": "GPU memory is free after each segment, and after a rank that was killed",
    "out_of_memory": "Out of GPU memory ends one trial, and others complete",
    "bit_equality": "Paused and resumed trials are bit-equal in deterministic mode",
    "mixed_precision": "The same in bf16 and fp16 (gradient scaler)",
    "check_command": "`hwtune check` prints GPU memory",
    "digits_study": "The digits study finds on the GPU what it finds on the CPU",
    "two_studies": "Two studies at a time do not disturb each other's results",
}
"""Name of a check -> what it shows."""
NOT_CHECKED = ("several GPUs in one trial", "NCCL")
LIMIT_S = 225.0
"""Seconds for all checks; what would begin later is reported as not run."""
START_S = 40.0
"""Seconds that a worker may need before its first check."""


def main() -> int:
    """Run the checks, or one part of them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accelerator", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--packing", action="store_true", help="check meters, packing, profile and strategy instead")
    parser.add_argument("--only", metavar="CHECKS", help="run these checks in this process, separated by commas")
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
        return _work(arguments.only.split(","), accelerator)
    return _run_all(accelerator, arguments.out, is_packing=arguments.packing)


def _work(names: Sequence[str], accelerator: str) -> int:
    """Run checks one after another in this process; print one JSON line per check."""
    from benchmarks.gpu import checks, packing

    known = {**checks.CHECKS, **packing.CHECKS}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no check is called {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    passed = True
    for name in names:
        environ = dict(os.environ)
        line: dict[str, Any] = {"check": name}
        try:
            with tempfile.TemporaryDirectory(prefix="hwtune-gpu-", ignore_cleanup_errors=True) as folder:
                line |= {"ok": True, "seen": known[name][0](accelerator, Path(folder))}
        except Exception:
            line |= {"ok": False, "error": traceback.format_exc()[-1500:]}
        os.environ.clear()
        os.environ.update(environ)
        print(json.dumps(line), flush=True)
        passed = passed and line["ok"]
    return 0 if passed else 1


def _run_all(accelerator: str, out: Path, *, is_packing: bool = False) -> int:
    from benchmarks.gpu import checks, packing

    chosen, limit_all_s = (packing.CHECKS, packing.LIMIT_S) if is_packing else (checks.CHECKS, LIMIT_S)

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
    limits = {
        name: limit_s for name, (_, limit_s) in chosen.items() if accelerator == "gpu" or name not in checks.NEEDS_GPU
    }
    lines = []
    with (out / ("gpu_check_packing.jsonl" if is_packing else "gpu_check.jsonl")).open("w") as file:
        for line in _lines(limits, accelerator, began + limit_all_s):
            file.write(json.dumps(line) + "\n")
            file.flush()
            lines.append(line)
            print(_text(line), file=sys.stderr, flush=True)
    document = summary(lines, found, time.monotonic() - began)
    print(json.dumps(document))
    return 0 if all(line["ok"] for line in lines) else 1


def _lines(limits: Mapping[str, float], accelerator: str, end: float) -> Iterator[dict[str, Any]]:
    """Yield one line per check, in order; a new worker starts when a check has ended the last one.

    Args:
        limits: name -> seconds. end: when the time for all of them is over, on the monotonic clock.
    """
    left = list(limits)
    while left:
        worker = _Worker(left, accelerator)
        extra_s = START_S
        while left:
            name, began = left.pop(0), time.monotonic()
            limit_s = min(limits[name] + extra_s, end - began)
            line = worker.line(limit_s) if limit_s > 0 else None
            seconds, extra_s = round(time.monotonic() - began, 1), 0.0
            if line is not None:
                yield {**line, "seconds": seconds}
                continue
            why = f"not done after {limit_s:.0f} s" if limit_s > 0 else "not run: the time for all checks is over"
            yield {"check": name, "ok": False, "seconds": seconds, "error": worker.end() or why}
            break
        worker.end()


class _Worker:
    """A process that runs checks and prints their lines."""

    def __init__(self, names: Sequence[str], accelerator: str) -> None:
        command = [sys.executable, __file__, "--only", ",".join(names), "--accelerator", accelerator]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._errors, text=True, start_new_session=True, cwd=ROOT
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for text in self._process.stdout or ():
            self._lines.put(text)
        self._lines.put("")

    def line(self, limit_s: float) -> dict[str, Any] | None:
        """Return the next line; None if it does not come in time, or the process has ended without it."""
        try:
            text = self._lines.get(timeout=limit_s)
        except queue.Empty:
            return None
        if not text:
            self._process.wait()  # it has closed its output, so it is ending
        return json.loads(text) if text else None

    def end(self) -> str:
        """End the process if it is running; return the end of its error output if it had already ended."""
        ended = self._process.poll() is not None
        if not ended:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._errors.seek(0)
        return self._errors.read()[-1500:].strip() if ended else ""


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
