"""The contenders of `benchmarks/overhead.py`: one module a framework, all given one workload, each in its own process.

Each is started as `python -m benchmarks.peers.NAME`, finds its workload in the environment and leaves `result.json`.
"""

from __future__ import annotations
