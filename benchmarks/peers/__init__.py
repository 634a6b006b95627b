"""The contenders of the benchmarks.

Of `benchmarks/overhead.py`: one module a framework, all given one workload, each in its own process. Each is started as
`python -m benchmarks.peers.NAME`, finds its workload in the environment and leaves `result.json`.

Of `benchmarks/replay.py`: the modules `replay_*`, each a rule of others behind our own interface of schedulers or
searchers, so that tables, workers, draws, clock and accounting are the same for all.
"""

from __future__ import annotations
