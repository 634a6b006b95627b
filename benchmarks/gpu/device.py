"""What the GPU and its driver report, without creating a CUDA context in this process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lightning_hwtune.engine.devices import visible_gpus

__all__ = ["describe", "device_files_of", "driver", "is_visible", "memory_used_bytes", "returns_to", "uuid"]

_DESCRIBE = """
import json, torch
made = torch.ones(8, device="cuda").sum().item() == 8
p = torch.cuda.get_device_properties(0)
print(json.dumps({"name": p.name, "memory_bytes": p.total_memory, "devices": torch.cuda.device_count(),
                  "capability": f"{p.major}.{p.minor}", "torch": torch.__version__, "computes": made}))
"""


def is_visible() -> bool:
    """Return whether this machine has a GPU that this process may use, without initialising CUDA."""
    return bool(visible_gpus())


def describe() -> str:
    """Return one JSON object about the first GPU, printed by a separate process.

    Raises:
        RuntimeError: PyTorch cannot use the GPU; the message contains the end of its error.
    """
    done = subprocess.run([sys.executable, "-c", _DESCRIBE], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-400:] or f"exit status {done.returncode}")
    return done.stdout.strip().splitlines()[-1]


def memory_used_bytes() -> int:
    """Return how much memory of the first GPU is in use by any process."""
    return int(_query("memory.used")) << 20


def driver() -> str:
    """Return the version of the driver."""
    return _query("driver_version")


def uuid() -> str:
    """Return the identifier that `CUDA_VISIBLE_DEVICES` takes instead of a number."""
    return _query("uuid")


def _query(field: str) -> str:
    command = ["nvidia-smi", "--id=0", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def device_files_of(pid: int) -> list[str]:
    """Return the GPU device files that a process has open."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:  # closed in the meantime
            continue
        if target.startswith("/dev/nvidia"):
            found.append(target)
    return sorted(found)


def returns_to(
    base: int, read: Callable[[], int] = memory_used_bytes, slack: int = 64 << 20, limit_s: float = 5.0
) -> int:
    """Wait until the memory in use is down to `base` bytes, or the time is up; return the excess in bytes.

    Args:
        slack: an excess of up to this many bytes counts as 0.
    """
    give_up_at = time.monotonic() + limit_s
    while (excess := read() - base) > slack and time.monotonic() < give_up_at:
        time.sleep(0.2)
    return excess if excess > slack else 0
