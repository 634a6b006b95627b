"""The fixture that every test of the training side starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
from rank_bench import Bench

from lightning_hwtune.training.channel import SegmentOrder


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A trial of four epochs on one device."""
    return Bench(
        SegmentOrder(
            study="study",
            trial_id=17,
            segment=1,
            config={"lr": 0.003},
            seed=5,
            num_devices=1,
            slots=(0,),
            accelerator="cpu",
            threads_per_device=1,
            trial_dir=str(tmp_path),
            resource=0,
            checkpoint=None,
            unit="epochs",
            max_resource=4,
            levels=(1, 2, 4),
            metrics=("val_error",),
        )
    )
