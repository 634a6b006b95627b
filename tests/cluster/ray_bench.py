"""A real cluster of Ray on this host: a head without resources, and nodes with one core and a custom resource each."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Iterator
from typing import Any, final

STORE_BYTES = 80 << 20  # of the object store of each node; Ray takes no less
_NODES_S = 90  # until all nodes are there, and killed ones are known to be gone
ENVIRON = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "a-token-of-the-tests-1234567890",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@final
class RayNodes:
    """The nodes of a running cluster, by the custom resource that each of them has."""

    def __init__(self, cluster: Any) -> None:
        self._cluster, self._nodes, self._killed = cluster, dict[str, Any](), list[Any]()
        self.address: str = cluster.address

    def add(self, *kinds: str) -> None:
        for kind in kinds:
            self._nodes[kind] = self._cluster.add_node(num_cpus=1, resources={kind: 1}, wait=False, **_COMMON)
        self._cluster.wait_for_nodes(timeout=_NODES_S)

    def close(self) -> None:
        """Ends what killed nodes have left."""
        for node in self._killed:
            node.kill_all_processes(check_alive=False, allow_graceful=False)

    def kill(self, kind: str) -> None:
        """Kills the process of Ray on a node; its workers then see that it is gone."""
        node = self._nodes.pop(kind)
        raylet = node.all_processes["raylet"][0].process
        raylet.kill()
        raylet.wait()
        self._cluster.worker_nodes.discard(node)  # so that `wait_for_nodes` no longer expects it
        self._killed.append(node)


_COMMON = {"object_store_memory": STORE_BYTES, "include_dashboard": False}


@contextlib.contextmanager
def ray_cluster(*kinds: str) -> Iterator[RayNodes]:
    """Starts a cluster with a node per kind, and ends it. Ray's handler of SIGTERM does not stay."""
    before = {name: os.environ.get(name) for name in ENVIRON}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    os.environ.update(ENVIRON)
    from ray.cluster_utils import Cluster

    with contextlib.redirect_stdout(io.StringIO()):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **_COMMON})
    nodes = RayNodes(cluster)
    try:
        nodes.add(*kinds)
        yield nodes
    finally:
        nodes.close()
        cluster.shutdown()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
