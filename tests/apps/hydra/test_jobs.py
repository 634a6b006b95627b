"""What a sweep reads of its jobs: presets, interpolations and resolvers change it from one option to the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from lightning_hwtune.apps.hydra.app_config import add_devices, check_batch_size, horizon
from lightning_hwtune.apps.hydra.jobs import Jobs
from lightning_hwtune.apps.hydra.search import Search, read_search
from lightning_hwtune.apps.hydra.settings import SweepSettings
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.parameters import NumDevices
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.errors import ArgumentError

KEYS = ["trainer.devices", "trainer.max_epochs", "trainer.max_steps", "data.batch_size"]
APP = """
defaults: [_self_, {preset: small}, {part: first}]
bs: 8
n: 2
table: {low: 4, high: 6}
choice: low
trainer: {devices: 1, max_epochs: 4, max_steps: -1}
data: {batch_size: 8, workers: 0}
callback: {_target_: lightning.pytorch.callbacks.ModelCheckpoint, monitor: val/loss, mode: min}
"""
OPTIMIZERS = {"adam": "optimizer: {name: adam}", "sgd": "optimizer: {name: sgd, momentum: 0.0}"}
PRESETS = {
    "small": "",
    "same": "data: {workers: 2}",
    "large": "data: {batch_size: 64}",
    "odd": "data: {batch_size: 9}",
    "two": "trainer: {devices: 2}",
    "long": "trainer: {max_epochs: 6}",
    "steps": "trainer: {max_steps: 100}",
    "acc": "callback: {monitor: val/acc, mode: max}",
    "derived": "trainer: {max_epochs: '${multiply:${n},2}'}",
    "of_n": "data: {batch_size: '${multiply:${n},4}'}",
    "of_bs": "data: {batch_size: '${bs}'}",
    "of_table": "trainer: {max_epochs: '${table[${choice}]}'}",
    "looked_up": "trainer: {max_epochs: '${oc.select:table.${choice}}'}",
    "stepped": "trainer: {devices: '${n}'}",
    "late": "trainer: {max_epochs: '${hydra:job.num}'}",
}


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[Any]:
    """The folder's `app.yaml` has groups `preset`, which may change anything, and `part`, which changes nothing."""
    (tmp_path / "app.yaml").write_text(APP)
    groups = {"preset": PRESETS, "part": {"first": "", "second": ""}, "optimizer": OPTIMIZERS}
    for group, options in groups.items():
        (tmp_path / group).mkdir()
        for name, text in options.items():
            (tmp_path / group / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    OmegaConf.register_new_resolver("multiply", lambda a, b: a * b, replace=True)
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        yield GlobalHydra.instance().hydra
    OmegaConf.clear_resolver("multiply")


def jobs(hydra: Any, *overrides: str) -> tuple[Search, Jobs]:
    config = hydra.compose_config("app", [], run_mode=RunMode.MULTIRUN)
    search = read_search({}, overrides, hydra.config_loader)
    return search, Jobs.compose(hydra.config_loader, config, search, KEYS)


GIVEN = SweepSettings.of(
    OmegaConf.create({"n_trials": 1, "hwtune": {"max_epochs_key": KEYS[1], "devices_key": KEYS[0]}})
)


def spec(search: Search) -> StudySpec:
    return StudySpec(
        name="s", space=SearchSpace(search.parameters), objectives=Objectives([Metric("val/loss", "min")]),
        scheduler=ASHA(4, first_rung=1), searcher=Random(), pool=Pool("cpu", devices=16),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "received"),
    [
        (["preset=small,long"], "4 with preset=small, 6 with preset=long"),
        (["preset=derived", "n=choice(2,3)"], "6 with n=3, 4 with n=2"),
        (["preset=derived", "n=int(interval(2,9))"], "with n="),
        (["preset=small,derived", "n=choice(2,3)"], "6 with "),  # differs with one of the presets only
        (["preset=of_table", "choice=low,high"], "4 with choice=low"),
        (["preset=looked_up", "choice=low,high"], "6 with choice=high"),
        (["preset=long,small", "part=first,second", "bs=1,2"], "preset=long"),
    ],
)
def test_a_horizon_that_follows_what_is_searched_is_refused(loader: Any, overrides: list[str], received: str) -> None:
    search, found = jobs(loader, *overrides)
    with pytest.raises(ArgumentError, match="one value, the full training of all trials") as refused:
        horizon(search, GIVEN, found.configs)
    assert refused.value.argument == "trainer.max_epochs"
    text = str(refused.value.received)
    assert received in text or ", ".join(reversed(received.split(", "))) in text


