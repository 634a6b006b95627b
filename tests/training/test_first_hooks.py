"""What `on_fit_start` and `on_train_start` of user code set before the first epoch does not replace restored values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from rank_bench import Bench, differences
from tiny_training import TinyNet, fit, rows

from lightning_hwtune.training.channel import Report
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training

HORIZON = 3


class Net(TinyNet):
    """Has a normalization, whose buffers are counts, too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(2)
        self.register_buffer("n_seen", torch.zeros(()))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.n_seen += 1
        return self.layer(self.norm(batch) + batch).square().mean() / self.n_seen

    def on_validation_epoch_end(self) -> None:
        self.log("val_loss", self.layer.weight.square().sum() + self.n_seen)


class Initialized(Net):
    def on_train_start(self) -> None:
        for parameter in self.layer.parameters():
            parameter.data.normal_()


class Counted(Net):
    """Starts to count when a fit starts."""

    def on_fit_start(self) -> None:
        self.n_seen.fill_(1.0)


class Slower(Net):
    """Sets its learning rate when the training starts; a schedule changes it later."""

    def on_train_start(self) -> None:
        self.trainer.optimizers[0].param_groups[0]["lr"] = 0.05

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.5)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]


class Initializing(L.Callback):
    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        torch.nn.init.xavier_normal_(pl_module.layer.weight)


class Swapped(Net):
    """Trains other weights than it saves, and restores them itself."""

    own: Any = None

    def on_train_start(self) -> None:
        if self.own is not None:
            self.load_state_dict(self.own)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["own"] = {name: value.clone() for name, value in self.state_dict().items()}
        checkpoint["state_dict"] = {name: torch.zeros_like(value) for name, value in self.state_dict().items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.own = checkpoint["own"]


@pytest.mark.parametrize(
    ("net", "callback"),
    [
        pytest.param(Initialized, None, id="weights"),
        pytest.param(Net, Initializing, id="weights, by a callback"),
        pytest.param(Counted, None, id="buffer"),
        pytest.param(Slower, None, id="learning rate"),
        pytest.param(Swapped, None, id="restored by the module itself"),
    ],
)
def test_a_resumed_fit_continues_with_the_restored_values(bench: Bench, net: type[Net], callback: Any) -> None:
    bench.order = replace(bench.order, metrics=("val_loss",), max_resource=HORIZON)

    def train(trial: Trial) -> None:
        torch.manual_seed(trial.seed)
        fit(trial, net(), *([] if callback is None else [callback()]), train=rows(12))

    whole = bench.inline(train, {HORIZON: "stop"})
    segments = bench.pausing(train, HORIZON)
    reports = [report for said in segments for report in said.of(Report)]
    assert len(reports) == HORIZON
    assert differences([r.metrics for r in whole.of(Report)], [r.metrics for r in reports]) == []


def test_a_checkpoint_names_only_what_the_hooks_set(bench: Bench) -> None:
    bench.order = replace(bench.order, metrics=("val_loss",), max_resource=HORIZON)
    for net, names in ((Net, set()), (Initialized, {"parameter.layer.weight", "parameter.layer.bias"})):
        said = bench.inline(lambda trial, net=net: fit(trial, net(), num_sanity_val_steps=0), {1: "pause"})
        state = torch.load(said.saved.path, weights_only=True)["lightning_hwtune"]
        assert set(state["first_hooks"]) == names
