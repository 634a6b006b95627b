"""Ray starts the agents: one actor per node of the study, each with the resources of a node.

Ray places the actors. So two of them share a machine that has the resources for both, and an autoscaler starts machines
for those that wait. An actor that dies is replaced. Only Ray Core is used, without placement groups: a trial on several
nodes needs agents that are there already. Ray ends all actors of a program that has died, however that happened.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from lightning_hwtune.core.hardware.kinds import NODE, Nodes
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.engine.agents.door import address_of
from lightning_hwtune.engine.agents.executor import AgentsExecutor
from lightning_hwtune.engine.agents.launcher import Invitation, Launcher
from lightning_hwtune.engine.agents.ray_agent import RayAgent
from lightning_hwtune.engine.executor import Abilities, RunSetup
from lightning_hwtune.engine.provider import NodeChange
from lightning_hwtune.errors import ArgumentError, MissingDependencyError, TrialError, first_line
from lightning_hwtune.forms import checked_class, parse_duration
from lightning_hwtune.text import counted

__all__ = ["RayCluster", "RayExecutor", "RayLauncher", "lacking"]

_LOOK_S = 1.0
_MOST_FAILED = 3  # agents in a row that ended soon after they were placed
_SOON_S = 60.0
_END_S = 10.0


@final
@dataclass(slots=True)
class _Actor:
    """An actor for one of the pool's nodes. `place` and `serve` are the results of its two calls, which come later."""

    kind: Nodes
    handle: Any
    place: Any
    serve: Any
    placed_at: float | None = None