def test_a_horizon_in_steps_is_compared_too(loader: Any) -> None:
    search, found = jobs(loader, "preset=small,steps")
    with pytest.raises(ArgumentError) as refused:
        horizon(search, GIVEN, found.configs)
    assert refused.value.argument == "trainer.max_steps"


@pytest.mark.parametrize(
    ("overrides", "value"),
    [
        (["preset=small,large,same"], 4),
        (["preset=small,long", "trainer.max_epochs=9"], 9),
        (["preset=derived", "bs=choice(1,2)"], 4),
        (["preset=late", "bs=choice(1,2)"], None),
        (["lr=interval(0,1)", "+more={a:1},{b:2}", "table=choice({low:4},{low:5})"], 4),
    ],
)
def test_a_horizon_that_all_trials_share_is_taken(loader: Any, overrides: list[str], value: int | None) -> None:
    overrides = [text.replace("lr=", "+lr=") for text in overrides]
    search, found = jobs(loader, *overrides)
    assert horizon(search, GIVEN, found.configs).epochs == value


@pytest.mark.parametrize(
    ("overrides", "received"),
    [
        (["preset=small,two"], "1 with preset=small"),
        (["preset=stepped", "n=choice(1,2,3)"], "with n="),
        (["preset=small,stepped", "n=choice(2,3)"], "with n="),
    ],
)
def test_devices_that_follow_what_is_searched_are_refused(loader: Any, overrides: list[str], received: str) -> None:
    search, found = jobs(loader, *overrides)
    with pytest.raises(ArgumentError, match="the same number of devices for all trials") as refused:
        add_devices(search, KEYS[0], found.configs)
    assert received in str(refused.value.received)


@pytest.mark.parametrize(
    ("overrides", "devices"),
    [
        (["preset=small,large"], None),
        (["preset=two,small", "trainer.devices=2"], NumDevices(2)),
        (["preset=two,small", "trainer.devices=choice(1,2)"], NumDevices(1, 2)),
    ],
)
def test_devices_that_all_trials_share_are_taken(loader: Any, overrides: list[str], devices: NumDevices | None) -> None:
    search, found = jobs(loader, *overrides)
    add_devices(search, KEYS[0], found.configs)
    assert search.parameters.get(KEYS[0]) == devices


@pytest.mark.parametrize(
    ("overrides", "allowed"),
    [
        (["preset=small,acc"], "the same for all trials"),
        (["preset=small,same", "callback.monitor=val/loss,val/acc"], "the same for all trials"),
    ],
)
def test_a_monitor_that_follows_what_is_searched_is_refused(loader: Any, overrides: list[str], allowed: str) -> None:
    _, found = jobs(loader, *overrides)
    with pytest.raises(ArgumentError, match=r"hwtune\.objectives=") as refused:
        found.configs.shared(
            lambda facts: GIVEN.objectives(facts.monitors)[0], "objectives", allowed, "hwtune.objectives="
        )
    assert "val/acc" in str(refused.value.received)
    assert "val/loss" in str(refused.value.received)


@pytest.mark.parametrize(
    ("overrides", "value", "hint"),
    [
        (["preset=of_bs", "bs=choice(8,16,9)"], 9, "hwtune.batch_size_key=bs"),
        (["preset=small,of_n", "n=choice(2,3)", "trainer.devices=choice(1,8)"], 12, "global batch"),
        (["preset=small,large", "trainer.devices=choice(1,16)"], 8, "global batch"),
        (["data.batch_size=6", "bs=choice(1,2)", "trainer.devices=4"], 6, "global batch"),
    ],
)
def test_a_batch_size_that_does_not_divide_in_some_job_is_refused(
    loader: Any, overrides: list[str], value: int, hint: str
) -> None:
    search, found = jobs(loader, *overrides, *([] if "devices" in str(overrides) else ["trainer.devices=choice(1,2)"]))
    add_devices(search, KEYS[0], found.configs)
    with pytest.raises(ArgumentError, match="a positive multiple of") as refused:
        check_batch_size("data.batch_size", spec(search), found)
    assert (refused.value.argument, refused.value.received) == ("data.batch_size", value)
    assert hint in refused.value.hint


@pytest.mark.parametrize("overrides", [["preset=small,large"], ["preset=of_bs", "bs=choice(8,16,32)"]])
def test_batch_sizes_may_follow_what_is_searched(loader: Any, overrides: list[str]) -> None:
    search, found = jobs(loader, *overrides, "trainer.devices=choice(1,2)")
    add_devices(search, KEYS[0], found.configs)
    check_batch_size("data.batch_size", spec(search), found)
    assert {job.facts.values["data.batch_size"] for job in found.configs.seen} > {8}


