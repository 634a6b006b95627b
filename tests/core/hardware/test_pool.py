"""A pool on an instance type: accelerator, devices and price come from the catalogue."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from lightning_hwtune.core.continuation import kept_pool
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.engine.devices import check_present, resolve
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.host.cpus import n_cpus

BOX = InstanceType("box", 3.6, vcpus=4)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"instance": "g4dn.12xlarge"}, ("gpu", 4, 3.912 / 4)),
        ({"instance": "g4dn.12xlarge", "accelerator": "cuda", "devices": 2}, ("gpu", 2, 3.912 / 4)),
        ({"instance": "c5.2xlarge"}, ("cpu", 8, 0.34 / 8)),
        ({"instance": "c5.2xlarge", "threads_per_device": 2}, ("cpu", 4, 0.34 / 4)),
        ({"instance": BOX}, ("cpu", 4, 0.9)),
        ({"instance": {"name": "rig", "usd_per_hour": 2, "devices": 2}}, ("gpu", 2, 1.0)),
        ({"instance": "g4dn.12xlarge", "usd_per_device_hour": 3.912 / 4}, ("gpu", 4, 3.912 / 4)),
    ],
)
def test_an_instance_type_gives_accelerator_devices_and_price(given: dict[str, Any], expected: tuple[Any, ...]) -> None:
    pool = Pool(**given)
    assert (pool.accelerator, pool.devices, pool.usd_per_device_hour) == expected
    assert Pool(**pool.to_dict()) == pool
    assert pickle.loads(pickle.dumps(pool)) == pool


def test_a_pool_without_an_instance_type_is_stored_as_before() -> None:
    assert Pool("cpu", 2, 0.5).to_dict() == {
        "accelerator": "cpu", "devices": 2, "usd_per_device_hour": 0.5, "threads_per_device": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"instance": "g4dn.12xlarg"}, ["instance", "did you mean 'g4dn.12xlarge'"]),
        ({"instance": 4}, ["Pool.instance", "4"]),
        ({"instance": ["g4dn.12xlarge"]}, ["Pool.instance"]),
        ({"instance": {"name": "rig", "devices": 2}}, ["Pool.instance", "usd_per_hour"]),
        ({"instance": {"name": "rig", "usd_per_hour": 1, "cards": 2}}, ["Pool.instance.cards"]),
        ({"instance": {"name": "rig", "usd_per_hour": -1, "devices": 2}}, ["Pool.instance: usd_per_hour", "-1"]),
        ({"instance": "g4dn.12xlarge", "devices": 5}, ["Pool.devices", "at most 4"]),
        ({"instance": "g4dn.12xlarge", "accelerator": "cpu"}, ["Pool.accelerator", "'gpu'"]),
        ({"instance": "c5.2xlarge", "accelerator": "gpu"}, ["Pool.accelerator", "'cpu'"]),
        ({"instance": "c5.2xlarge", "devices": 8, "threads_per_device": 2}, ["Pool.devices", "at most 4"]),
        ({"instance": "g4dn.12xlarge", "usd_per_device_hour": 1.0}, ["Pool.usd_per_device_hour", "3.912"]),
    ],
)
def test_what_contradicts_the_instance_type_is_refused(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        Pool(**given)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_host_that_is_not_of_the_type_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ArgumentError, match=r"'g4dn.12xlarge'.*1 visible gpu device.*needs 4"):
        resolve(Pool(instance="g4dn.12xlarge"))
    assert resolve(Pool(instance="g4dn.xlarge")).size == 1
    assert resolve(Pool(instance="g4dn.12xlarge", devices=1)).size == 1
    more = InstanceType("more", 1.0, vcpus=n_cpus() + 1)
    with pytest.raises(ArgumentError, match=r"'more'.*visible cpu device"):
        resolve(Pool(instance=more))
    assert resolve(Pool(instance=more, devices=1)).instance == more


def stored(pool: Pool) -> StudySpec:
    cost = [] if pool.usd_per_device_hour is None else [Cost()]
    objectives = Objectives([Metric("error", "min"), *cost])
    return StudySpec("s", SearchSpace(lr=Float(0, 1)), objectives, ASHA(9), Random(), pool)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Pool(instance=BOX)),
        (Pool(devices=2), Pool(instance=BOX, devices=2)),
        (Pool(usd_per_device_hour=0.9), Pool(usd_per_device_hour=0.9)),
        (Pool("cpu", 2, 0.9), Pool("cpu", 2, 0.9)),
        (Pool(instance="g4dn.12xlarge"), Pool(instance="g4dn.12xlarge")),
        (Pool(threads_per_device=2), Pool(instance=BOX, threads_per_device=2)),
    ],
)
def test_a_continued_study_keeps_its_instance_type_unless_another_price_is_given(
    given: Pool | None, expected: Pool
) -> None:
    assert kept_pool(stored(Pool(instance=BOX)), given) == expected


def test_an_instance_type_replaces_a_stored_price() -> None:
    study = stored(Pool("cpu", 4, 0.9, threads_per_device=2))
    found = kept_pool(study, Pool(instance=InstanceType("other", 8.0, vcpus=8)))
    assert (found.instance.name, found.threads_per_device, found.usd_per_device_hour) == ("other", 2, 2.0)


def test_another_price_of_an_instance_type_is_a_difference_of_a_study_about_cost() -> None:
    other = Pool(instance=InstanceType("box", 4.0, vcpus=4))
    assert stored(Pool(instance=BOX)).differences(stored(other)) == {"pool.usd_per_device_hour": (0.9, 1.0)}
    assert stored(Pool(instance=BOX)).differences(stored(Pool("cpu", 4, 0.9))) == {}
    assert StudySpec.from_dict(stored(other).to_dict()) == stored(other)


SPOT = InstanceType("spot", 8.0, devices=4, provider="aws", usd_per_hour_spot=2.0)


def test_a_spot_pool_has_the_spot_price() -> None:
    pool = Pool(instance=SPOT, spot=True)
    assert (pool.usd_per_device_hour, Pool(instance=SPOT).usd_per_device_hour) == (0.5, 2.0)
    assert Pool(**pool.to_dict()) == pool != Pool(instance=SPOT)
    assert "spot" not in Pool(instance=SPOT).to_dict()


def test_a_pool_of_several_nodes_has_the_devices_of_all() -> None:
    pool = Pool(instance=SPOT, nodes=3, devices=2)
    assert (pool.size, pool.node_size) == (6, 2)
    assert Pool(**pool.to_dict()) == pool
    assert resolve(pool) == pool
    with pytest.raises(ArgumentError, match=r"Pool.nodes.*1, this machine.*executor='agents'"):
        check_present("study", pool)


@pytest.mark.parametrize(("usd", "usd_of_node"), [(None, 0.0), (0.1, 0.3)])
def test_nodes_without_an_instance_type_are_a_type_of_their_own(usd: float | None, usd_of_node: float) -> None:
    pool = Pool("cpu", 3, usd, nodes=2, threads_per_device=2)
    assert (pool.size, pool.node_size) == (6, 3)
    assert pool.usd_per_device_hour == (None if usd is None else pytest.approx(usd))
    assert (pool.instance.name, pool.instance.vcpus) == ("node", 6)
    assert pool.instance.usd_per_hour == pytest.approx(usd_of_node)
    assert Pool(**pool.to_dict()) == pool == kept_pool(stored(pool), pool) == kept_pool(stored(pool), None)
    assert Pool("gpu", 8, nodes=2).instance == InstanceType("node", 0.0, devices=8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"spot": True}, "without an instance type"),
        ({"nodes": 2}, r"Pool.accelerator.*'cpu' or 'gpu'"),
        ({"nodes": 2, "accelerator": "gpu"}, r"Pool.devices.*number of devices of each node"),
        ({"instance": BOX, "spot": True}, r"spot price of 'box' is unknown"),
        ({"instance": BOX, "nodes": 0}, "Pool.nodes"),
        ({"instance": SPOT, "spot": True, "usd_per_device_hour": 2.0}, "2 US dollars per hour"),
        ({"instance": SPOT, "nodes": 2, "per_device": 2}, r"Pool.per_device.*1, because the pool has several nodes"),
    ],
)
def test_a_spot_pool_and_nodes_need_a_type_that_offers_them(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Pool(**given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Pool(instance=SPOT, spot=True, nodes=2)),
        (Pool(devices=1), Pool(instance=SPOT, spot=True, nodes=2, devices=1)),
        (Pool(instance=BOX), Pool(instance=BOX)),
        (Pool(instance=SPOT, nodes=4), Pool(instance=SPOT, nodes=4)),
    ],
)
def test_a_continued_study_keeps_its_spot_nodes_unless_another_type_is_given(
    given: Pool | None, expected: Pool
) -> None:
    assert kept_pool(stored(Pool(instance=SPOT, spot=True, nodes=2)), given) == expected


def test_trials_can_share_the_devices_of_one_spot_node_and_a_continued_study_keeps_both() -> None:
    pool = Pool(instance=SPOT, spot=True, per_device=2)
    assert (pool.size, pool.places) == (4, 8)
    assert kept_pool(stored(pool), None) == Pool(**pool.to_dict()) == pool
    assert kept_pool(stored(pool), Pool(per_device=1)) == Pool(instance=SPOT, spot=True)
    with pytest.raises(ArgumentError, match="several nodes"):
        kept_pool(stored(pool), Pool(nodes=2, instance=SPOT))
