"""The devices of this host, and the devices that each segment gets.

GPUs are counted without initialising CUDA: from CUDA_VISIBLE_DEVICES if it is set, otherwise from the device files. All
ranks of a segment see the same mask, so `devices=2` in unchanged code means the first two GPUs *of the segment*.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Iterable, Sequence
from ctypes import CDLL
from fractions import Fraction
from pathlib import Path
from typing import final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.pool import NODE, Pool
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.host.cpus import n_cpus
from lightning_hwtune.host.slurm_allocation import allocation
from lightning_hwtune.text import counted
from lightning_hwtune.training.channel import SegmentOrder

__all__ = [
    "Slots",
    "check_present",
    "crowded_cores",
    "device_mask",
    "masked",
    "may_have_gpu",
    "n_device_files",
    "on_allocated_nodes",
    "resolve",
    "visible_gpus",
]

_MOST_PER_CORE = 4  # threads; a few more than one per core are useful, since trials also wait for files and saves


def visible_gpus() -> list[str]:
    """Returns the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    mask = os.environ.get("CUDA_VISIBLE_DEVICES")
    if mask is not None:
        names = [name.strip() for name in mask.split(",") if name.strip()]
        return names[: names.index("-1")] if "-1" in names else names
    return [str(index) for index in range(n_device_files(Path("/dev")))]


@functools.cache
def may_have_gpu() -> bool:
    """Return whether this host has the device file of a GPU, or the driver that CUDA needs."""
    if n_device_files(Path("/dev")) or any(Path("/dev", name).exists() for name in ("kfd", "dxg")):  # AMD, Windows
        return True
    try:
        CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def n_device_files(folder: Path) -> int:
    """Returns how many GPUs have a device file. The files carry the host's numbers, while CUDA counts from 0."""
    return sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in folder.glob("nvidia*"))


def on_allocated_nodes(pool: Pool) -> Pool:
    """Returns a pool whose nodes are "auto" with those of the allocation of Slurm in which this process runs.

    Raises:
        ArgumentError: there is no allocation, or it does not say how many devices its nodes have.
    """
    if pool.nodes != "auto":
        return pool
    found = allocation()
    if found is None:
        hint = "Submit the study with `hwtune sbatch`, or get an allocation first: `salloc --nodes=2`."
        raise ArgumentError("Pool.nodes", pool.nodes, "a number outside of an allocation of Slurm", hint=hint)
    accelerator = pool.accelerator if pool.accelerator != "auto" else "gpu" if found.gpus else "cpu"
    devices = (found.gpus or 0) if accelerator == "gpu" else found.cpus // pool.threads_per_device
    if pool.devices == "auto" and pool.instance is None and devices < 1:
        allowed = (
            f"a number, because the variables of Slurm do not say it: how many of type {accelerator!r} each node has"
        )
        raise ArgumentError("Pool.devices", pool.devices, allowed)
    return pool.on_nodes(found.nodes, accelerator, devices)


