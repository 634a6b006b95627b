"""The contenders of the benchmarks.

For `benchmarks/overhead.py`: one module per framework. All get the same workload, each in its own process. Each is
started as `python -m benchmarks.peers.NAME`, reads its workload from the environment and writes `result.json`.

For `benchmarks/replay.py`: the modules `replay_*`. Each puts a rule of another library behind our own interface of
schedulers or searchers, so that tables, workers, draws, clock and accounting are the same for all.
"""

from __future__ import annotations
