"""Copies of settings: they are equal, and know which arguments were given."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.forms.given import given_settings

PARTS: dict[str, Any] = {
    "ASHA": hwt.ASHA(9, eta=2),
    "an open ASHA": hwt.ASHA(max_steps=500),
    "PASHA": hwt.PASHA(27),
    "Hyperband": hwt.Hyperband(9),
    "SuccessiveHalving": hwt.SuccessiveHalving(9),
    "MedianStopping": hwt.MedianStopping(9, min_trials=3),
    "RunToEnd": hwt.RunToEnd(9),
    "TPE": hwt.TPE(good=0.2),
    "Random": hwt.Random(),
    "Float": hwt.Float(1e-4, 1e-1, log=True),
    "Int": hwt.Int(1, 9, step=2),
    "Choice": hwt.Choice(["a", "b"]),
    "an ordered Choice": hwt.Choice([3, 1, 2], ordered=True, prior=1),
    "NumDevices": hwt.NumDevices(1, 2),
    "Metric": hwt.Metric("loss", "min", best=True),
    "TrainSeconds": hwt.TrainSeconds(0.1),
    "Pool": hwt.Pool("cpu", 2),
    "Constraint": hwt.Constraint("params", at_most=1e6),
    "SearchSpace": hwt.SearchSpace(x=hwt.Float(0, 1), n=hwt.Int(1, 2, when={"kind": "a"}), kind=hwt.Choice(["a", "b"])),
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda part: pickle.loads(pickle.dumps(part)),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", PARTS)
def test_a_copy_is_equal_and_knows_what_was_given(name: str, how: str) -> None:
    part = PARTS[name]
    found = COPIES[how](part)
    assert (type(found), found, hash(found), repr(found)) == (type(part), part, hash(part), repr(part))
    assert given_settings(found) == given_settings(part)


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_study_is_described_alike(how: str) -> None:
    spec = hwt.Study(
        "s", PARTS["SearchSpace"], [PARTS["Metric"]], scheduler=PARTS["an open ASHA"], pool=PARTS["Pool"]
    ).spec
    assert COPIES[how](spec).to_dict() == spec.to_dict()
