"""Instance types as a parameter: lists, filters, stored facts, costs in simulations, and refusals in real studies."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.continuation import kept_space
from lightning_hwtune.core.hardware.catalogue import Catalogue, InstanceType
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objective, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import TPE, Random
from lightning_hwtune.core.space import Choice, Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.settings import StudySettings
from lightning_hwtune.settings.run_rules import check_instances
from lightning_hwtune.settings.schema import study_file_schema
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.views.ledger import ledger_entry

NAMES = ["g4dn.12xlarge", "p3.8xlarge"]
RIG = InstanceType("rig", 0.5, devices=1)


def test_a_list_of_names_is_a_choice_with_the_facts_of_each() -> None:
    found = hwt.Instance(NAMES)
    assert isinstance(found, Choice)
    assert (found.options, found.ordered, found.n_dims) == (tuple(NAMES), False, 2)
    assert found.column("usd_per_hour") == {"g4dn.12xlarge": 3.912, "p3.8xlarge": 12.24}
    assert found.column("devices") == {"g4dn.12xlarge": 4, "p3.8xlarge": 4}
    assert found.column("usd_per_hour_spot") == dict.fromkeys(NAMES)
    assert repr(found) == "Instance(['g4dn.12xlarge', 'p3.8xlarge'])"
    assert hwt.Instance(NAMES, prior="p3.8xlarge").prior == "p3.8xlarge"


def test_a_filter_takes_all_types_that_satisfy_it() -> None:
    found = hwt.Instance(min_devices=1, max_usd_per_hour=5)
    expected = Catalogue.builtin().where(min_devices=1, max_usd_per_hour=5)
    assert found.options == tuple(item.name for item in expected)
    assert all(usd <= 5 for usd in found.column("usd_per_hour").values())
    assert hwt.Instance(NAMES, max_usd_per_hour=5).options == ("g4dn.12xlarge",)
    assert hwt.Instance([RIG, "p3.8xlarge"]).column("devices") == {"rig": 1, "p3.8xlarge": 4}
    assert hwt.Instance(provider="local", catalogue=Catalogue([RIG])).options == ("rig",)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([],), ["Instance"]),
        (("g4dn.12xlarge",), ["Instance.instances", "Instance(['g4dn.12xlarge'])"]),
        ((["g4dn.12xlarg"],), ["did you mean 'g4dn.12xlarge'"]),
        ((NAMES + NAMES,), ["each name once"]),
        (([3],), ["Instance.instances", "3"]),
        ((), ["a list of types, or a condition"]),
        ((NAMES, {"max_usd_per_hour": 1}), ["at least one type satisfies"]),
        ((NAMES, {"accelerator": "A100"}), ["accelerator", "'T4'"]),
        ((NAMES, {"prior": "g5.xlarge"}), ["prior", "g5.xlarge"]),
        ((None, {"min_devices": -1}), ["min_devices", "-1"]),
    ],
)
def test_what_is_not_a_choice_of_types_is_refused(arguments: tuple[Any, ...], words: list[str]) -> None:
    listed, given = arguments[:1], arguments[1] if len(arguments) > 1 else {}
    with pytest.raises(ArgumentError) as caught:
        hwt.Instance(*listed, **given)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_space_has_at_most_one_and_stores_its_facts() -> None:
    space = SearchSpace(lr=Float(0, 1), machine=hwt.Instance(NAMES))
    assert space.instance_key == "machine"
    assert space.usd_per_hour == {"g4dn.12xlarge": 3.912, "p3.8xlarge": 12.24}
    again = SearchSpace.from_stored(json.loads(json.dumps(space.to_dict())))
    assert again == space
    assert again.usd_per_hour == space.usd_per_hour
    assert pickle.loads(pickle.dumps(space)) == space
    assert SearchSpace(lr=Float(0, 1)).instance_key is None
    with pytest.raises(ArgumentError, match="only one Instance"):
        SearchSpace(a=hwt.Instance(NAMES), b=hwt.Instance(NAMES))


def test_a_plain_choice_of_the_same_names_is_another_parameter() -> None:
    assert hwt.Instance(NAMES) == hwt.Instance(NAMES)
    assert hwt.Instance(NAMES) != Choice(NAMES, ordered=False)
    other = hwt.Instance(["p3.8xlarge", InstanceType("g4dn.12xlarge", 1.0, devices=4)])
    assert hwt.Instance(["p3.8xlarge", "g4dn.12xlarge"]) != other


def test_a_continued_study_keeps_the_prices_that_it_began_with() -> None:
    old = InstanceType("g4dn.12xlarge", 1.0, devices=4)
    study = spec(machine=hwt.Instance([old, "p3.8xlarge"]))
    kept = kept_space(study, SearchSpace(lr=Float(0, 1), machine=hwt.Instance(NAMES)))
    assert kept.usd_per_hour == {"g4dn.12xlarge": 1.0, "p3.8xlarge": 12.24}
    changed = kept_space(study, SearchSpace(lr=Float(0, 1), machine=hwt.Instance(["p3.8xlarge"])))
    assert set(study.space.differences(changed)) == {"machine"}


def spec(*objectives: Objective, pool: Pool | None = None, searcher: Any = None, **parameters: Any) -> StudySpec:
    space = SearchSpace(lr=Float(0, 1), **parameters)
    wanted = Objectives([Metric("error", "min"), *objectives])
    return StudySpec("s", space, wanted, ASHA(9), searcher or Random(), pool or Pool("cpu", 4), seed=3)


@pytest.mark.parametrize("searcher", [Random(), TPE()], ids=["random", "tpe"])
def test_a_simulated_study_costs_what_each_machine_costs(searcher: Any) -> None:
    study = spec(Cost(), TrainSeconds(), machine=hwt.Instance(NAMES), searcher=searcher)
    state = simulate(study, SyntheticCurves(study.space, 9), Limits(max_trials=20))
    prices = study.space.usd_per_hour
    assert {trial.config["machine"] for trial in state.trials} == set(NAMES)
    for trial in state.trials:
        assert trial.last is not None
        expected = trial.last.train_s * prices[trial.config["machine"]] / 3600
        assert trial.last.values["cost_usd"] == pytest.approx(expected, rel=1e-12)
    bills = [
        segment.wall_s * prices[state.trials[segment.trial_id].config["machine"]] / 3600 for segment in state.segments
    ]
    assert state.billed_usd(state.last_at) == pytest.approx(sum(bills), rel=1e-9)
    curves = SyntheticCurves(study.space, 9)
    per_hour = [curves.usd_per_s({"lr": 0.1, "machine": name}, 1) * 3600 for name in NAMES]
    assert per_hour == pytest.approx([3.912, 12.24])
    entry = ledger_entry(state, state.last_at)
    assert entry["total_usd"] == pytest.approx(entry["training_usd"] + entry["overhead_usd"])


def test_money_is_limited_by_the_prices_of_the_types() -> None:
    study = spec(Cost(), machine=hwt.Instance(NAMES))
    state = simulate(study, SyntheticCurves(study.space, 9), Limits(max_cost_usd=1.0))
    assert 0.3 < state.billed_usd(state.last_at) <= 1.0


def test_a_price_per_machine_makes_cost_and_time_different_objectives() -> None:
    spec(Cost(), TrainSeconds(), machine=hwt.Instance(NAMES))
    with pytest.raises(ArgumentError, match="only one of TrainSeconds"):
        spec(Cost(), TrainSeconds(), machine=hwt.Instance(["g4dn.12xlarge"]))
    with pytest.raises(ArgumentError, match="only with a price"):
        spec(Cost())


def test_a_real_study_refuses_types_that_are_not_this_machine() -> None:
    box = InstanceType("box", 1.0, vcpus=1)
    with pytest.raises(ArgumentError, match=r"`machine` is 'g4dn.12xlarge'.*whose type is unknown"):
        check_instances(spec(machine=hwt.Instance(NAMES)))
    with pytest.raises(ArgumentError, match=r"`machine` is 'p3.8xlarge'.*a 'box'"):
        check_instances(spec(machine=hwt.Instance([box, "p3.8xlarge"]), pool=Pool(instance=box)))
    check_instances(spec(machine=hwt.Instance([box]), pool=Pool(instance=box)))
    check_instances(spec())


@pytest.mark.parametrize("way", ["run", "ask", "check"])
def test_each_way_of_training_refuses_them_before_anything_is_written(way: str, tmp_path: Path) -> None:
    space = hwt.SearchSpace(lr=hwt.Float(0, 1), machine=hwt.Instance(NAMES))
    study = hwt.Study("s", space, [hwt.Metric("error", "min")], max_epochs=2, dir=tmp_path, pool=hwt.Pool("cpu", 1))
    calls = {
        "run": lambda: study.run(print, max_trials=2, executor="inline"),
        "ask": lambda: study.ask(max_trials=2),
        "check": lambda: study.check(print),
    }
    with pytest.raises(ArgumentError, match=r"`machine` is 'g4dn.12xlarge'"):
        calls[way]()
    assert list(tmp_path.iterdir()) == []


FILE = """
study: s
train: builtins:print
space:
  lr: {{type: float, low: 0, high: 1}}
  machine: {machine}
