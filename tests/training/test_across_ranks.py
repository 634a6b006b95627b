"""The values of several ranks become one: the rule alone, and on two real ranks with uneven shards."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
import torchmetrics
from hypothesis import given
from hypothesis import strategies as st
from rank_bench import Bench
from tiny_training import TinyNet, fit, rows
from torch.utils.data import DataLoader, IterableDataset

from lightning_hwtune.training.across_ranks import RankValues, Share, as_number, combine
from lightning_hwtune.training.channel import Note, Report
from lightning_hwtune.training.trial import Trial

NAN = math.nan


def _combined(*shares: Share | None, rule: str = "mean") -> float | None:
    ranks = [RankValues({} if share is None else {"x": share}) for share in shares]
    return combine(ranks, {"x": rule}).values.get("x")


@pytest.mark.parametrize(
    ("shares", "rule", "value"),
    [
        ([Share(0.0, 4), Share(1.0, 12)], "mean", 0.75),
        ([Share(0.0, 0), Share(1.0, 0)], "mean", 0.5),  # nothing was validated: all ranks count alike
        ([Share(NAN, 0), Share(1.0, 3)], "mean", 1.0),  # a rank without samples has no say
        ([Share(NAN, 1), Share(1.0, 3)], "mean", NAN),
        ([Share(math.inf, 1), Share(1.0, 3)], "mean", math.inf),
        ([None, Share(1.0, 3)], "mean", 1.0),
        ([None, None], "mean", None),
        ([Share(3.0, reduce="sum"), Share(4.0, reduce="sum")], "mean", 7.0),
        ([Share(3.0, reduce="max"), Share(4.0, reduce="max")], "mean", 4.0),
        ([Share(3.0, reduce="min"), Share(4.0, reduce="min")], "mean", 3.0),
        ([Share(3.0), Share(4.0)], "sum", 7.0),
        ([Share(3.0), Share(3.0)], "sum", 6.0),
        ([Share(3.0), Share(4.0)], "max", 4.0),
        ([Share(3.0), Share(4.0)], "min", 3.0),
        ([Share(NAN), Share(4.0)], "max", NAN),
        ([Share(4.0), Share(NAN)], "min", NAN),
        ([Share(3.0), Share(4.0)], "rank0", 3.0),
        ([None, Share(4.0)], "rank0", None),
        ([Share(5.0, is_combined=True), Share(5.0, is_combined=True)], "sum", 5.0),
    ],
)
def test_the_rules(shares: list[Share | None], rule: str, value: float | None) -> None:
    found = _combined(*shares, rule=rule)
    assert found == value or (found is not None and value is not None and math.isnan(found) and math.isnan(value))


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(1, 100)), min_size=1, max_size=4))
def test_a_mean_is_the_mean_of_all_samples(parts: list[tuple[float, int]]) -> None:
    samples = [value for value, n in parts for _ in range(n)]
    found = _combined(*(Share(value, n) for value, n in parts))
    assert found == pytest.approx(math.fsum(samples) / len(samples), abs=1e-9)


@given(st.floats(allow_nan=False), st.lists(st.integers(0, 100), min_size=1, max_size=4))
def test_equal_values_are_not_rounded_and_not_noted(value: float, weights: list[int]) -> None:
    combined = combine([RankValues({"x": Share(value, weight)}) for weight in weights], {})
    assert (combined.values["x"], combined.averaged) == (value, ())


def test_only_averaged_values_are_noted() -> None:
    ranks = [
        RankValues({"mean": Share(rank), "max": Share(rank, reduce="max"), "first": Share(rank)}) for rank in (0, 1)
    ]
    assert combine(ranks, {"first": "rank0"}).averaged == ("mean",)


# ---------------------------------------------------------------------- two real ranks

_AVERAGED = ("step", "epoch_end", "last_hook", "by_callback", "written")
_EXPECTED = {
    **dict.fromkeys(_AVERAGED, 0.75),
    "synced": 0.75,
    "metric_object": 0.75,
    "n_samples": 16.0,
    "largest": 1.0,
    "by_rank_1_only": 1.0,
    "by_rank_0_only": 0.0,
    "chosen_max": 1.0,
    "chosen_min": 0.0,
    "chosen_sum": 1.0,
    "chosen_first": 0.0,
}
_CHOSEN = {"chosen_max": "max", "chosen_min": "min", "chosen_sum": "sum", "chosen_first": "rank0"}


class UnevenShards(IterableDataset[Any]):
    """Four samples for rank 0, twelve for rank 1."""

    def __iter__(self) -> Any:
        return iter(torch.ones(12 if torch.distributed.get_rank() else 4, 2))


class RankNet(TinyNet):
    """Logs its rank in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torchmetrics.MeanMetric()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        rank = float(self.global_rank)
        self.mean.update(rank)
        self.log("step", rank)
        self.log("synced", rank, sync_dist=True)
        self.log("metric_object", self.mean)
        self.log("n_samples", float(len(batch)), reduce_fx="sum")
        self.log("largest", rank, reduce_fx="max")
        self.log(f"by_rank_{self.global_rank}_only", rank)
        for name in _CHOSEN:
            self.log(name, rank)

    def on_validation_epoch_end(self) -> None:
        self.log("epoch_end", float(self.global_rank))

    def on_train_epoch_end(self) -> None:
        self.log("last_hook", float(self.global_rank))
        self.trainer.callback_metrics["written"] = torch.tensor(float(self.global_rank))


