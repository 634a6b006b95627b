"""The ledger: what a study has spent, by what it was spent on, and the bills of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.billing import usd_of

__all__ = ["idle_and_launch_usd", "ledger_entry", "ledger_rows", "useful_usd"]

TRAINING = "training"
OVERHEAD = "start-ups, saving and lost work"
IDLE = "idle and launch"
TOTAL = "total"


def idle_and_launch_usd(state: StudyFacts, now: float) -> float:
    """Returns the part of the nodes' bills that is not attributed to a segment.

    A segment is attributed its device-seconds, from the request to start it until its devices are free again.
    """
    nodes = sum(node.usd(state.clock.at(now)) for node in state.nodes)
    return max(nodes - _segments_usd(state, now, on_nodes=True), 0.0)


def useful_usd(state: StudyFacts) -> float:
    """Returns what the device-seconds cost that led to measurements."""
    useful = [(trial, trial.last.device_s) for trial in state.trials if trial.last is not None]
    if not state.spec.has_prices:
        return usd_of(state.spec.pool, sum(device_s for _, device_s in useful))
    return sum(state.spec.usd_of(trial.config, device_s, trial.allocation.instance) for trial, device_s in useful)


def ledger_entry(state: StudyFacts, now: float) -> dict[str, Any]:
    """Returns the ledger.

    Args:
        now: seconds since the Unix epoch, as in the log.

    Returns:
        total_usd: all bills; None without a price, and so for every other amount. It is the sum of the other amounts.
        training_usd: for the device-seconds that led to measurements.
        overhead_usd: for the other device-seconds of segments: start-ups, saving, and work that was lost.
        idle_and_launch_usd: for the time in which the devices of a node ran no segment; 0 on a pool without an instance
            type, whose free devices cost nothing.
        nodes: one mapping per node: its number, its type, whether it is up, its seconds and its bill.
    """
    nodes = [_node(state, number, now) for number in range(len(state.nodes))]
    entry = dict.fromkeys(("total_usd", "training_usd", "overhead_usd", "idle_and_launch_usd"))
    if state.spec.has_price:
        segments = _segments_usd(state, now, on_nodes=True) + _segments_usd(state, now, on_nodes=False)
        training, idle = min(useful_usd(state), segments), idle_and_launch_usd(state, now)
        overhead = segments - training
        entry = {
            "total_usd": state.billed_usd(now),
            "training_usd": training,
            "overhead_usd": overhead,
            "idle_and_launch_usd": idle,
        }
    return {"study": state.spec.name, **entry, "nodes": nodes}


def ledger_rows(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the lines of the ledger, the total last; no idle line without nodes."""
    amounts = {TRAINING: entry["training_usd"], OVERHEAD: entry["overhead_usd"]}
    amounts |= {IDLE: entry["idle_and_launch_usd"]} if entry["nodes"] else {}
    return [{"line": name, "usd": usd} for name, usd in {**amounts, TOTAL: entry["total_usd"]}.items()]


def _node(state: StudyFacts, number: int, now: float) -> dict[str, Any]:
    node, clock_s = state.nodes[number], state.clock.at(now)
    return {
        "node": node.number,
        "instance": node.instance.name,
        "usd_per_hour": node.instance.price(spot=node.is_spot),
        "state": "up" if node.ended_s is None else "lost" if node.is_lost else "released",
        "up_s": node.up_s(clock_s),
        "billed_usd": node.usd(clock_s),
    }


def _segments_usd(state: StudyFacts, now: float, *, on_nodes: bool) -> float:
    """Returns what the segments on nodes, or those outside of one, have cost by themselves."""
    segments = [segment for segment in state.segments if (segment.node is not None) == on_nodes]
    running = [item for item in segments if item.ended_at is None]
    return sum(item.billed_usd for item in segments) + state.running_usd(running, now)
