"""Which of a pool's nodes an agent is, by what it says about its host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_hwtune.core.hardware.kinds import NODE, Nodes
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.text import counted

__all__ = ["kind_of"]


def kind_of(pool: Pool, hello: Mapping[str, Any]) -> tuple[Nodes, str]:
    """Returns the kind of an agent's node, and why it is none of the pool; empty if it is one.

    That is the kind with most devices that the agent has. It has the devices that its user gave, or else the GPUs of
    its host or, on a pool of CPUs, as many devices as its CPUs have threads for. If all nodes of a pool are equal, CPUs
    are not counted, since several agents may share a host.

    Args:
        hello: what the agent says: `n_gpus`, `n_cpus` and, if its user gave them, `devices` and `instance`.
    """
    kinds, name, given = pool.kinds, str(hello.get("instance") or ""), int(hello.get("devices") or 0)
    names = sorted({kind.type.name for kind in kinds})
    if name:
        kinds = tuple(kind for kind in kinds if kind.type.name == name)
        if not kinds:
            has = "no instance types" if names == [NODE] else f"the instance types {', '.join(map(repr, names))}"
            return pool.kinds[0], f"the agent is of type {name!r}, but the pool of the study has {has}"
    elif len(names) > 1:
        types = ", ".join(map(repr, names))
        return pool.kinds[0], f"the pool has the instance types {types}: start the agent with --instance"
    n_gpus, n_cpus = int(hello.get("n_gpus") or 0), int(hello.get("n_cpus") or 0)
    if pool.accelerator == "gpu":
        there, seen = min(given or n_gpus, n_gpus), f"the agent sees {n_gpus}"
        if 0 < given < n_gpus:
            seen = f"the agent has {given}"
    elif given:
        there, seen = given, f"the agent has {given}"
    elif pool.has_several_kinds:
        there, seen = n_cpus // pool.threads_per_device, f"the agent has {counted(n_cpus, 'CPUs')}"
    else:
        there, seen = pool.node_size, ""
    able = [kind for kind in kinds if kind.n_devices <= there]
    if able:
        return max(able, key=lambda kind: kind.n_devices), ""
    least = min(kind.n_devices for kind in kinds)
    devices = "GPUs" if pool.accelerator == "gpu" else "devices"
    at_least = "at least " if pool.has_several_kinds else ""
    return kinds[0], f"each node of the study has {at_least}{counted(least, devices)}, but {seen}"
