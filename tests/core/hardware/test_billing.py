"""Bills of nodes: exact, monotone, at least the minimum, and never below the price of the time."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lightning_hwtune.core.hardware.billing import EXACT_TIME, RULES, BillingRule, Node, affordable_s, bill, rule_of
from lightning_hwtune.core.hardware.catalogue import Catalogue, InstanceType
from lightning_hwtune.errors import ArgumentError

SECONDS = st.floats(0, 1e8)
PRICES = st.floats(0, 1e4)
RULE = st.builds(BillingRule, st.sampled_from([0.0, 0.1, 1.0, 60.0, 3600.0]), st.sampled_from([0.0, 60.0, 300.0, 0.5]))
ROUNDED = Fraction(1, 2**52)  # the relative error of one float


def node(usd_per_hour: float, up_s: float | None, *, spot: float | None = None, is_lost: bool = False) -> Node:
    kind = InstanceType("box", usd_per_hour, vcpus=1, usd_per_hour_spot=spot)
    return Node(kind, 0.0, up_s, is_spot=spot is not None, is_lost=is_lost)


@pytest.mark.parametrize(
    ("provider", "up_s", "billed_s"),
    [
        ("aws", 0.0, 60), ("aws", 30.0, 60), ("aws", 60.0, 60), ("aws", 60.1, 61), ("aws", 3600.0, 3600),
        ("gcp", 59.0, 60), ("gcp", 90.5, 91), ("azure", 60.0, 300), ("azure", 300.2, 301), ("sagemaker", 0.2, 1),
        ("local", 0.25, 0.25), ("my-cluster", 12.5, 12.5), ("AWS", 1.0, 60),
    ],
)  # fmt: skip
def test_the_time_that_each_provider_bills(provider: str, up_s: float, billed_s: float) -> None:
    kind = InstanceType("box", 36.0, vcpus=1, provider=provider)  # one cent per second
    assert bill(Node(kind, 100.0, 100.0 + up_s), 1e9) == pytest.approx(0.01 * billed_s, rel=1e-12)
    assert bill(Node(kind, 100.0), 100.0 + up_s) == pytest.approx(0.01 * billed_s, rel=1e-12)


def test_each_provider_of_the_catalogue_has_a_rule_with_a_source() -> None:
    assert {item.provider for item in Catalogue.builtin()} == set(RULES)
    assert all("https://" in rule.source for rule in RULES.values())
    assert rule_of(InstanceType("box", 1.0, vcpus=1)) is EXACT_TIME


@given(RULE, PRICES, SECONDS)
@example(BillingRule(0.1), 3600.0, 0.3)
@example(BillingRule(0.1), 3600.0, 1.1)
def test_a_bill_is_that_of_the_formula_in_exact_arithmetic(rule: BillingRule, price: float, up_s: float) -> None:
    quantum, up = Fraction(rule.quantum_s), Fraction(up_s)
    n = 0
    if quantum:
        n = int(up // quantum)
        n += n * quantum < up
    billed = max(Fraction(rule.minimum_s), n * quantum if quantum else up)
    assert bill(node(price, up_s), math.inf, rule) == float(Fraction(price) * billed / 3600)


@given(RULE, PRICES, SECONDS, SECONDS)
def test_a_bill_never_falls_while_a_node_is_up(rule: BillingRule, price: float, one: float, other: float) -> None:
    up = node(price, None)
    assert bill(up, min(one, other), rule) <= bill(up, max(one, other), rule)


@given(RULE, PRICES, SECONDS)
def test_a_bill_is_at_least_the_minimum_and_the_price_of_the_time(rule: BillingRule, price: float, up_s: float) -> None:
    found = Fraction(bill(node(price, up_s), up_s, rule)) * (1 + ROUNDED) + Fraction(5e-324)
    assert found >= Fraction(price) * Fraction(up_s) / 3600
    assert found >= Fraction(price) * Fraction(rule.minimum_s) / 3600


@given(RULE, PRICES, SECONDS)
def test_a_bill_exceeds_the_exact_time_by_less_than_a_quantum_or_it_is_the_minimum(
    rule: BillingRule, price: float, up_s: float
) -> None:
    most_s = max(Fraction(up_s) + Fraction(rule.quantum_s), Fraction(rule.minimum_s))
    found = Fraction(bill(node(price, up_s), up_s, rule))
    assert found <= Fraction(price) * most_s / 3600 * (1 + ROUNDED) + Fraction(5e-324)


@given(RULE, st.floats(1e-3, 1e4), st.floats(0, 1e6))
def test_what_can_be_afforded_is_the_longest_time_that_is_paid(rule: BillingRule, price: float, usd: float) -> None:
    up = node(price, None)
    seconds = affordable_s(up.instance, usd, rule)
    if seconds == -math.inf:
        assert bill(up, 0.0, rule) > usd * (1 - 1e-12)
        return
    assert bill(up, seconds, rule) <= usd
    longer = max(seconds, rule.minimum_s) + max(rule.quantum_s / 2, 1e-6 * (1 + seconds))
    assert bill(up, longer, rule) > usd * (1 - 1e-12)


def test_a_free_node_lasts_for_good_and_a_budget_of_nothing_pays_no_minimum() -> None:
    assert affordable_s(node(0.0, None).instance, 0.0) == math.inf
    assert affordable_s(node(1.0, None).instance, 0.0) == 0.0
    assert affordable_s(Catalogue.builtin()["g4dn.12xlarge"], 0.06) == -math.inf  # a minute costs 0.0652
    assert affordable_s(Catalogue.builtin()["g4dn.12xlarge"], 3.912) == 3600.0


@pytest.mark.parametrize(
    ("up_s", "is_lost", "usd"),
    [(1800.0, True, 0.0), (3599.9, True, 0.0), (3600.0, True, 1.0), (7200.0, True, 2.0), (1800.0, False, 0.5)],
)
def test_a_spot_node_that_ec2_takes_away_in_its_first_hour_costs_nothing(
    up_s: float, is_lost: bool, usd: float
) -> None:
    assert bill(node(3.0, up_s, spot=1.0, is_lost=is_lost), 1e9, RULES["aws"]) == pytest.approx(usd)


def test_a_lost_node_is_billed_where_no_rule_makes_it_free() -> None:
    lost = node(3.0, 1800.0, spot=1.0, is_lost=True)
    assert bill(lost, 1e9, RULES["gcp"]) == pytest.approx(0.5)
    on_demand = node(3.0, 1800.0, is_lost=True)
    assert bill(on_demand, 1e9, RULES["aws"]) == pytest.approx(1.5)


@given(SECONDS, SECONDS)
def test_the_bill_of_a_lost_spot_node_never_falls_either(one: float, other: float) -> None:
    early, late = (node(3.0, up_s, spot=1.0, is_lost=True) for up_s in sorted((one, other)))
    assert bill(early, 1e9, RULES["aws"]) <= bill(late, 1e9, RULES["aws"])


@pytest.mark.parametrize("field", ["quantum_s", "minimum_s", "free_if_lost_within_s"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "60"])
def test_a_rule_with_a_wrong_number_of_seconds_is_refused(field: str, value: object) -> None:
    with pytest.raises(ArgumentError, match=field):
        BillingRule(**{field: value})  # type: ignore[arg-type]


def test_a_clock_that_goes_back_costs_no_negative_time() -> None:
    assert bill(Node(InstanceType("box", 1.0, vcpus=1), 100.0), 50.0) == 0.0