objectives: [{{metric: error, mode: min}}]
max_epochs: 2
max_trials: 2
pool: {{accelerator: cpu, devices: 1}}
"""


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("{type: instance, options: [g4dn.12xlarg]}", ["machine", "did you mean 'g4dn.12xlarge'"]),
        ("{type: instance}", ["machine", "a condition"]),
        ("{type: instance, max_usd_per_hour: -1}", ["machine.max_usd_per_hour"]),
        ("{type: instance, max_price: 5}", ["machine.max_price"]),
        ("{type: instance, options: g4dn.12xlarge}", ["machine", "a list"]),
        ("{type: instance, options: [g4dn.12xlarge, p3.8xlarge]}", ["machine", "g4dn.12xlarge", "pool"]),
        ("{type: instance, min_devices: 4, max_usd_per_hour: 4}", ["machine", "g4dn.12xlarge", "pool"]),
    ],
)
def test_a_study_file_names_types_or_conditions(form: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(FILE.format(machine=form))
    with pytest.raises((ArgumentError, UnknownArgumentError)) as caught:
        StudySettings.load(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_study_file_on_its_own_machine_may_name_it(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    box = "{name: box, usd_per_hour: 1, vcpus: 1}"
    text = FILE.format(machine=f"{{type: instance, options: [{box}]}}")
    path.write_text(text.replace("{accelerator: cpu, devices: 1}", f"{{instance: {box}}}"))
    found = StudySettings.load(path).spec()
    assert found.space.usd_per_hour == {"box": 1.0}
    assert found.pool.usd_per_device_hour == 1.0


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ("{instance: {name: box, usd_per_hour: -1, vcpus: 1}}", ["pool.instance: usd_per_hour", "-1"]),
        ("{instance: {name: box, vcpus: 1}}", ["pool.instance", "'usd_per_hour'"]),
        ("{instance: p3.8xlarg}", ["pool.instance", "did you mean 'p3.8xlarge'"]),
        ("{instance: p3.8xlarge, devices: 9}", ["pool.devices", "at most 4"]),
        ("{instance: [p3.8xlarge]}", ["pool.instance", "the name of an instance type"]),
    ],
)
def test_a_wrong_pool_of_a_study_file_is_named_by_its_key(pool: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    text = FILE.format(machine="{type: float, low: 0, high: 1}")
    path.write_text(text.replace("{accelerator: cpu, devices: 1}", pool))
    with pytest.raises(ArgumentError) as caught:
        StudySettings.load(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_schema_knows_the_forms() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = study_file_schema()
    parameter = {"$ref": "#/definitions/parameter", "definitions": schema["definitions"]}
    for form in ({"type": "instance", "options": NAMES}, {"type": "instance", "min_devices": 1, "max_usd_per_hour": 5}):
        jsonschema.validate(form, parameter)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"type": "instance", "max_price": 5}, parameter)
