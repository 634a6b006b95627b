"""Hyperparameters of clients, tuned inside a simulated federation, while a study tunes those of the server.

A federation trains one model on the data of clients, which never leave them. FedEx (Khodak et al., "Federated
Hyperparameter Tuning: Challenges, Baselines, and Connections to Weight-Sharing", 2021, algorithm 2) tunes the learning
rate of the clients within a single training: each client draws one from a distribution, and after the round the server
moves the distribution to those whose validation loss was low, by an exponentiated gradient. Each client has three of
the ten digits only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import lightning_hwtune as hwt

__all__ = ["LOCAL_LRS", "clients", "entropy", "study", "train"]

LOCAL_LRS = (0.001, 0.01, 0.1, 1.0, 30.0)
Parts = tuple[torch.Tensor, torch.Tensor]


def clients(n: int = 12, labels_each: int = 3) -> list[tuple[Parts, Parts]]:
    """Returns the training and the validation data of each client, which has some of the labels only."""
    digits, rng = load_digits(), np.random.default_rng(0)
    inputs, labels = torch.as_tensor(digits.data, dtype=torch.float32) / 16, torch.as_tensor(digits.target)
    own: list[list[int]] = [[] for _ in range(n)]
    for label in range(10):
        who = [client for client in range(n) if (label - client * labels_each) % 10 < labels_each]
        rows = rng.permutation(np.flatnonzero(digits.target == label))
        for client, part in zip(who, np.array_split(rows, len(who)), strict=True):
            own[client] += part.tolist()
    data = []
    for rows in own:
        mixed = rng.permutation(rows)
        first, second = mixed[: len(mixed) * 3 // 4], mixed[len(mixed) * 3 // 4 :]
        data.append(((inputs[first], labels[first]), (inputs[second], labels[second])))
    return data


def _loss(weights: torch.Tensor, part: Parts) -> torch.Tensor:
    return F.cross_entropy(part[0] @ weights[:64] + weights[64], part[1])


def _trained(weights: torch.Tensor, part: Parts, lr: float, steps: int) -> torch.Tensor:
    """Returns the weights after some steps of a client on its own data."""
    local = weights.clone()
    for _ in range(steps):
        local = nn.Parameter(local)
        slope = torch.autograd.grad(_loss(local, part), local)[0]
        local = local.detach() - lr * slope
    return local


def entropy(odds: np.ndarray) -> float:
    """Returns the entropy of a distribution in nats."""
    return float(-(odds * np.log(np.maximum(odds, 1e-12))).sum())


def train(trial: hwt.Trial) -> None:
    """Trains the federation for as many rounds as the study allows; a round is an epoch of the study."""
    data, names = clients(), LOCAL_LRS
    state: dict[str, Any] = trial.load() or {
        "round": 0, "weights": torch.zeros(65, 10), "odds": [1 / len(names)] * len(names), "baseline": None,
    }  # fmt: skip
    weights, odds, baseline = state["weights"], np.array(state["odds"]), state["baseline"]
    for number in range(state["round"] + 1, trial.max_epochs + 1):
        rng = np.random.default_rng([trial.seed, number])
        chosen = rng.choice(len(data), 6, replace=False)
        drawn = rng.choice(len(names), 6, p=odds)
        local = [
            _trained(weights, data[c][0], names[k], trial["local_steps"]) for c, k in zip(chosen, drawn, strict=True)
        ]
        losses = np.array([float(_loss(w, data[c][1]).clamp(max=10.0)) for w, c in zip(local, chosen, strict=True)])
        mean = torch.stack([w.nan_to_num(0.0, 0.0, 0.0).clamp(-20, 20) for w in local]).mean(0)
        weights = weights + trial["server_lr"] * (mean - weights)
        if trial["tunes_clients"]:
            baseline = losses.mean() if baseline is None else 0.5 * baseline + 0.5 * losses.mean()
            slope = np.zeros(len(names))
            np.add.at(slope, drawn, (losses - baseline) / odds[drawn] / len(chosen))
            odds = odds * np.exp(-slope / max(np.abs(slope).max(), 1e-9) * np.sqrt(2 * np.log(len(names))) * 0.5)
            odds = np.maximum(odds / odds.sum(), 0.01)
            odds /= odds.sum()
        wrong = [((x @ weights[:64] + weights[64]).argmax(1) != y).float() for _, (x, y) in data]
        verdict = trial.report(number, val_error=float(torch.cat(wrong).mean()), entropy=entropy(odds))
        if verdict.kind != "continue":
            break
    trial.note("best_local_lr", names[int(odds.argmax())])
    trial.save({"round": number, "weights": weights, "odds": odds.tolist(), "baseline": baseline})


def study(folder: str | Path = "hwtune") -> hwt.Study:
    """Returns the study of the server's hyperparameters, with and without tuning of the clients."""
    space = {
        "server_lr": hwt.Float(0.2, 1.0),
        "local_steps": hwt.Int(1, 5),
        "tunes_clients": hwt.Choice([True, False]),
    }
    return hwt.Study("federation", space, [hwt.Metric("val_error", "min")], max_epochs=54, dir=folder, seed=1)


if __name__ == "__main__":
    print(study().run(train, max_trials=16).trials())  # noqa: T201 - a script