class LogsRank(L.Callback):
    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.log("by_callback", float(trainer.global_rank))


@pytest.mark.training
def test_two_ranks_report_what_one_device_would(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        uneven = DataLoader(UnevenShards(), 4)
        fit(trial, RankNet(), LogsRank(), train=rows(16), val=uneven, num_sanity_val_steps=0)

    said = bench.segment(train, {2: "stop"}, num_devices=2, metrics=tuple(_EXPECTED), levels=(2,), across_ranks=_CHOSEN)
    assert [ended.error for ended in said.ended] == ["", ""]
    assert [dict(report.metrics) for report in said.of(Report)] == [_EXPECTED, _EXPECTED]
    (note,) = (note for note in said.of(Note) if note.topic == "mean across ranks")
    assert note.once_per == "study"
    assert all(repr(name) in note.text for name in _AVERAGED)
    assert "A mean of ratios is not the ratio" in note.text
    assert not any(repr(name) in note.text for name in ("synced", "metric_object", "n_samples", "chosen_max"))


@pytest.mark.training
def test_an_objective_that_no_rank_or_not_rank_0_has_is_one_error_on_all(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        fit(trial, RankNet(), train=rows(16), val=rows(16), num_sanity_val_steps=0)

    order: dict[str, Any] = {"num_devices": 2, "levels": (1,), "max_resource": 1}
    said = bench.segment(train, {}, **order, metrics=("by_rank_1_only",), across_ranks={"by_rank_1_only": "rank0"})
    assert said.of(Report) == []
    assert ["'by_rank_1_only' was never logged" in ended.error for ended in said.ended] == [True, True]


@pytest.mark.training
def test_a_loop_that_reports_by_hand_has_the_same_rule(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        torch.distributed.init_process_group("gloo")
        rank = torch.distributed.get_rank()
        if rank:
            trial.report(1, mean=3.0, first=2.0, one=5.0)
        else:
            trial.report(1, mean=1.0, first=1.0)

    said = bench.segment(
        train, {1: "stop"}, num_devices=2, metrics=("mean", "first", "one"), across_ranks={"first": "rank0"}
    )
    assert [ended.error for ended in said.ended] == ["", ""]
    assert dict(said.of(Report)[0].metrics) == {"mean": 2.0, "first": 1.0, "one": 5.0}


@pytest.mark.parametrize(
    "value",
    [Decimal("2.5"), Fraction(5, 2), np.float16(2.5), np.longdouble(2.5), np.array([[2.5]]), torch.tensor([2.5])],
)
def test_any_single_number_is_one(value: object) -> None:
    assert as_number(value) == 2.5


@pytest.mark.parametrize(
    "value", ["2.5", b"2.5", True, np.True_, None, 1j, [2.5], 10**400, np.zeros(2), np.array("2.5")]
)
def test_nothing_else_is_a_number(value: object) -> None:
    assert as_number(value) is None
