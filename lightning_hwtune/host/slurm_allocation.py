"""The allocation of Slurm in which this process runs, from the variables that Slurm sets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

__all__ = ["Allocation", "allocation"]


@final
@dataclass(frozen=True, slots=True)
class Allocation:
    """Nodes that Slurm has reserved for a job.

    Attributes:
        job: its number.
        nodes: how many nodes.
        cpus: the CPUs of the node with the fewest; 0 if unknown.
        gpus: the GPUs per node; None if Slurm does not say, which also means that none were asked for.
        tasks: how many copies of this process `srun` has started.
    """

    job: str
    nodes: int
    cpus: int = 0
    gpus: int | None = None
    tasks: int = 1


def allocation(environ: Mapping[str, str] = os.environ) -> Allocation | None:
    """Returns the allocation in which this process runs; None outside of one."""
    job = environ.get("SLURM_JOB_ID", "")
    if not job:
        return None
    return Allocation(
        job=job,
        nodes=_number(environ.get("SLURM_JOB_NUM_NODES") or environ.get("SLURM_NNODES", "")) or 1,
        cpus=_fewest(environ.get("SLURM_JOB_CPUS_PER_NODE", "")),
        gpus=_gpus(environ),
        tasks=(_number(environ.get("SLURM_STEP_NUM_TASKS", "")) or 1) if "SLURM_STEP_ID" in environ else 1,
    )


def _number(text: str) -> int:
    """Returns the number at the end of a text such as "8" or "gpu:a100:8"; 0 if there is none."""
    found = re.search(r"(\d{1,6})$", text)
    return int(found[1]) if found else 0


def _fewest(text: str) -> int:
    """Returns the smallest number in a list such as "72(x2),36"."""
    return min((int(found) for found in re.findall(r"(?:^|,)(\d{1,6})", text)), default=0)


def _gpus(environ: Mapping[str, str]) -> int | None:
    for name in ("SLURM_GPUS_ON_NODE", "SLURM_GPUS_PER_NODE"):
        if found := _number(environ.get(name, "")):
            return found
    listed = [name for name in environ.get("SLURM_JOB_GPUS", "").split(",") if name.strip()]
    return len(listed) or None
