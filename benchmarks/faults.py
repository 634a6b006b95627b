"""Does a study survive faults one by one: kills, stops, signals, broken messages, unusual texts, lost and moved files?

    python benchmarks/faults.py
    python benchmarks/faults.py --only server_killed rank_stop

Each fault happens to a small real study (`benchmarks/fault/study.py`) in its own process. The same command then
continues the study to its end. Prints one JSON object and exits with 1 if a promise was broken. `figures`:

- faults: how many were tried. not_possible: how many this machine does not allow, such as mounts.
- lost: reports that are missing in the log or in it twice, missing or damaged checkpoints, trials that never ended.
- orphaned: processes that were alive 5 seconds after their study ended, and folders left in the temporary folder.
- hung: waits that did not end.
- wrong: other broken promises: a bare traceback, another exit status, a retry for a fault that is not the trial's, a
  port that other machines can reach, an error that does not name its cause.
- slowest_signal_s: from Ctrl-C, SIGTERM or SIGHUP, during imports and trainings, to the end of the process.
- broken: for each fault, how many of its promises were broken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import lightning_hwtune as hwt  # noqa: E402 - found from the repository's root
from benchmarks.fault import files, processes  # noqa: E402
from benchmarks.fault.bench import Bench, NotPossible  # noqa: E402

__all__ = ["FAULTS", "main"]

FAULTS = {**processes.FAULTS, **files.FAULTS}


def main() -> None:
    """Runs all faults, or only the given ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="FAULT", choices=list(FAULTS), default=list(FAULTS))
    names = parser.parse_args().only
    totals = dict.fromkeys(("lost", "orphaned", "hung", "wrong"), 0)
    broken, not_possible, signal_s = dict[str, int](), list[str](), list[float]()
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="hwfault-") as folder:
            bench = Bench(Path(folder))
            try:
                FAULTS[name](bench)
            except NotPossible as reason:
                not_possible.append(f"{name}: {reason}")
                continue
            except Exception:
                traceback.print_exc()
                bench.wrong += 1
            bench.count_orphans()
        counts = {key: getattr(bench, key) for key in totals}
        broken[name] = sum(counts.values())
        totals = {key: totals[key] + counts[key] for key in totals}
        signal_s += bench.signal_s
        print(f"{name}: {counts}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    figures = {
        "faults": len(broken),
        "not_possible": len(not_possible),
        **totals,
        "slowest_signal_s": round(max(signal_s, default=0.0), 2),
        "broken": broken,
    }
    versions = {"python": platform.python_version(), "lightning_hwtune": hwt.__version__}
    machine = {"platform": platform.platform(), "cores": len(os.sched_getaffinity(0))}
    document = {"figures": figures, "machine": machine, "versions": versions, "seeds": [], "not_possible": not_possible}
    print(json.dumps(document))
    sys.exit(0 if not any(totals.values()) else 1)


if __name__ == "__main__":
    main()
