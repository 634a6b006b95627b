"""The catalogue: facts of the package, filters, and files of the user with an error per mistake."""

from __future__ import annotations

import pickle

import pytest

from lightning_hwtune.core.hardware.catalogue import Catalogue, InstanceType
from lightning_hwtune.core.hardware.catalogue_text import instances_of_csv, instances_of_toml
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError

BUILTIN = Catalogue.builtin()
OWN = InstanceType("rig", 1.5, devices=2, accelerator="RTX-4090", vcpus=16)


def names(catalogue: Catalogue) -> list[str]:
    return [item.name for item in catalogue]


def test_the_table_has_the_prices_of_the_lists() -> None:
    found = BUILTIN["g4dn.12xlarge"]
    assert (found.devices, found.accelerator, found.vcpus, found.memory_gib) == (4, "T4", 48, 192)
    assert (found.usd_per_hour, found.provider, found.region) == (3.912, "aws", "us-east-1")
    assert BUILTIN["p3.8xlarge"].usd_per_hour == 12.24
    assert (BUILTIN["p3.8xlarge"].devices, BUILTIN["p3.8xlarge"].vcpus) == (4, 32)
    assert (BUILTIN["a2-highgpu-1g"].usd_per_hour, BUILTIN["a2-highgpu-1g"].usd_per_hour_spot) == (3.673385, 1.92802)
    assert BUILTIN["Standard_NC6s_v3"].accelerator == "V100"
    assert BUILTIN["ml.g4dn.12xlarge"].usd_per_hour == 5.477


def test_each_type_of_the_table_has_a_price_a_source_and_something_to_train_on() -> None:
    assert 100 < len(BUILTIN) < 400
    for item in BUILTIN:
        assert item.usd_per_hour > 0
        assert item.source
        assert item.pool_devices > 0
        assert item.usd_per_hour_spot is None or 0 < item.usd_per_hour_spot < item.usd_per_hour


def test_filters_include_their_ends() -> None:
    assert "g4dn.12xlarge" in names(BUILTIN.where(min_devices=4, max_usd_per_hour=3.912))
    assert "g4dn.12xlarge" not in names(BUILTIN.where(max_usd_per_hour=3.911))
    assert "g4dn.12xlarge" not in names(BUILTIN.where(min_devices=5))
    assert all(item.devices for item in BUILTIN.where(min_devices=1, max_usd_per_hour=5))
    assert names(BUILTIN.where()) == names(BUILTIN)
    assert not len(BUILTIN.where(max_usd_per_hour=0))


@pytest.mark.parametrize(
    ("accelerator", "expected"),
    [
        ("A100", {"A100-40GB", "A100-80GB"}),
        ("a100-40gb", {"A100-40GB"}),
        ("t4", {"T4"}),
        ("cpu", {"cpu"}),
        ("A10", {"A10"}),
    ],
)
def test_an_accelerator_is_found_by_its_name_or_by_its_family(accelerator: str, expected: set[str]) -> None:
    assert {item.accelerator for item in BUILTIN.where(accelerator=accelerator)} == expected


def test_gpu_means_any_accelerator_and_names_have_no_case() -> None:
    assert names(BUILTIN.where(accelerator="gpu")) == names(BUILTIN.where(min_devices=1))
    assert names(BUILTIN.where(provider="AWS")) == names(BUILTIN.where(provider="aws", region="US-EAST-1"))


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"accelerator": "A1000"}, ["accelerator", "A100"]),
        ({"provider": "amazon"}, ["provider", "'aws'"]),
        ({"region": "us-east-2"}, ["region", "'us-east-1'"]),
        ({"min_devices": -1}, ["min_devices", "-1"]),
        ({"max_usd_per_hour": float("nan")}, ["max_usd_per_hour", "nan"]),
        ({"max_usd_per_hour": "5"}, ["max_usd_per_hour"]),
        ({"provider": ""}, ["provider"]),
    ],
)
def test_a_wrong_condition_is_refused(conditions: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        BUILTIN.where(**conditions)  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words)


