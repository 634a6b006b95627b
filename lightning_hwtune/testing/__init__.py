"""Contract suites that every scheduler, searcher and allocation policy must pass, ours and those of third parties.

    from lightning_hwtune.testing import check_scheduler, check_searcher

    def test_my_scheduler():
        check_scheduler(MyScheduler(max_epochs=27))

Each check is a plain function that raises an `AssertionError` with the reason. Nothing is trained, no process is
started, every seed is fixed, and no test framework is needed.
"""

from __future__ import annotations

from lightning_hwtune.testing.policy_contract import check_policy
from lightning_hwtune.testing.scheduler_contract import check_scheduler
from lightning_hwtune.testing.searcher_contract import check_searcher

__all__ = ["check_policy", "check_scheduler", "check_searcher"]
