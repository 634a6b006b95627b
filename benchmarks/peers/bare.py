"""No framework: one warm process, one training after another, and the stopping rule of ASHA in a few lines."""

from __future__ import annotations

from collections import defaultdict

from benchmarks.peers.workload import Workload, contend

__all__ = ["run"]


def run(workload: Workload) -> None:
    """Trains all configurations."""
    from benchmarks.peers.training import fit

    rungs: dict[int, list[float]] = defaultdict(list)
    levels = {workload.eta**k for k in range(workload.max_epochs.bit_length())}

    def is_over(epoch: int, error: float) -> bool:
        if epoch not in levels:
            return False
        rungs[epoch].append(error)
        return sorted(rungs[epoch]).index(error) > len(rungs[epoch]) / workload.eta

    for index in range(workload.n_trials):
        fit(index, is_over)


if __name__ == "__main__":
    contend(run)
