"""The strategy, the precision and the accumulation as parameters: forms, stored logs, and what a pool allows."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.continuation import kept_space
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.trainer_choices import trainer_arguments
from lightning_hwtune.settings.schema import study_file_schema

ALL = {
    "how": hwt.Strategy("ddp", "fsdp", prior="fsdp"),
    "precision": hwt.Precision(32, "bf16"),
    "batches": hwt.Accumulation(4, 1, when={"how": "ddp"}),
}


def spec_of(space: hwt.SearchSpace, pool: hwt.Pool | None = None, **changes: Any) -> StudySpec:
    pool = pool or hwt.Pool("cpu", 2)
    return StudySpec(
        "study", space, Objectives([Metric("error", "min")]), ASHA(max_epochs=3), Random(), pool, **changes
    )


def test_values_are_those_of_the_trainer() -> None:
    space = hwt.SearchSpace(lr=hwt.Float(0, 1), **ALL)
    assert space.trainer_keys == {"strategy": "how", "precision": "precision", "accumulate_grad_batches": "batches"}
    config = space.validate({"lr": 0.5, "how": "ddp", "precision": "32", "batches": 4})
    assert config == {"lr": 0.5, "how": "ddp", "precision": "32-true", "batches": 4}
    arguments = {"strategy": "ddp", "precision": "32-true", "accumulate_grad_batches": 4}
    assert trainer_arguments(space, config, 2) == arguments
    assert trainer_arguments(space, config, 1) == {**arguments, "strategy": "auto"}
    without = space.validate({"lr": 0.5, "how": "fsdp", "precision": "bf16-mixed"})
    assert trainer_arguments(space, without, 1) == {"strategy": "fsdp", "precision": "bf16-mixed"}


@pytest.mark.parametrize("name", ALL)
def test_a_stored_parameter_is_the_same(name: str) -> None:
    space = hwt.SearchSpace(lr=hwt.Float(0, 1), **ALL)
    stored = hwt.SearchSpace.from_stored(json.loads(json.dumps(space.to_dict())))
    assert (stored, hash(stored)) == (space, hash(space))
    assert type(stored[name]) is type(ALL[name])
    assert pickle.loads(pickle.dumps(ALL[name])) == ALL[name]
    assert ALL[name] != hwt.Choice(list(ALL[name].options), when=ALL[name].when, prior=ALL[name].prior)
    assert kept_space(spec_of(stored, hwt.Pool("gpu", 2), allocation=hwt.FixedAllocation(2)), space) == space
    assert eval(repr(ALL[name]), vars(hwt)) == ALL[name]
    kinds = [form.get("properties", {}) for form in study_file_schema()["definitions"]["parameter"]["anyOf"]]
    assert space.to_dict()[name]["type"] in [form.get("type", {}).get("const") for form in kinds]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hwt.Strategy(), ["at least one", "Strategy('ddp', 'fsdp')"]),
        (lambda: hwt.Strategy(["ddp", "fsdp"]), ["separate arguments"]),
        (lambda: hwt.Strategy("dpp"), ["did you mean 'ddp'", "trial.fit"]),
        (lambda: hwt.Strategy("FSDP"), ["fsdp"]),
        (lambda: hwt.Strategy("ddp_spawn"), ["one process per rank", "'ddp'"]),
        (lambda: hwt.Strategy("ddp_notebook_find_unused_parameters_true"), ["one process per rank"]),
        (lambda: hwt.Strategy("single_device"), ["auto, ddp"]),
        (lambda: hwt.Strategy("ddp", "ddp"), ["each value once"]),
        (lambda: hwt.Strategy("ddp", prior="fsdp"), ["Strategy.prior", "'ddp'"]),
        (lambda: hwt.Precision(33), ["32-true"]),
        (lambda: hwt.Precision(32, "32-true"), ["each value once"]),
        (lambda: hwt.Precision(True), ["32-true"]),
        (lambda: hwt.Accumulation(0), ["from 1"]),
        (lambda: hwt.Accumulation(1.5), ["integer"]),
        (lambda: hwt.SearchSpace(a=hwt.Strategy("ddp"), b=hwt.Strategy("fsdp")), ["only one Strategy", "'a'"]),
        (lambda: hwt.SearchSpace.from_dict({"a": {"type": "strategy", "options": "ddp"}}), ["a.options", "a list"]),
        (lambda: hwt.SearchSpace.from_dict({"a": {"type": "precision", "options": [7]}}), ["32-true"]),
        (lambda: hwt.SearchSpace.from_dict({"a": {"type": "strategy", "opts": ["ddp"]}}), ["opts"]),
    ],
)
def test_other_values_are_refused_when_the_parameter_is_made(make: Any, words: list[str]) -> None:
    with pytest.raises((hwt.ArgumentError, hwt.UnknownArgumentError)) as caught:
        make()
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("parameters", "pool", "changes", "words"),
    [
        ({"how": hwt.Strategy("auto", "fsdp")}, hwt.Pool("cpu", 2), {}, ["how", "'fsdp'", "Pool('gpu')"]),
        ({"how": hwt.Strategy("deepspeed_stage_2")}, hwt.Pool("cpu", 2), {}, ["on CPUs", "Pool('gpu')"]),
        ({"how": hwt.Strategy("ddp")}, hwt.Pool("cpu", 2), {}, ["every trial has one device", "NumDevices"]),
        (
            {"how": hwt.Strategy("ddp", "fsdp"), "n": hwt.NumDevices(1)},
            hwt.Pool("gpu", 2),
            {},
            ["every trial has one device"],
        ),
        ({"p": hwt.Precision("16-mixed")}, hwt.Pool("cpu", 2), {}, ["bf16-mixed"]),
        ({"p": hwt.Precision(32, "transformer-engine")}, hwt.Pool("cpu", 2), {}, ["bf16-mixed"]),
        (
            {"batch_size": hwt.Choice([6, 8]), "a": hwt.Accumulation(1, 4)},
            None,
            {},
            ["batch_size", "6", "multiples of 4", "per_device"],
        ),
        (
            {"data.batch_size": hwt.Int(8, 16, step=4), "n": hwt.NumDevices(1, 2), "a": hwt.Accumulation(4)},
            None,
            {},
            ["multiples of 8", "2 devices x 4"],
        ),
    ],
)
def test_a_study_refuses_what_its_pool_cannot_train(
    parameters: Any, pool: hwt.Pool | None, changes: Any, words: list[str]
) -> None:
    with pytest.raises(hwt.ArgumentError) as caught:
        spec_of(hwt.SearchSpace(lr=hwt.Float(0, 1), **parameters), pool, **changes)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("parameters", "pool", "changes"),
    [
        ({"how": hwt.Strategy("auto", "fsdp", "deepspeed")}, hwt.Pool("gpu", 1), {}),
        ({"how": hwt.Strategy("ddp", "auto"), "n": hwt.NumDevices(1, 2)}, None, {}),
        ({"p": hwt.Precision("bf16-mixed", 64)}, None, {}),
        ({"p": hwt.Precision("16-mixed")}, hwt.Pool("gpu", 1), {}),
        ({"batch_size": hwt.Choice([6, 8]), "a": hwt.Accumulation(1, 4)}, None, {"batch": "per_device"}),
        (
            {"batch_size": hwt.Choice([4, 8]), "n": hwt.NumDevices(1, 3), "a": hwt.Accumulation(4)},
            hwt.Pool("cpu", 3),
            {},
        ),
    ],
)
def test_a_study_accepts_what_its_pool_can_train(parameters: Any, pool: hwt.Pool | None, changes: Any) -> None:
    spec = spec_of(hwt.SearchSpace(lr=hwt.Float(0, 1), **parameters), pool, **changes)
    assert StudySpec.from_dict(json.loads(json.dumps(spec.to_dict()))).space == spec.space


@pytest.mark.parametrize("sizes", [hwt.Choice([7, 9]), hwt.Int(7, 9, step=2)])
def test_batch_sizes_that_no_number_of_devices_divides_are_refused(tmp_path: Path, sizes: Any) -> None:
    def study(found: Any, policy: hwt.AllocationPolicy, **changes: Any) -> hwt.Study:
        space = hwt.SearchSpace(lr=hwt.Float(0, 1), batch_size=found)
        objectives = [hwt.Metric("error", "min")]
        pool = hwt.Pool("cpu", 4)
        return hwt.Study("s", space, objectives, max_epochs=3, pool=pool, allocation=policy, dir=tmp_path, **changes)

    with pytest.raises(hwt.ArgumentError, match="a multiple of 2, the number of devices"):
        study(sizes, hwt.FixedAllocation(2))
    study(sizes, hwt.FixedAllocation(2), batch="per_device")
    study(sizes, hwt.DoublingAllocation())  # one device is always possible
    study(hwt.Choice([7, 8]), hwt.FixedAllocation(2))
