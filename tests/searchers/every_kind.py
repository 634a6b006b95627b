"""A space with every kind of parameter, for the searchers that translate configurations for other libraries."""

from __future__ import annotations

from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace

__all__ = ["KINDS"]

KINDS = SearchSpace(
    lr=Float(1e-4, 1e-1, log=True),
    momentum=Float(0.0, 1.0, when={"optimizer": "sgd"}),
    optimizer=Choice(["adam", "sgd", None]),
    width=Int(4, 64, log=True),
    depth=Int(2, 10, step=4),
    layers=Choice([[1, 2], {"a": None}, True, 1]),
    size=Choice([16, 64, 32]),
    constant=Choice(["only"]),
    batch_size=Choice([30, 31, 33]),
    devices=NumDevices(1, 2, 3),
)
