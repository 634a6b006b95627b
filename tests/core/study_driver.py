"""Small studies for tests of the decisions, and what drives them."""

from __future__ import annotations

from typing import Any

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA, Scheduler
from lightning_hwtune.core.searchers import Random, Searcher
from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.testing.study_driver import Curve, Driver, default_curve, rebuilt_state, snapshot

__all__ = ["Curve", "Driver", "default_curve", "rebuilt_state", "snapshot", "space", "spec"]


def space() -> SearchSpace:
    return SearchSpace(lr=Float(1e-4, 1e-1, log=True), batch_size=Choice([32, 64]), devices=NumDevices(1, 2))


def spec(
    *,
    scheduler: Scheduler | None = None,
    searcher: Searcher | None = None,
    devices: int = 2,
    seed: int = 0,
    **kwargs: Any,
) -> StudySpec:
    return StudySpec(
        name="test",
        space=kwargs.pop("space", None) or space(),
        objectives=kwargs.pop("objectives", None) or Objectives([Metric("error", "min"), TrainSeconds(), Cost()]),
        scheduler=scheduler or ASHA(max_epochs=9),
        searcher=searcher or Random(),
        pool=Pool("cpu", devices, usd_per_device_hour=3.6),
        seed=seed,
        **kwargs,
    )