def test_a_misspelt_condition_and_a_misspelt_name_get_the_right_one() -> None:
    with pytest.raises(UnknownArgumentError, match="min_devices"):
        BUILTIN.where(min_device=1)  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match=r"did you mean 'g4dn.12xlarge'"):
        BUILTIN["g4dn.12xlarg"]
    with pytest.raises(ArgumentError, match="instance"):
        BUILTIN[None]  # type: ignore[index]


def test_own_types_are_added_and_replace_those_of_the_same_name() -> None:
    mine = InstanceType("g4dn.12xlarge", 2.5, devices=4, accelerator="T4", provider="aws")
    found = BUILTIN.extended([OWN, mine])
    assert len(found) == len(BUILTIN) + 1
    assert found["g4dn.12xlarge"].usd_per_hour == 2.5
    assert BUILTIN["g4dn.12xlarge"].usd_per_hour == 3.912
    with pytest.raises(ArgumentError, match="each name once"):
        BUILTIN.extended([OWN, OWN])
    with pytest.raises(ArgumentError, match="InstanceType"):
        Catalogue(["g4dn.12xlarge"])  # type: ignore[list-item]


def test_the_devices_of_a_pool_are_the_accelerators_or_the_cpus() -> None:
    assert InstanceType("a", 1.0, devices=2).pool_devices == 2
    assert InstanceType("a", 1.0, devices=2).accelerator == "gpu"
    assert InstanceType("b", 1.0, vcpus=8).pool_devices == 8
    assert InstanceType("b", 1.0, vcpus=8).accelerator == "cpu"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"usd_per_hour": -0.1, "vcpus": 1}, ["usd_per_hour", "-0.1"]),
        ({"usd_per_hour": float("inf"), "vcpus": 1}, ["usd_per_hour", "inf"]),
        ({"usd_per_hour": 1, "vcpus": 1, "usd_per_hour_spot": -1}, ["usd_per_hour_spot", "-1"]),
        ({"usd_per_hour": 1, "devices": -2}, ["devices", "-2"]),
        ({"usd_per_hour": 1, "devices": 1.5}, ["devices", "1.5"]),
        ({"usd_per_hour": 1, "vcpus": 0}, ["vcpus", "0"]),
        ({"usd_per_hour": 1}, ["vcpus", "accelerators"]),
        ({"usd_per_hour": 1, "accelerator": "T4"}, ["devices", "T4"]),
        ({"usd_per_hour": 1, "devices": 2, "accelerator": "cpu"}, ["accelerator", "vcpus"]),
        ({"usd_per_hour": 1, "vcpus": 2, "memory_gib": 0}, ["memory_gib", "0"]),
    ],
)
def test_a_type_that_cannot_be_is_refused(arguments: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        InstanceType("box", **arguments)  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words)


def test_a_price_is_on_demand_or_that_of_a_spot_node() -> None:
    gcp = BUILTIN["g2-standard-4"]
    assert (gcp.price(), gcp.price(spot=True)) == (0.706832, 0.397336)
    with pytest.raises(ArgumentError, match="spot price of 'rig' is unknown"):
        OWN.price(spot=True)


@pytest.mark.parametrize("item", [OWN, *list(BUILTIN)[::40]], ids=lambda item: item.name)
def test_a_type_is_rebuilt_from_plain_data(item: InstanceType) -> None:
    assert InstanceType(**item.to_dict()) == item
    assert pickle.loads(pickle.dumps(item)) == item


CSV = "name,usd_per_hour,devices,accelerator\nrig,1.5,2,RTX-4090\nbox, 0 ,1,\n"
TOML = """[[instances]]
name = "rig"
usd_per_hour = 1.5
devices = 2

[[instances]]
name = "box"
usd_per_hour = 0
vcpus = 4
"""


