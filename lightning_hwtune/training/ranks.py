"""How the ranks of one segment find each other on one host.

Every rank gets the variables that torchelastic would give it, so Lightning takes plain `ddp` as it is and launches
nothing. Rank 0 hosts the store on a port that the kernel chose and tells it to the others: no port is ever guessed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Protocol

__all__ = ["Rendezvous", "adopt_environment", "join_group", "rank_environment", "scrub_environment"]

_LOOPBACK = "127.0.0.1"
_RANK_VARIABLES = frozenset({
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "NODE_RANK",
    "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED", "PL_SEED_WORKERS",
    "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID",
})  # fmt: skip
_RANK_PREFIXES = ("TORCHELASTIC_", "ROLE_", "SLURM_NTASKS", "SLURM_TASKS", "SLURM_STEP", "JSM_", "OMPI_COMM_WORLD_")

_store: object | None = None  # rank 0's store lives as long as its process


class Rendezvous(Protocol):
    """How rank 0's port reaches the other ranks."""

    def publish(self, port: int) -> None:
        """Called once, by rank 0."""

    def get(self) -> int:
        """Returns the port; waits for it. Called by the others."""


def adopt_environment(environ: MutableMapping[str, str], inherited: Iterable[str], present: Mapping[str, str]) -> None:
    """Makes what was inherited what it is at present; variables that came from elsewhere stay.

    Args:
        environ: of a process whose parent began with the variables named in `inherited`, which may be long ago.
        present: the environment that counts.
    """
    for name in set(inherited) - set(present):
        environ.pop(name, None)
    environ.update(present)


def scrub_environment(environ: MutableMapping[str, str]) -> None:
    """Removes rank, cluster and seed variables that belong to whoever started this process."""
    for name in [n for n in environ if n in _RANK_VARIABLES or n.startswith(_RANK_PREFIXES)]:
        del environ[name]


def rank_environment(rank: int, world_size: int, port: int, run_id: str) -> Mapping[str, str]:
    """Returns the variables of one rank of a group on this host.

    A group of one needs them too: they make Lightning refuse a Trainer of more devices, which would otherwise run the
    whole script again as its second rank. Its port is 0: who makes a process group of one takes any.
    """
    variables: dict[str, object] = {
        "RANK": rank, "LOCAL_RANK": rank, "ROLE_RANK": rank, "GROUP_RANK": 0,
        "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size, "ROLE_WORLD_SIZE": world_size, "GROUP_WORLD_SIZE": 1,
        "MASTER_ADDR": _LOOPBACK, "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": run_id, "TORCHELASTIC_RESTART_COUNT": 0, "TORCHELASTIC_MAX_RESTARTS": 0,
        "TORCHELASTIC_USE_AGENT_STORE": world_size > 1,
    }  # fmt: skip
    # all ranks share a host: gloo need not look the host's name up
    if any(name == "lo" for _, name in socket.if_nameindex()):
        variables["GLOO_SOCKET_IFNAME"] = "lo"
    return {name: str(value) for name, value in variables.items()}


def join_group(rank: int, world_size: int, rendezvous: Rendezvous | None, run_id: str) -> Mapping[str, str]:
    """Returns this rank's variables once the group's port is known.

    Raises:
        ValueError: several ranks and no rendezvous.
    """
    if world_size == 1:
        return rank_environment(0, 1, 0, run_id)
    if rendezvous is None:
        raise ValueError(f"{world_size} ranks need a rendezvous")
    if rank == 0:
        port = _host_store()
        rendezvous.publish(port)
    else:
        port = rendezvous.get()
    return rank_environment(rank, world_size, port, run_id)


def _host_store() -> int:
    """Hosts the group's store in this process; returns its port."""
    global _store
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    store = TCPStore(_LOOPBACK, 0, is_master=True, wait_for_workers=False)
    _store = store
    return int(store.port)
