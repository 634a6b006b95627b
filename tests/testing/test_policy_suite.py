"""Our allocation policies pass the shipped suite, and it finds what is wrong with policies that break one rule each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.hardware.allocator import Allocator
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.testing import check_policy

POOL = hwt.Pool("cpu", 4)
SPACE = hwt.SearchSpace(x=hwt.Float(0, 1))
SEARCHED = hwt.SearchSpace(x=hwt.Float(0, 1), devices=hwt.NumDevices(1, 2, 4))
BATCHES = hwt.SearchSpace(batch_size=hwt.Int(4, 64), devices=hwt.NumDevices(1, 2, 3))


@dataclass(frozen=True)
class ByX(hwt.AllocationPolicy):
    """One device for small values of x, two for the others."""

    limit: float = 0.5

    def counts(self, space: Any, pool: Any) -> Any:
        return (1, 2)

    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(2 if config["x"] > self.limit else 1)


class Whole(ByX):
    """The whole pool."""

    def counts(self, space: Any, pool: Any) -> Any:
        return (pool.size,)

    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(pool.size)


class Doubling(ByX):
    """Begins on one device and doubles."""

    def counts(self, space: Any, pool: Any) -> Any:
        return [count for count in (1, 2, 4) if count <= pool.size]

    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(1)


class Staying(ByX):
    """Follows the search space, but never moves."""

    def counts(self, space: Any, pool: Any) -> Any:
        return space.device_counts

    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(config[space.devices_key])

    def larger(self, space: Any, pool: Any, config: Any, allocation: Any) -> Any:
        return None


class Hastening(Doubling):
    """The fastest number of devices for each stretch, as far as it is free."""

    def next(self, moment: hwt.Moment) -> hwt.Allocation:
        able = [count for count in moment.counts if count <= moment.free]
        return hwt.Allocation(min(able or [moment.allocation.devices], key=moment.seconds))


@pytest.mark.parametrize(
    ("policy", "space"),
    [
        (hwt.FixedAllocation(), SPACE),
        (hwt.FixedAllocation(3), SPACE),
        (hwt.FixedAllocation(2), hwt.SearchSpace(batch_size=hwt.Choice([16, 32]))),
        (hwt.SearchedAllocation(), SEARCHED),
        (hwt.SearchedAllocation(), BATCHES),
        (ByX(0.3), SPACE),
        (Whole(), SPACE),
        (Doubling(), SPACE),
        (Doubling(), hwt.SearchSpace(batch_size=hwt.Int(4, 64))),
        (Staying(), SEARCHED),
        (hwt.AdvisedAllocation(), SPACE),
        (hwt.AdvisedAllocation(2), hwt.SearchSpace(batch_size=hwt.Choice([16, 32]))),
        (hwt.SeerAllocation(unit_s=1.0), SPACE),
        (hwt.SeerAllocation(2), hwt.SearchSpace(batch_size=hwt.Choice([16, 32]))),
        (hwt.DoublingAllocation(), SPACE),
        (hwt.DoublingAllocation(2, factor=2), hwt.SearchSpace(batch_size=hwt.Choice([16, 32]))),
        (Hastening(), SPACE),
        (Hastening(), hwt.SearchSpace(batch_size=hwt.Int(4, 64))),
    ],
    ids=repr,
)
def test_a_right_policy_passes(policy: hwt.AllocationPolicy, space: hwt.SearchSpace) -> None:
    check_policy(policy, space, POOL)


class Asked(ByX):
    number: ClassVar[Any] = itertools.count()

    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(1 + next(self.number) % 2)


class Outside(ByX):
    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(3)


class Number(ByX):
    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return 1


class TwoNodes(ByX):
    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(2, nodes=2)


class Elsewhere(ByX):
    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(2, instance="p4d.24xlarge")


class Shrinking(ByX):
    def larger(self, space: Any, pool: Any, config: Any, allocation: Any) -> Any:
        return hwt.Allocation(1)


class Writing(ByX):
    def first(self, space: Any, pool: Any, config: Any) -> Any:
        config["devices"] = 1
        return hwt.Allocation(1)


class Drifting(Doubling):
    """Its answers depend on how often it was asked."""

    number: ClassVar[Any] = itertools.count()

    def next(self, moment: hwt.Moment) -> hwt.Allocation:
        return hwt.Allocation((1, 2, 4)[next(self.number) % 3])


class Beyond(Doubling):
    def next(self, moment: hwt.Moment) -> hwt.Allocation:
        return hwt.Allocation(8)


class Uneven(ByX):
    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(2)


class Keeping(ByX):
    """Its constructor keeps what its settings do not have."""

    def __init__(self, limit: float = 0.5, seen: Any = ()) -> None:
        super().__init__(limit)
        object.__setattr__(self, "seen", [])

    def first(self, space: Any, pool: Any, config: Any) -> Any:
        self.seen.append(config["x"])  # type: ignore[attr-defined]
        return hwt.Allocation(1)


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        (Asked(), "The same question has the same answer"),
        (Drifting(), "A killed study that continues from its log gives its trials the same devices"),
        (Beyond(), r"(?s)one of the moment's counts.*Beyond.next.*its counts"),
        (Outside(), r"(?s)one of the policy's counts.*Outside.first.*its counts \[1, 2\]"),
        (Number(), r"(?s)one of the policy's counts.*Allocation\(2\)"),
        (TwoNodes(), "on one node of this host"),
        (Elsewhere(), "on one node of this host"),
        (Shrinking(), "(?s)`larger` is larger.*more than 1 device, or None"),
        (Writing(), "Asking changes nothing"),
        (Keeping(), "Asking changes nothing"),
    ],
    ids=lambda item: type(item).__name__,
)
def test_a_policy_that_breaks_a_rule_is_found(policy: hwt.AllocationPolicy, rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        check_policy(policy, SPACE, POOL)


def test_a_batch_size_that_the_devices_do_not_divide_is_found() -> None:
    with pytest.raises(AssertionError, match="divides the configuration's batch sizes"):
        check_policy(Uneven(), {"batch_size": hwt.Int(1, 64)}, POOL)


class Nothing(ByX):
    def counts(self, space: Any, pool: Any) -> Any:
        return ()


class Falling(ByX):
    def counts(self, space: Any, pool: Any) -> Any:
        return (2, 1)


class FromZero(ByX):
    def counts(self, space: Any, pool: Any) -> Any:
        return (0, 1)


class Words(ByX):
    def counts(self, space: Any, pool: Any) -> Any:
        return ("1", "2")


class Single(ByX):
    def counts(self, space: Any, pool: Any) -> Any:
        return 2


class Failing(ByX):
    def first(self, space: Any, pool: Any, config: Any) -> Any:
        return hwt.Allocation(config["y"])


@pytest.mark.parametrize(
    ("policy", "space", "says"),
    [
        (Nothing(), SPACE, "Nothing.counts. is .*positive integers, ascending"),
        (Falling(), SPACE, "positive integers, ascending"),
        (FromZero(), SPACE, "positive integers, ascending"),
        (Words(), SPACE, "positive integers, ascending"),
        (Single(), SPACE, "positive integers, ascending"),
        (Failing(), SPACE, "raises KeyError: 'y'"),
        (Number(), SPACE, "an Allocation such as"),
        (hwt.FixedAllocation(8), SPACE, "counts up to 4, the number of cpu devices"),
        (hwt.FixedAllocation(1), SEARCHED, "The parameter 'devices' is the number of devices"),
        (ByX(), SEARCHED, "The parameter 'devices' is the number of devices"),
        (hwt.SearchedAllocation(), SPACE, "a space with NumDevices"),
    ],
    ids=lambda item: type(item).__name__,
)
def test_a_policy_that_does_not_suit_the_study_is_refused_when_the_study_is_made(
    tmp_path: Any, policy: hwt.AllocationPolicy, space: hwt.SearchSpace, says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        hwt.Study("s", space, [hwt.Metric("loss", "min")], max_epochs=3, pool=POOL, dir=tmp_path, allocation=policy)
    assert not (tmp_path / "s").exists()


def test_a_trial_that_ran_out_of_memory_moves_to_the_next_count_that_divides_its_batch() -> None:
    allocator = Allocator(hwt.SearchedAllocation(), BATCHES, POOL)
    moves = {size: allocator.larger({"batch_size": size, "devices": 1}, hwt.Allocation(1)) for size in (6, 9, 7)}
    assert moves == {6: hwt.Allocation(2), 9: hwt.Allocation(3), 7: None}