def resolve(pool: Pool) -> Pool:
    """Returns the pool with its accelerator and its number of devices resolved for this host.

    The nodes of a pool with several, or of an allocation, are not this host, so nothing is left to resolve.

    Raises:
        ArgumentError: the pool asks for more devices than this host has.
    """
    if pool.n_nodes > 1 or pool.has_several_kinds or (pool.instance is not None and pool.instance.name == NODE):
        return pool
    gpus = visible_gpus() if pool.accelerator in ("auto", "gpu") else []
    accelerator = "gpu" if pool.accelerator == "gpu" or gpus else "cpu"
    if accelerator == "gpu":
        there = len(gpus)
    else:
        there = max(n_cpus() // pool.threads_per_device, 1)
    wanted = there if pool.devices == "auto" else pool.size
    if pool.instance is not None and wanted > there:
        name, seen = pool.instance.name, counted(there, f"visible {accelerator} devices")
        allowed = f"the type of this machine, which has {seen}; the pool on {name!r} needs {wanted}"
        hint = "A study trains on this machine. Give its type as InstanceType(name, usd_per_hour, ...)."
        raise ArgumentError("Pool.instance", name, allowed, hint=hint)
    if wanted < 1 or (accelerator == "gpu" and wanted > there):
        allowed = f"at most {there}; this machine has {counted(there, f'visible {accelerator} devices')}"
        raise ArgumentError("Pool.devices", pool.devices, allowed)
    return dataclasses.replace(pool, accelerator=accelerator, devices=wanted)


def crowded_cores(pool: Pool) -> str:
    """Returns a note if the pool has far more places for trials than this host has cores; otherwise an empty text."""
    if pool.n_nodes > 1 or pool.accelerator != "cpu":
        return ""
    there = n_cpus()
    if pool.places * pool.threads_per_device <= _MOST_PER_CORE * there:
        return ""
    threads = f" with {pool.threads_per_device} threads each" if pool.threads_per_device > 1 else ""
    places = f"{counted(pool.places, 'places')} for trials{threads} share {counted(there, 'CPU cores')}"
    return f"the pool's {places}, so trials that train at the same time will be slow: set fewer `Pool(devices=...)`"


def check_present(study: str, pool: Pool) -> None:
    """Refuses the pool of a study that is to train on this host, if the host has fewer devices than the pool.

    Raises:
        ArgumentError: the study was stored on a host with more devices, or fewer are visible than at its creation; or
            the pool has several nodes.
    """
    if pool.n_nodes > 1:
        hint = "To train on several nodes, run the study with executor='agents'. Or simulate it: `simulation.simulate`."
        raise ArgumentError("Pool.nodes", pool.nodes, "1, this machine", hint=hint)
    try:
        resolve(pool)
    except ArgumentError as error:
        hint = (
            f"Study {study!r} was made on a machine with more devices. To continue it here, give it a pool of this "
            f"machine, Study({study!r}, ..., pool=Pool(...)), and leave its other settings as they are."
        )
        raise ArgumentError("pool", pool, error.allowed, hint=hint) from None


def masked(order: SegmentOrder, node_rank: int = 0) -> SegmentOrder:
    """Returns the order with the mask of its devices on this host, the one that trains the segment.

    Args:
        node_rank: which of the segment's nodes this host is.
    """
    return dataclasses.replace(order, env={**order.env, **device_mask(order.accelerator, order.local_slots(node_rank))})


def device_mask(accelerator: str, slots: Sequence[int]) -> dict[str, str]:
    """Returns the environment variables that limit a segment to its devices on this host.

    They are empty on a host without these GPUs, and on the CPU of a host that may have a GPU. On the CPU of any other
    host, they say that there is no GPU. Otherwise the optimizers of torch would look for its driver in every step.
    """
    if accelerator == "cpu" and not may_have_gpu():
        return {"CUDA_VISIBLE_DEVICES": ""}
    gpus = visible_gpus() if accelerator == "gpu" else []
    if max(slots, default=0) >= len(gpus):
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[slot] for slot in slots)}


@final
class Slots:
    """The pool's device numbers, and which part of each device is taken by segments."""

    def __init__(self, size: int) -> None:
        self._taken = [Fraction(0)] * size
        self.size = size

    def n_free(self, per_device: int = 1) -> int:
        """Returns how many more segments of one device fit, if each takes one part of `per_device` equal parts."""
        return sum((1 - taken) * per_device // 1 for taken in self._taken)

    def take(self, allocation: Allocation, per_device: int = 1) -> tuple[int, ...]:
        """Takes one part of as many devices: of those with the least taken, then of the lowest numbers.

        The caller must check that enough are free.
        """
        part = Fraction(1, per_device)
        fitting = [number for number, taken in enumerate(self._taken) if taken + part <= 1]
        found = tuple(sorted(sorted(fitting, key=lambda number: self._taken[number])[: allocation.devices]))
        self.hold(found, per_device)
        return found

    def hold(self, slots: Iterable[int], per_device: int = 1) -> None:
        """Takes one part of each of these devices."""
        for number in slots:
            self._taken[number] += Fraction(1, per_device)

    def give_back(self, slots: Iterable[int], per_device: int = 1) -> None:
        """Frees one part of each of these devices."""
        for number in slots:
            self._taken[number] -= Fraction(1, per_device)
