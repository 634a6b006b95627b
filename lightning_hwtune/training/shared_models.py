"""A model that one trial has trained must not begin another one, which would continue with its weights.

This happens where one process trains several trials, with `study.ask` and `executor="inline"`, if the script creates
the model, or a part of it, only once.
"""

from __future__ import annotations

import contextlib
from typing import Any, final
from weakref import WeakKeyDictionary

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.training.context import ActiveSegment

__all__ = ["ModelShares"]

_trained: WeakKeyDictionary[Any, tuple[tuple[str, int, int], str]] = WeakKeyDictionary()
"""Parts of models whose weights a segment has changed: the segment, and a digest of the weights at its end."""


@final
class ModelShares:
    """The weights of a model before its fit; refuses those that another segment of this process has trained."""

    def __init__(self, model: Any, segment: ActiveSegment) -> None:
        order = segment.order
        self._key = order.study, order.trial_id, order.segment
        self._before = _digests(model) if order.num_devices == 1 else {}  # otherwise it is not trained in this process
        if order.checkpoint is None and order.probe_batches is None:
            for part, digest in self._before.items():
                self._refuse(_trained.get(part), digest)

    def _refuse(self, found: tuple[tuple[str, int, int], str] | None, digest: str) -> None:
        if found is None or found[0] == self._key or found[1] != digest:
            return
        (study, trial_id, _), _ = found
        who = f"trial {trial_id}" if study == self._key[0] else f"a trial of study {study!r}"
        raise ArgumentError(
            "model", f"a model that {who} has trained in this process", "a new model for each trial",
            hint="Create it, with all its parts, in the training function or in the loop. Otherwise a trial would "
            "begin with the weights of another one.",
        )  # fmt: skip

    def ended(self, model: Any) -> None:
        """Remembers which parts of the model the fit has changed."""
        if self._before:
            for part, digest in _digests(model).items():
                if self._before.get(part) != digest:
                    _trained[part] = self._key, digest


def _digests(model: Any) -> dict[Any, str]:
    """Returns a short text about the own weights of each part of a model that has any."""
    found = {}
    for part in model.modules():
        with contextlib.suppress(Exception):  # weights that do not exist yet, or cannot be added up
            weights = list(part.parameters(recurse=False))
            if weights:
                found[part] = repr([weight.detach().sum(dtype=_float64()).item() for weight in weights])
    return found


def _float64() -> Any:
    import torch

    return torch.float64
