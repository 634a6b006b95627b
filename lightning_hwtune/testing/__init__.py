"""Contract suites that every scheduler, searcher, allocation policy and executor must pass, ours and those of users.

    from lightning_hwtune.testing import check_scheduler, check_searcher

    def test_my_scheduler():
        check_scheduler(MyScheduler(max_epochs=27))

Each check is a plain function that raises an `AssertionError` with the reason. Every seed is fixed, and no test
framework is needed. Only `check_executor` trains, and starts what the executor starts.
"""

from __future__ import annotations

from lightning_hwtune.testing.executor_contract import check_executor
from lightning_hwtune.testing.policy_contract import check_policy
from lightning_hwtune.testing.scheduler_contract import check_scheduler
from lightning_hwtune.testing.searcher_contract import check_searcher

__all__ = ["check_executor", "check_policy", "check_scheduler", "check_searcher"]
