"""The cost of devices and of nodes. Only this module multiplies by a price.

A node is billed from its launch to its release: price x max(minimum, quantum x ceil(up / quantum)), where the quantum
and the minimum are those of the provider. Without a quantum, the exact time is billed. The arithmetic is exact, and a
bill is rounded once, to the nearest float. So a bill never falls while a node is up, is never below that of the
minimum, and never below the price of the time itself.

A spot node that the provider takes away early costs nothing at some providers; later, its time is billed as usual. A
spot node that the user releases is billed as usual in any case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.forms import checked_class

if TYPE_CHECKING:
    from lightning_hwtune.core.hardware.pool import Pool

__all__ = [
    "EXACT_TIME",
    "RULES",
    "BillingRule",
    "Node",
    "affordable_s",
    "bill",
    "bills",
    "rule_of",
    "usd_of",
    "usd_per_device_hour",
]

_HOUR_S = 3600
_ROUNDING = 1e-9

Floats = npt.NDArray[np.float64]


@final
@checked_class()
@dataclass(frozen=True, slots=True)
class BillingRule:
    """How a provider bills the time of a node.

    Args:
        quantum_s: time is rounded up to a multiple of these seconds; 0 to bill the exact time.
        minimum_s: the least time that is billed.
        free_if_lost_within_s: a spot node that the provider takes away within this time costs nothing.
        source: where the provider says so.
    """

    quantum_s: float = 0.0
    minimum_s: float = 0.0
    free_if_lost_within_s: float = 0.0
    source: str = ""

    def billed_s(self, up_s: float) -> Fraction:
        """Returns the seconds that are billed for a node that was up for `up_s` seconds, exactly."""
        exact, quantum = Fraction(up_s), Fraction(self.quantum_s)
        rounded = quantum * math.ceil(exact / quantum) if quantum else exact
        return max(Fraction(self.minimum_s), rounded)


EXACT_TIME = BillingRule(source="no provider: the exact time is counted")
"""The rule for your own machine, and for a provider whose rule is unknown."""

RULES: Mapping[str, BillingRule] = {
    "aws": BillingRule(
        quantum_s=1,
        minimum_s=60,
        free_if_lost_within_s=_HOUR_S,
        source="https://aws.amazon.com/about-aws/whats-new/2017/10/announcing-amazon-ec2-per-second-billing/ and "
        "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/billing-for-interrupted-spot-instances.html (Linux "
        "without a separate hourly charge)",
    ),
    "gcp": BillingRule(
        quantum_s=1,
        minimum_s=60,
        source="https://cloud.google.com/compute/vm-instance-pricing. A lost spot node is billed like any "
        "other, which is the most that it can cost",
    ),
    "azure": BillingRule(
        quantum_s=1,
        minimum_s=300,
        source="https://learn.microsoft.com/en-us/answers/questions/2259765 (the accepted answer: at least 300 s from "
        "2025-06-01, then by the second)",
    ),
    "sagemaker": BillingRule(
        quantum_s=1,
        source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html "
        "(BillableTimeInSeconds)",
    ),
}
"""Provider -> its rule."""


@final
@dataclass(frozen=True, slots=True)
class Node:
    """A machine that is paid for from its launch to its release.

    Attributes:
        instance: its type.
        launched_at: when it was launched, in seconds of some clock.
        released_at: when it was released, or lost; None while it is up.
        is_spot: whether it is a spot node. is_lost: whether the provider took it away.
    """

    instance: InstanceType
    launched_at: float
    released_at: float | None = None
    is_spot: bool = False
    is_lost: bool = False

    def up_s(self, now: float) -> float:
        """Returns the seconds for which it has been up; `now` counts only until its release."""
        return max((now if self.released_at is None else self.released_at) - self.launched_at, 0.0)


def rule_of(instance: InstanceType) -> BillingRule:
    """Returns the rule of the provider of an instance type; the exact time for an unknown provider."""
    return RULES.get(instance.provider.casefold(), EXACT_TIME)


def bill(node: Node, now: float, rule: BillingRule | None = None) -> float:
    """Returns what a node has cost by `now`, in US dollars.

    Args:
        rule: None for that of the provider.
    """
    rule = rule or rule_of(node.instance)
    up_s = node.up_s(now)
    if node.is_lost and node.is_spot and up_s < rule.free_if_lost_within_s:
        return 0.0
    return float(_usd(node.instance.price(spot=node.is_spot), rule.billed_s(up_s)))


def bills(usd_per_hour: float, up_s: Floats, rule: BillingRule = EXACT_TIME) -> Floats:
    """Returns what nodes of one price cost, by the seconds that each was up; in floats, for plans with many bills.

    A time that is above a multiple of the quantum by less than 1e-9 of itself counts as this multiple.
    """
    rounded = np.asarray(up_s, dtype=np.float64)
    if rule.quantum_s > 0:
        quanta = rounded / rule.quantum_s
        rounded = rule.quantum_s * np.ceil(quanta - _ROUNDING * np.maximum(1.0, quanta))
    billed: Floats = usd_per_hour / _HOUR_S * np.maximum(rule.minimum_s, rounded)
    return billed


def affordable_s(instance: InstanceType, usd: float, rule: BillingRule | None = None, *, spot: bool = False) -> float:
    """Returns the longest time for which a node can be up so that its bill is at most `usd`.

    Returns infinity for a node that costs nothing, and -infinity if not even the minimum can be paid.
    """
    rule = rule or rule_of(instance)
    price, quantum = Fraction(instance.price(spot=spot)), Fraction(rule.quantum_s)
    if usd < 0 or _usd(instance.price(spot=spot), Fraction(rule.minimum_s)) > Fraction(usd):
        return -math.inf
    if price == 0 or math.isinf(usd):
        return math.inf
    seconds = Fraction(usd) * _HOUR_S / price
    exact = quantum * math.floor(seconds / quantum) if quantum else seconds
    found = float(exact)
    return found if Fraction(found) <= exact else math.nextafter(found, 0.0)


def _usd(usd_per_hour: float, seconds: Fraction) -> Fraction:
    return Fraction(usd_per_hour) * seconds / _HOUR_S


def usd_of(pool: Pool, device_s: float, usd_per_hour: float | None = None) -> float:
    """Returns what `device_s` device-seconds of a pool cost, in US dollars; 0 if the pool has no price.

    Args:
        usd_per_hour: the price of a device, if it is not that of the pool.
    """
    price = pool.usd_per_device_hour if usd_per_hour is None else usd_per_hour
    return device_s * ((price or 0.0) / 3600.0)


def usd_per_device_hour(instance: InstanceType, n_devices: int, *, spot: bool = False) -> float:
    """Returns the price of one of the devices of a machine: each has the same share of the price."""
    return instance.price(spot=spot) / n_devices