def test_the_text_of_a_file_gives_types() -> None:
    rig, box = instances_of_csv(CSV, "own.csv")
    assert (rig.usd_per_hour, rig.devices, rig.accelerator, rig.provider) == (1.5, 2, "RTX-4090", "local")
    assert (box.usd_per_hour, box.accelerator, box.vcpus) == (0.0, "gpu", None)
    assert [item.name for item in instances_of_toml(TOML, "own.toml")] == ["rig", "box"]
    assert instances_of_csv('name,usd_per_hour,vcpus\r\n\r\n"a, b",1,2\r\n', "own.csv")[0].name == "a, b"
    assert instances_of_csv("name,usd_per_hour\n", "own.csv") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["line 1", "name and usd_per_hour"]),
        ("name,devices\nrig,2\n", ["line 1", "usd_per_hour is missing"]),
        ("name,usd_per_hour,gpus\nrig,1,2\n", ["line 1", "'gpus'"]),
        ("name,usd_per_hour,device\nrig,1,2\n", ["line 1", "did you mean 'devices'"]),
        ("name;usd_per_hour;devices\nrig;1;2\n", ["line 1", "name;usd_per_hour"]),
        ("name,usd_per_hour,name\nrig,1,rig\n", ["line 1", "each column once"]),
        ("name,usd_per_hour,devices\nrig,1,2\nbox,-1,2\n", ["line 3: usd_per_hour", "-1"]),
        ("name,usd_per_hour,devices\nrig,,2\n", ["line 2: usd_per_hour", "None"]),
        ("name,usd_per_hour,devices\nrig,cheap,2\n", ["line 2: usd_per_hour", "'cheap'"]),
        ("name,usd_per_hour,devices\nrig,nan,2\n", ["line 2: usd_per_hour", "nan"]),
        ("name,usd_per_hour,devices\nrig,1,two\n", ["line 2: devices", "'two'"]),
        ("name,usd_per_hour,devices\nrig,1,2.5\n", ["line 2: devices", "2.5"]),
        ("name,usd_per_hour,accelerator\nrig,1,T4\n", ["line 2: devices", "T4"]),
        ("name,usd_per_hour,devices\nrig,1\n", ["line 2", "3 values"]),
        ("name,usd_per_hour,devices\nrig,1,2,3\n", ["line 2", "3 values"]),
        ("name,usd_per_hour,devices\nrig,1,2\n\nrig,2,2\n", ["line 4: name", "line 2 has it"]),
        ('name,usd_per_hour,devices\n"rig,1,2\n', ["line 2", "valid CSV"]),
    ],
)  # fmt: skip
def test_a_mistake_in_a_csv_file_is_found_with_its_line(text: str, words: list[str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        instances_of_csv(text, "own.csv")
    assert all(word in str(caught.value) for word in ["own.csv", *words]), str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["at least one"]),
        ("instances = 3", ["[[instances]]"]),
        ("[[instance]]\nname = 'rig'", ["'instance'"]),
        ("name = 'rig'\nusd_per_hour = 1", ["'name'"]),
        ("[[instances]]\nname = rig", ["valid TOML", "line 2"]),
        ("\n[[instances]]\nname = 'rig'\nusd_per_hour = 1\nprice = 2", ["line 2", "'price'"]),
        ("[[instances]]\nname = 'rig'\ndevices = 2", ["line 1: usd_per_hour", "None"]),
        (TOML.replace("= 0", "= -2"), ["line 6: usd_per_hour", "-2"]),
        (TOML.replace("= 0", "= '2'"), ["line 6: usd_per_hour", "'2'"]),
        (TOML.replace("box", "rig"), ["line 6: name", "line 1 has it"]),
    ],
)
def test_a_mistake_in_a_toml_file_is_found_with_its_line(text: str, words: list[str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        instances_of_toml(text, "own.toml")
    assert all(word in str(caught.value) for word in ["own.toml", *words]), str(caught.value)
