"""A replicate of an app has its own seed, even if the app's configuration sets one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from omegaconf import OmegaConf

from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.apps.hydra.app import AppOverrides
from lightning_hwtune.apps.hydra.app_config import seed_key
from lightning_hwtune.apps.hydra.search import Search
from lightning_hwtune.apps.lightning_cli.segment import CliTrial
from lightning_hwtune.core.parameters import Int
from lightning_hwtune.core.record import Unit
from lightning_hwtune.training.channel import SegmentOrder

ORDER = SegmentOrder(
    study="s", trial_id=5, segment=1, config={}, seed=1234, num_devices=1, slots=(0,), accelerator="cpu",
    threads_per_device=1, trial_dir="/nowhere", resource=0, checkpoint=None, unit=Unit.EPOCHS, max_resource=9,
    levels=(9,), metrics=("loss",),
)  # fmt: skip


@pytest.mark.parametrize(("is_replicate", "seed"), [(False, 42), (True, 1234)])
def test_the_seed_of_a_lightning_cli_configuration_is_replaced(is_replicate: bool, seed: int) -> None:
    trial = CliTrial(ConfigTree("seed_everything: 42\ntrainer: {}\n"), {}, {}, has_seed=True)
    config = trial.config({}, 1, 1234, is_replicate=is_replicate)
    assert config.get("seed_everything") == seed


def test_the_seed_key_of_a_hydra_app_is_replaced() -> None:
    overrides = AppOverrides(Search(), seed_key="seed")
    assert overrides.of(ORDER) == []
    assert overrides.of(replace(ORDER, is_replicate=True)) == ["++seed=1234"]
    assert AppOverrides(Search()).of(replace(ORDER, is_replicate=True)) == []


@pytest.mark.parametrize(
    ("config", "searched", "key"),
    [
        ({"seed": 7}, {}, "seed"),
        ({"seed": None}, {}, None),
        ({"seed": True}, {}, None),
        ({"model": {"seed": 7}}, {}, None),
        ({"seed": 7}, {"seed": Int(0, 9)}, None),
    ],
)
def test_only_a_number_under_seed_that_is_not_searched_is_the_apps_seed(
    config: dict[str, Any], searched: dict[str, Any], key: str | None
) -> None:
    assert seed_key(OmegaConf.create(config), Search(searched)) == key
