"""Wrong calls of the public names: refused at once, by a message that names what was given and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lightning_hwtune as hwt


def train(trial: hwt.Trial) -> None:
    raise AssertionError("nothing may train here")


def study(**changes: Any) -> hwt.Study:
    settings: dict[str, Any] = {
        "name": "study",
        "space": hwt.SearchSpace(x=hwt.Float(0.0, 1.0)),
        "objectives": [hwt.Metric("error", "min")],
        "scheduler": hwt.ASHA(max_epochs=9),
        "pool": hwt.Pool("cpu", devices=2),
    }
    return hwt.Study(**{**settings, **changes})


DEVICES = hwt.NumDevices(1, 2)

# call -> what the message must hold
CALLS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    # objectives
    "bare string": (lambda: study(objectives="val_acc"), ["`objectives`", "'val_acc'", "Metric("]),
    "string in a list": (
        lambda: study(objectives=["val_acc"]),
        ["Metric('val_acc', 'min')", "Metric('val_acc', 'max')", "direction"],
    ),
    "no objective": (lambda: study(objectives=[]), ["`objectives`", "at least one"]),
    "two of one name": (
        lambda: study(objectives=[hwt.Metric("error", "min"), hwt.Metric("error", "max")]),
        ["'error' occurs twice"],
    ),
    "mode": (lambda: hwt.Metric("error", "smaller"), ["`Metric.mode`", "'smaller'", "'min' or 'max'"]),
    "measured name": (lambda: hwt.Metric("train_s", "min"), ["'train_s'", "TrainSeconds()"]),
    "cost without a price": (
        lambda: study(objectives=[hwt.Metric("error", "min"), hwt.Cost()]),
        ["Cost()", "usd_per_device_hour"],
    ),
    "two multiples": (
        lambda: study(objectives=[hwt.TrainSeconds(), hwt.DeviceSeconds()]),
        ["'train_s', 'device_s'", "NumDevices(1, 2)"],
    ),
    # space
    "no mapping": (lambda: study(space=[hwt.Float(0.0, 1.0)]), ["`space`", "SearchSpace("]),
    "no parameter": (lambda: study(space={"x": (0.0, 1.0)}), ["`x`"]),
    "tuple": (lambda: hwt.SearchSpace(x=(0.0, 1.0)), ["`x`", "(0.0, 1.0)", "Float(low, high)"]),
    "empty space": (lambda: hwt.SearchSpace(), ["at least one parameter"]),
    "inverted range": (lambda: hwt.Float(1.0, 0.0), ["`Float.high`", "0.0", "low=1.0", "swapped"]),
    "log from 0": (lambda: hwt.Float(0.0, 1.0, log=True), ["`Float.low`", "above 0"]),
    "fractional int": (lambda: hwt.Int(1.5, 3), ["`Int.low`", "1.5", "integer"]),  # type: ignore[arg-type]
    "empty choice": (lambda: hwt.Choice([]), ["`Choice.options`", "at least one"]),
    "devices as a list": (lambda: hwt.NumDevices([1, 2]), ["NumDevices(1, 2)"]),  # type: ignore[arg-type]
    "devices from 0": (lambda: hwt.NumDevices(0, 1), ["`NumDevices` is 0", "from 1"]),
    "two device counts": (lambda: hwt.SearchSpace(a=hwt.NumDevices(1), b=hwt.NumDevices(2)), ["`b`", "'a'"]),
    "devices above the pool": (
        lambda: study(space=hwt.SearchSpace(devices=hwt.NumDevices(1, 4))),
        ["`devices`", "4", "2, the number of cpu devices"],
    ),
    "batch never divides": (
        lambda: study(space=hwt.SearchSpace(batch_size=hwt.Choice([63, 65]), devices=hwt.NumDevices(2))),
        ["`batch_size`", "63", "[2]", "per_device"],
    ),
    "batch of an enqueued point": (
        lambda: study(space=hwt.SearchSpace(batch_size=hwt.Choice([63, 64]), devices=DEVICES)).enqueue(
            {"batch_size": 63, "devices": 2}
        ),
        ["`batch_size`", "63", "2 devices"],
    ),
    "point outside": (lambda: study().enqueue({"x": 2.0}), ["`x`", "2.0", "0.0 to 1.0"]),
    "point of another space": (lambda: study().enqueue({"y": 0.5}), ["'y'", "x"]),
    # parts of a study
    "scheduler by name": (lambda: study(scheduler="asha"), ["`scheduler.max_epochs`", "max_epochs=27"]),
    "scheduler class": (lambda: study(scheduler=hwt.ASHA), ["`scheduler`", "ASHA(max_epochs="]),
    "scheduler by another name": (lambda: study(scheduler="ahsa"), ["`scheduler.name`", "'ahsa'", "'asha'"]),
    "searcher by another name": (lambda: study(searcher="randm"), ["`searcher.name`", "'randm'", "'random'"]),
    "option of a searcher": (lambda: study(searcher={"name": "tpe", "god": 1}), ["`searcher.god`", "'good'"]),
    "searcher by number": (lambda: study(searcher=3), ["`searcher`", "3", "Random()"]),
    "allocation by number": (lambda: study(allocation=2), ["`allocation`", "2", "FixedAllocation(2)"]),
    "allocation by another name": (lambda: study(allocation="fixd"), ["`allocation.name`", "'fixd'", "'fixed'"]),
    "no devices": (lambda: study(allocation={"name": "fixed", "devices": 0}), ["`allocation.devices`", "0", "from 1"]),
    "pool by number": (lambda: study(pool=2), ["`pool`", "2", "Pool(devices=2)"]),
    "batch": (lambda: study(batch="local"), ["`batch`", "'local'", "'per_device'"]),
    "seed": (lambda: study(seed=-1), ["`seed`", "-1"]),
    "disk budget": (lambda: study(disk_budget="20 cubits"), ["`disk_budget`", "'20 cubits'", "'20GB'"]),
    "name": (lambda: study(name="a/b"), ["`name`", "'a/b'", "folder name"]),
    "storage": (lambda: study(storage="study.db"), ["`storage`", "'study.db'", "sqlite:////"]),
    "retries": (lambda: study(max_retries=-1), ["`max_retries`", "-1"]),
    # scheduler and pool
    "no horizon": (lambda: hwt.ASHA(), ["max_epochs=27"]),
    "two horizons": (lambda: hwt.ASHA(max_epochs=9, max_steps=9), ["exactly one"]),
    "fractional horizon": (lambda: hwt.ASHA(max_epochs=9.5), ["`max_epochs`", "9.5"]),  # type: ignore[arg-type]
    "first rung above": (lambda: hwt.ASHA(max_epochs=9, first_rung=10), ["`first_rung`", "10", "1 to 9"]),
    "eta": (lambda: hwt.ASHA(max_epochs=9, eta=1), ["`eta`", "1"]),
    "type": (lambda: hwt.ASHA(max_epochs=9, type="promote"), ["`type`", "did you mean 'promotion'"]),
    "brackets": (lambda: hwt.ASHA(max_epochs=9, brackets=7), ["`brackets`", "7", "1 to 3"]),
    "accelerator": (lambda: hwt.Pool("tpu"), ["`Pool.accelerator`", "'tpu'", "'gpu'"]),
    "which devices": (lambda: hwt.Pool("gpu", [0, 1]), ["[0, 1]", "a count, not device indices"]),  # type: ignore[arg-type]
    "no device": (lambda: hwt.Pool("cpu", 0), ["`Pool.devices`", "0"]),
    "price": (lambda: hwt.Pool("cpu", 1, -1.0), ["usd_per_device_hour", "-1.0"]),
    # running
    "no limit": (lambda: study().run(train), ["`max_trials`, `max_time` and `max_cost`"]),
    "no trial": (lambda: study().run(train, max_trials=0), ["`max_trials`", "0", "positive integer"]),
    "time": (lambda: study().run(train, max_time="8 parsecs"), ["`max_time`", "'8 parsecs'", "'8h'"]),
    "cost": (lambda: study().run(train, max_cost=-1.0), ["`max_cost`", "-1.0"]),
    "cost of what has no price": (lambda: study().run(train, max_cost=3.0), ["`max_cost`", "3.0", "Pool(usd_"]),
    "finishers": (lambda: study().run(train, max_trials=1, finishers=-1), ["`finishers`", "-1"]),
    "executor": (lambda: study().run(train, max_trials=1, executor="dask"), ["`executor`", "'dask'", "'inline'"]),
    "no function": (lambda: study().run("train", max_trials=1), ["`train`", "'train'", "Trial"]),  # type: ignore[arg-type]
    "told without asking": (lambda: study().tell(None), ["`trial`", "ask()"]),  # type: ignore[arg-type]
}

# call with a habit or a slip -> what it is called here
HABITS: dict[str, tuple[Callable[[], Any], str]] = {
    "Study direction": (lambda: study(direction="minimize"), "Metric('val_loss', 'min')"),
    "Study sampler": (lambda: study(sampler=None), "`searcher`"),
    "Study pruner": (lambda: study(pruner=None), "`scheduler`"),
    "Study n_trials": (lambda: study(n_trials=3), "`max_trials`"),
    "Study objectivs": (lambda: study(objectivs=[]), "did you mean 'objectives'"),
    "run n_trials": (lambda: study().run(train, n_trials=3), "`max_trials`"),
    "run timeout": (lambda: study().run(train, timeout=60), "`max_time`"),
    "run n_jobs": (lambda: study().run(train, max_trials=3, n_jobs=2), "Pool(devices="),
    "run workers": (lambda: study().run(train, max_trials=3, workers=2), "Pool(devices="),
    "run max_trails": (lambda: study().run(train, max_trails=3), "did you mean 'max_trials'"),
    "ASHA max_t": (lambda: hwt.ASHA(max_t=9), "`max_epochs`"),
    "ASHA grace_period": (lambda: hwt.ASHA(max_epochs=9, grace_period=1), "`first_rung`"),
    "ASHA reduction_factor": (lambda: hwt.ASHA(max_epochs=9, reduction_factor=3), "`eta`"),
    "ASHA metric": (lambda: hwt.ASHA(max_epochs=9, metric="x"), "Metric('val_loss', 'min')"),
    "ASHA max_epoch": (lambda: hwt.ASHA(max_epoch=9), "did you mean 'max_epochs'"),
    "RunToEnd max_t": (lambda: hwt.RunToEnd(max_t=9), "`max_epochs`"),
    "Pool gpus": (lambda: hwt.Pool(gpus=2), "Pool('gpu', devices=4)"),
    "Pool n_jobs": (lambda: hwt.Pool(n_jobs=2), "devices="),
    "Pool device": (lambda: hwt.Pool(device=2), "did you mean 'devices'"),
    "Metric direction": (lambda: hwt.Metric("loss", direction="min"), "Metric('val_loss', 'min')"),
    "Metric mod": (lambda: hwt.Metric("loss", mod="min"), "did you mean 'mode'"),
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_is_told_what_was_given_and_what_is_allowed(name: str, tmp_path: Path) -> None:
    call, said = CALLS[name]
    with pytest.raises(hwt.HwTuneError) as caught:
        call()
    for text in said:
        assert text in str(caught.value)
    assert not list(tmp_path.glob("hwtune/*/trials/*")), "something began to train"


@pytest.mark.parametrize("name", HABITS)
def test_a_habit_or_a_slip_gets_an_answer(name: str) -> None:
    call, said = HABITS[name]
    with pytest.raises(hwt.UnknownArgumentError) as caught:
        call()
    assert said in str(caught.value)


def test_the_callback_has_no_monitor() -> None:
    with pytest.raises(hwt.UnknownArgumentError, match="study's objectives"):
        hwt.RungCallback(monitor="val_loss")


def test_a_mapping_is_a_space() -> None:
    assert study(space={"x": hwt.Float(0.0, 1.0)}).spec.to_dict() == study().spec.to_dict()


def test_two_spellings_of_a_direction_are_one() -> None:
    assert hwt.Metric("val/acc", "maximize") == hwt.Metric("val/acc", "max")


def test_combinations_that_do_not_divide_are_never_drawn_and_their_share_is_told() -> None:
    made = study(space=hwt.SearchSpace(batch_size=hwt.Choice([63, 64, 66]), devices=DEVICES))
    assert made.spec.space.rejected_share == pytest.approx(1 / 6)
    free = study(space=hwt.SearchSpace(batch_size=hwt.Choice([63, 65]), devices=hwt.NumDevices(2)), batch="per_device")
    assert free.spec.space.rejected_share == 0.0
