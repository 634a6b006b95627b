"""Which of a pool's nodes an agent is."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.kinds import Nodes
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.engine.agents.node_kind import kind_of

SIZES = Pool("gpu", nodes=[Nodes(1, devices=8), Nodes(2, devices=4), Nodes(1, devices=2)])
CPUS = Pool("cpu", nodes=[Nodes(1, devices=4), Nodes(1, devices=2)], threads_per_device=2)
TYPES = Pool(nodes=[Nodes(1, instance=InstanceType(name, 1.0, devices=n)) for name, n in (("a", 2), ("b", 4))])
EQUAL = Pool("cpu", devices=4, nodes=2)
EQUAL_GPUS = Pool("gpu", devices=4, nodes=2)


@pytest.mark.parametrize(
    ("pool", "hello", "devices"),
    [
        (SIZES, {"n_gpus": 8}, 8),
        (SIZES, {"n_gpus": 7}, 4),
        (SIZES, {"n_gpus": 3}, 2),
        (SIZES, {"n_gpus": 8, "devices": 4}, 4),
        (CPUS, {"n_cpus": 8}, 4),
        (CPUS, {"n_cpus": 7}, 2),
        (CPUS, {"n_cpus": 1, "devices": 4}, 4),
        (TYPES, {"n_gpus": 8, "instance": "a"}, 2),
        (TYPES, {"n_gpus": 8, "instance": "b"}, 4),
        (EQUAL, {"n_cpus": 1}, 4),
        (EQUAL_GPUS, {"n_gpus": 8}, 4),
    ],
)
def test_an_agent_is_the_largest_node_that_it_suffices_for(pool: Pool, hello: dict[str, Any], devices: int) -> None:
    kind, refused = kind_of(pool, hello)
    assert (kind.n_devices, refused) == (devices, "")
    assert not hello.get("instance") or kind.type.name == hello["instance"]


@pytest.mark.parametrize(
    ("pool", "hello", "why"),
    [
        (SIZES, {"n_gpus": 1}, "at least 2 GPUs, but the agent sees 1"),
        (SIZES, {"n_gpus": 8, "devices": 1}, "at least 2 GPUs, but the agent has 1"),
        (SIZES, {"n_gpus": 1, "devices": 8}, "at least 2 GPUs, but the agent sees 1"),
        (CPUS, {"n_cpus": 3}, "at least 2 devices, but the agent has 3 CPUs"),
        (TYPES, {"n_gpus": 8}, "instance types 'a', 'b': start the agent with --instance"),
        (TYPES, {"n_gpus": 8, "instance": "c"}, "type 'c', but the pool of the study has the instance types 'a', 'b'"),
        (TYPES, {"n_gpus": 2, "instance": "b"}, "at least 4 GPUs, but the agent sees 2"),
        (EQUAL, {"devices": 2}, "each node of the study has 4 devices, but the agent has 2"),
        (EQUAL, {"instance": "a"}, "the pool of the study has no instance types"),
        (EQUAL_GPUS, {"n_gpus": 3}, "each node of the study has 4 GPUs, but the agent sees 3"),
    ],
)
def test_an_agent_that_is_none_of_them_is_refused(pool: Pool, hello: dict[str, Any], why: str) -> None:
    assert why in kind_of(pool, hello)[1]