def test_what_options_bring_is_kept_as_it_is_written(loader: Any) -> None:
    _, found = jobs(loader, "preset=small,of_bs,large", "part=first,second", "bs=choice(1,2)", "+x=interval(0,1)")
    assert {name: dict(values) for name, values in found.options.items()} == {
        "preset=small": {"data.batch_size": 8},
        "preset=large": {"data.batch_size": 64},
    }, "the example has preset=of_bs, the middle option"


def test_many_groups_are_composed_one_change_at_a_time(loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_hwtune.apps.hydra.jobs._MAX_COMBINATIONS", 3)
    search, found = jobs(loader, "preset=small,same,long", "part=first,second")
    assert len(found.configs.seen) == 4
    with pytest.raises(ArgumentError, match="with preset=long"):
        horizon(search, GIVEN, found.configs)


def test_a_value_that_the_app_does_not_take_is_refused(loader: Any) -> None:
    with pytest.raises(ArgumentError, match=r"'bs\.other'") as refused:
        jobs(loader, "bs.other=choice(1,2)")
    assert "To add a key" not in str(refused.value)


# ---- conditions

MOMENTUM = 'optimizer.momentum=tag("optimizer=sgd", interval(0.5, 0.9))'


def test_a_job_has_only_the_parameters_that_exist_in_it(loader: Any) -> None:
    _, found = jobs(loader, "+optimizer=sgd,adam", MOMENTUM)  # adam has no momentum, so its override would fail
    assert found.example.optimizer == {"name": "adam"}
    assert len(found.configs.seen) == 2 + 2  # one for each optimizer, and the two ends of the momentum
    assert set(found.options["optimizer=sgd"]) == {"optimizer.name", "optimizer.momentum"}


def test_a_value_that_only_a_conditional_parameter_sets_is_seen(loader: Any) -> None:
    overrides = ["bs=1,2", 'trainer.max_epochs=tag("bs=2", choice(4, 6))']
    search, found = jobs(loader, *overrides)
    assert {job.facts.values["trainer.max_epochs"] for job in found.configs.seen} == {4, 6}
    with pytest.raises(ArgumentError, match="one value, the full training of all trials"):
        horizon(search, GIVEN, found.configs)


@pytest.mark.parametrize(("size", "is_fit"), [(8, True), (9, False)])
def test_the_apps_own_batch_size_must_divide_where_the_searched_one_does_not_exist(
    loader: Any, size: int, is_fit: bool
) -> None:
    overrides = [
        "choice=low,high",
        f"preset={'same' if is_fit else 'odd'}",
        'data.batch_size=tag("choice=high", choice(16, 32))',
        "trainer.devices=1,2",
    ]
    search, found = jobs(loader, *overrides)
    add_devices(search, "trainer.devices", found.configs)
    if is_fit:
        check_batch_size("data.batch_size", spec(search), found)
    else:
        with pytest.raises(ArgumentError, match="a positive multiple of 1 and of 2") as refused:
            check_batch_size("data.batch_size", spec(search), found)
        assert refused.value.received == size


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("trainer.max_epoch=choice(4,6)", "Did you mean 'trainer.max_epochs'?"),
        ("dta.workers=choice(0,1)", "Did you mean 'data.workers'?"),
        ("data.workers.n=choice(0,1)", "Did you mean 'data.workers'?"),
        ("zzzzzz=choice(0,1)", "To add a key"),
    ],
)
def test_a_misspelt_searched_key_gets_the_nearest_one(loader: Any, override: str, nearest: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(ArgumentError) as refused:
        jobs(loader, override, "bs=choice(8,16)")
    assert refused.value.received == key
    assert nearest in str(refused.value)
    assert (f"write +{key}=..." in str(refused.value)) == (key != "data.workers.n")


@pytest.mark.parametrize(
    ("key", "said"), [("data.batchsize", "did you mean 'data.batch_size'"), ("data", "an integer")]
)
def test_a_wrong_key_of_the_batch_size_is_told_by_its_kind(loader: Any, key: str, said: str) -> None:
    config = loader.compose_config("app", [], run_mode=RunMode.MULTIRUN)
    search = read_search({}, ["bs=choice(8,16)"], loader.config_loader)
    found = Jobs.compose(loader.config_loader, config, search, [*KEYS, key])
    with pytest.raises(ArgumentError, match=said):
        check_batch_size(key, spec(search), found)