@final
class RayLauncher:
    """Starts one actor for each node of a study.

    Args:
        cluster: where, and with which resources.
        pool: the devices of the study.

    Raises:
        ArgumentError: the pool has several instance types, and the cluster does not say which nodes are which.
        TrialError: there is no such cluster.
    """

    def __init__(self, cluster: RayCluster, pool: Pool) -> None:
        cluster.refuse_other_types(pool)
        self._cluster, self._pool = cluster, pool
        self._ray: Any = importlib.import_module("ray")
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            self._connect()
        self.listen = f"{self._ray.util.get_node_ip_address()}:0"
        self.timeout_s = cluster.timeout_s
        self._actors, self._n_started, self._n_failed, self._looked_at = list[_Actor](), 0, 0, 0.0
        self._invitation: Invitation | None = None

    def _connect(self) -> None:
        address = self._cluster.address or os.environ.get("RAY_ADDRESS")
        try:
            with _own_handlers():
                self._ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        except Exception as error:  # Ray raises any class, the base class included
            place = f"at {address}" if address else "on this host"
            hint = (
                "If the cluster has token authentication, the study needs RAY_AUTH_MODE=token, and the token of the "
                "cluster in ~/.ray/auth_token or RAY_AUTH_TOKEN"
            )
            raise TrialError(f"there is no connection to Ray {place}: {first_line(str(error))}. {hint}") from error

    def start(self, invitation: Invitation) -> None:
        """Requests the actors; prints which resources no node has."""
        self._invitation = invitation
        for kind in self._pool.kinds:
            for _ in range(kind.count):
                self._request(invitation, kind)
        if lacks := self._lacks():
            invitation.say(f"{lacks} The study waits {self.timeout_s:g} s for one, which an autoscaler may start")

    def _needs(self, kind: Nodes) -> tuple[dict[str, float], dict[str, str]]:
        """Returns the resources and the labels of a node of a kind."""
        resources, labels = self._cluster.needs(kind.type.name)
        return {**_devices(self._pool, kind.n_devices), **resources}, labels

    def _request(self, invitation: Invitation, kind: Nodes) -> None:
        self._n_started += 1
        needs, labels = self._needs(kind)
        others = {name: n for name, n in needs.items() if name not in ("CPU", "GPU")}
        options = {
            "num_cpus": needs.get("CPU", 0),
            "num_gpus": needs.get("GPU", 0),
            "resources": others or None,
            "label_selector": labels or None,
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        handle = self._ray.remote(RayAgent).options(**options).remote()
        place = handle.place.remote()
        place_of_study = address_of("connect", invitation.connect)
        instance = kind.type.name if self._pool.types else ""
        serve = handle.serve.remote(place_of_study, invitation.key, self._n_started, kind.n_devices, instance)
        self._actors.append(_Actor(kind, handle, place, serve))

    def poll(self) -> Sequence[NodeChange]:
        """Returns the agents that have ended, and requests an actor for each that is gone.

        Of an actor that Ray calls dead, nothing is returned: on a node that is cut off, its ranks may still train.

        Raises:
            TrialError: one agent after the other has failed.
        """
        now = time.monotonic()
        if now - self._looked_at < _LOOK_S:
            return ()
        self._looked_at, found = now, list[NodeChange]()
        for actor in list(self._actors):
            if actor.placed_at is None and self._is_done(actor.place):
                actor.placed_at = now
            if not self._is_done(actor.serve):
                continue
            self._actors.remove(actor)
            name, why = self._end_of(actor)
            if not why:  # the session ends
                continue
            if name:
                found.append(NodeChange(name, why))
            is_soon = actor.placed_at is None or now - actor.placed_at < _SOON_S
            self._n_failed = self._n_failed + 1 if is_soon else 1
            if self._n_failed >= max(_MOST_FAILED, self._pool.n_nodes + 1):
                raise TrialError(f"{self._n_failed} agents in a row have failed in Ray. The last one: {why}")
            if self._invitation is not None:
                self._request(self._invitation, actor.kind)
        return found

    def _is_done(self, call: Any) -> bool:
        done, _ = self._ray.wait([call], timeout=0)
        return bool(done)

    def _end_of(self, actor: _Actor) -> tuple[str, str]:
        """Returns the name of an agent that has ended, and why; no name if Ray has lost it."""
        try:
            name, why = self._ray.get(actor.serve)
        except self._ray.exceptions.RayError as error:
            return "", first_line(str(error))
        return name, why

    def missing(self) -> str:
        """Returns for what the actors wait."""
        found = list[str]()
        for kind in self._pool.kinds:
            n_waiting = sum(actor.kind == kind and not self._is_done(actor.place) for actor in self._actors)
            if n_waiting:
                needs = _wanted(*self._needs(kind))
                found.append(f"{counted(n_waiting, 'agents')} of {kind.count} wait in Ray for {needs}.")
        return " ".join([*found, self._lacks()]).rstrip() if found else ""

    def _lacks(self) -> str:
        nodes = self._ray.nodes()
        return " ".join(filter(None, (lacking(*self._needs(kind), nodes) for kind in self._pool.kinds)))

    def stop(self) -> None:
        """Waits for the actors, whose agents have left, and ends those that remain."""
        actors, self._actors = self._actors, []
        if not self._ray.is_initialized():
            return
        placed = [actor.serve for actor in actors if self._is_done(actor.place)]
        with contextlib.suppress(self._ray.exceptions.RayError):
            if placed:
                self._ray.wait(placed, num_returns=len(placed), timeout=_END_S)
            for actor in actors:
                self._ray.kill(actor.handle)
        if self._is_ours:
            with _own_handlers():
                self._ray.shutdown()


@final
class RayExecutor(AgentsExecutor):
    """Trains segments on nodes whose agents Ray starts."""

    @classmethod
    def check_here(cls, pool: Pool) -> None:
        """Refuses what cannot work, before anything of a run is written; see `RayCluster.check_here`."""
        RayCluster().check_here(pool)

    @classmethod
    def launcher(cls, setup: RunSetup) -> Launcher:
        """Returns what starts the agents."""
        return RayLauncher(RayCluster(), setup.pool)


@final
@checked_class()
@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """A cluster of Ray whose nodes train a study: `study.run(train, executor=hwt.RayCluster(...))`.

    `executor="ray"` is a cluster without arguments.

    Args:
        address: of the cluster. None: RAY_ADDRESS, or else the cluster that was started on this host, or else a new one
            on this host alone.
        per_node: which resources of Ray a node of the study takes, in addition to the GPUs or CPU cores of its devices,
            for example `{"a100": 1}`. They may also replace the number of cores, `{"CPU": 8}`.
        labels: which labels of Ray a node must have, for example `{"ray.io/accelerator-type": "H100"}`.
        per_type: how to recognize the nodes of each instance type of the pool: what they take or have in addition to
            `per_node` and `labels`. A number is a resource, and text is a label. For example
            `{"p3.16xlarge": {"v100": 1}, "g4dn.12xlarge": {"ray.io/accelerator-type": "T4"}}`. A pool with several
            instance types needs it.
        timeout: for how long the study waits for nodes while nothing trains: seconds, or text such as "10min"; None: no
            limit.

    Raises:
        ArgumentError: a value is not allowed.

    Examples:
        >>> hwt.RayCluster(per_node={"a100": 1}, timeout="2min").timeout_s
        120.0
    """

    address: str | None = None
    per_node: Mapping[str, float] | None = None
    labels: Mapping[str, str] | None = None
    per_type: Mapping[str, Mapping[str, float | str]] | None = None
    timeout: float | str | None = 600.0

    abilities: ClassVar[Abilities] = AgentsExecutor.abilities

    def __post_init__(self) -> None:
        for name, n in (self.per_node or {}).items():
            if not _is_resource(n):
                raise ArgumentError(f"RayCluster.per_node[{name!r}]", n, "a number above 0")
        for name, value in (self.labels or {}).items():
            if not isinstance(value, str):
                raise ArgumentError(f"RayCluster.labels[{name!r}]", value, "text")
        for type_name, needs in (self.per_type or {}).items():
            place = f"RayCluster.per_type[{type_name!r}]"
            if not isinstance(needs, Mapping) or not needs:
                raise ArgumentError(place, needs, "a mapping such as {'a100': 1} or {'kind': 'big'}")
            for name, needed in needs.items():
                if not isinstance(needed, str) and not _is_resource(needed):
                    allowed = "a number above 0 for a resource, or text for a label"
                    raise ArgumentError(f"{place}[{name!r}]", needed, allowed)

    @property
    def timeout_s(self) -> float:
        """The timeout in seconds; infinity if there is none."""
        return parse_duration("RayCluster.timeout", self.timeout) or math.inf

    def check_here(self, pool: Pool) -> None:
        """Refuses what cannot work, before anything of a run is written.

        Raises:
            ArgumentError: the pool has no nodes, or instance types of which `per_type` says nothing.
            MissingDependencyError: Ray is not installed.
        """
        AgentsExecutor.check_here(pool)
        self.refuse_other_types(pool)
        if importlib.util.find_spec("ray") is None:
            raise MissingDependencyError("the executor 'ray' needs Ray: pip install 'lightning_hwtune[ray]'")

    def refuse_other_types(self, pool: Pool) -> None:
        """Refuses a pool whose instance types are not those of `per_type`.

        Raises:
            ArgumentError: they are not.
        """
        types, given = {kind.type.name for kind in pool.kinds}, self.per_type or {}
        if pool.types and (unsaid := sorted(types - given.keys())):
            hint = "For example RayCluster(per_type={'p3.16xlarge': {'v100': 1}, 'g4dn.12xlarge': {'t4': 1}})."
            allowed = f"a resource or label of Ray for each instance type; there is none for {', '.join(unsaid)}"
            raise ArgumentError("RayCluster.per_type", self.per_type, allowed, hint=hint)
        if unknown := sorted(given.keys() - types):
            names = "no instance type" if types == {NODE} else f"{', '.join(map(repr, sorted(types)))}"
            raise ArgumentError("RayCluster.per_type", unknown, f"the instance types of the pool, which has {names}")

    def needs(self, instance: str) -> tuple[dict[str, float], dict[str, str]]:
        """Returns the resources and the labels of a node, in addition to its devices.

        Args:
            instance: the name of its instance type.
        """
        own = (self.per_type or {}).get(instance, {})
        resources = {name: value for name, value in own.items() if not isinstance(value, str)}
        labels = {name: value for name, value in own.items() if isinstance(value, str)}
        return {**(self.per_node or {}), **resources}, {**(self.labels or {}), **labels}

    def for_run(self, setup: RunSetup) -> AgentsExecutor:
        """Returns the executor of a run."""
        return RayExecutor.launched(setup, RayLauncher(self, setup.pool))


def lacking(needs: Mapping[str, float], labels: Mapping[str, str], nodes: Sequence[Mapping[str, Any]]) -> str:
    """Returns, as a sentence, that no node of a cluster can ever be one of the study; empty if one can.

    Args:
        nodes: as `ray.nodes()` describes them.
    """
    plain = {name: value for name, value in labels.items() if value.replace("-", "_").isidentifier()}
    alive = [node for node in nodes if node["Alive"]]
    for node in alive:
        there = node["Resources"]
        if all(there.get(name, 0) >= n for name, n in needs.items()) and plain.items() <= node["Labels"].items():
            return ""
    wanted = _wanted(needs, plain)
    found = sorted({_spelled(_shown(node["Resources"])) for node in alive} - {""})
    return f"No node of the Ray cluster has {wanted}. Its nodes have: {'; '.join(found) or 'nothing'}."


def _is_resource(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _devices(pool: Pool, n_devices: int) -> dict[str, float]:
    """Returns the resources of so many devices of a pool."""
    if pool.accelerator == "gpu":
        return {"GPU": float(n_devices)}
    return {"CPU": float(n_devices * pool.threads_per_device)}


def _shown(resources: Mapping[str, float]) -> dict[str, float]:
    """Returns the resources that users know, without memory and Ray's own."""
    hidden = ("memory", "object_store_memory")
    return {name: n for name, n in resources.items() if name not in hidden and not name.startswith("node:")}


def _wanted(needs: Mapping[str, float], labels: Mapping[str, str]) -> str:
    return _spelled(needs) + (f" and the labels {_spelled(labels)}" if labels else "")


def _spelled(resources: Mapping[str, object]) -> str:
    parts = {name: f"{n:g}" if isinstance(n, float | int) else n for name, n in resources.items()}
    return ", ".join(f"{name}={parts[name]}" for name in sorted(parts))


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Keeps the handler of SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
