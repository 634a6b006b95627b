"""lightning_hwtune with the stopping type of ASHA, as the peers have it."""

from __future__ import annotations

from typing import Any

from benchmarks.peers import ours
from benchmarks.peers.workload import Workload, contend

__all__ = ["run"]


def run(workload: Workload) -> dict[str, Any]:
    """Trains all configurations."""
    return ours.run(workload, asha_type="stopping")


if __name__ == "__main__":
    contend(run)
