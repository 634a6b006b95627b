"""How the ranks of one segment find each other, on one host or on several.

Every rank gets the environment variables that torchelastic would set, so Lightning uses plain `ddp` and starts no
processes. The process that starts rank 0 opens the store's port, and the kernel chooses its number. The listening
socket is passed to rank 0, which hosts the store. So no port is guessed. If all ranks are on one host, the port is on
the loopback interface and cannot be reached over a network.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, MutableMapping

from lightning_hwtune.training.channel import LOOPBACK, RankPlace

__all__ = ["adopt_environment", "host_store", "open_port", "rank_environment", "scrub_environment"]

_RANK_VARIABLES = frozenset({
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "NODE_RANK",
    "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED", "PL_SEED_WORKERS",
    "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID",
})  # fmt: skip
_RANK_PREFIXES = ("TORCHELASTIC_", "ROLE_", "SLURM_NTASKS", "SLURM_TASKS", "SLURM_STEP", "JSM_", "OMPI_COMM_WORLD_")

_store: object | None = None  # rank 0's store lives as long as its process


def open_port(address: str = LOOPBACK) -> socket.socket:
    """Returns a socket that listens on a free port of this address, for the store of one group of ranks."""
    return socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)


def adopt_environment(environ: MutableMapping[str, str], inherited: Iterable[str], present: Mapping[str, str]) -> None:
    """Updates an inherited environment to the current one; variables that were not inherited are kept.

    Args:
        environ: the environment to update, of a process whose parent may have started long ago.
        inherited: the names of the variables with which that parent started.
        present: the current environment.
    """
    for name in set(inherited) - set(present):
        environ.pop(name, None)
    environ.update(present)


def scrub_environment(environ: MutableMapping[str, str]) -> None:
    """Removes the rank, cluster and seed variables of the process that started this one."""
    for name in [n for n in environ if n in _RANK_VARIABLES or n.startswith(_RANK_PREFIXES)]:
        del environ[name]


def rank_environment(place: RankPlace, run_id: str) -> Mapping[str, str]:
    """Returns the environment variables of one rank of a group.

    A group of one also needs them: with them Lightning refuses a Trainer of more devices, which would otherwise run the
    whole script again as its second rank. The port of such a group is 0, which means any free port.
    """
    variables: dict[str, object] = {
        "RANK": place.rank, "LOCAL_RANK": place.local_rank, "ROLE_RANK": place.rank, "GROUP_RANK": place.node_rank,
        "WORLD_SIZE": place.world_size, "LOCAL_WORLD_SIZE": place.local_world_size,
        "ROLE_WORLD_SIZE": place.world_size, "GROUP_WORLD_SIZE": place.num_nodes,
        "MASTER_ADDR": place.address, "MASTER_PORT": place.port,
        "TORCHELASTIC_RUN_ID": run_id, "TORCHELASTIC_RESTART_COUNT": 0, "TORCHELASTIC_MAX_RESTARTS": 0,
        "TORCHELASTIC_USE_AGENT_STORE": place.world_size > 1,
    }  # fmt: skip
    # where all ranks are on one host, gloo need not look up the host's name
    if place.address == LOOPBACK and any(name == "lo" for _, name in socket.if_nameindex()):
        variables["GLOO_SOCKET_IFNAME"] = "lo"
    return {name: str(value) for name, value in variables.items()}


def host_store(listener: int, port: int, address: str = LOOPBACK) -> None:
    """Hosts a group's store in this process, for as long as the process lives.

    Args:
        listener: descriptor of the socket that `open_port` returned; the store closes it.
        port, address: those of that socket.
    """
    global _store
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    # without libuv: its store accepts an open socket only in torch 2.8 or later
    _store = TCPStore(address, port, is_master=True, wait_for_workers=False, master_listen_fd=listener, use_libuv=False)
