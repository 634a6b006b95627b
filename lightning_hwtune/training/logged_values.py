"""The values that a training has logged, and when: only values of the current epoch count.

Lightning's `callback_metrics` keeps the newest value of each name permanently. Here it is replaced by a dictionary that
records which names were written in an epoch. Values that were logged before the first epoch, such as the number of
parameters in `on_train_start`, do not belong to an epoch and always count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.training import lightning_internals as internals
from lightning_hwtune.training.across_ranks import RankValues, Share, as_number

__all__ = ["LoggedValues", "WrittenNames"]

_REDUCTIONS = ("mean", "sum", "min", "max")


@final
class WrittenNames(dict[str, Any]):
    """A dictionary that records which keys were written.

    Attributes:
        in_epoch: the keys written since `LoggedValues.epoch_began`.
        since_report: the keys written since `LoggedValues.reported` or `LoggedValues.epoch_began`.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.in_epoch: set[str] = set()
        self.since_report: set[str] = set()

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.in_epoch.add(key)
        self.since_report.add(key)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Writes several keys."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __ior__(self, other: Any) -> WrittenNames:  # type: ignore[override, misc]
        self.update(other)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Writes a key if it does not exist."""
        if key not in self:
            self[key] = default
        return self[key]


@final
class LoggedValues:
    """The values that one rank logs during one fit."""

    def __init__(self, n_ranks: int) -> None:
        self._written = WrittenNames()
        self._always: frozenset[str] | None = None
        self._validation: dict[str, _Reduction] = {}  # those of the newest validation in this epoch
        self._n_samples = 0  # samples of the newest validation
        self._is_counting = n_ranks > 1

    def epoch_began(self, trainer: Any) -> None:
        """Starts a training epoch; values that were logged before it do not count in it."""
        logged = trainer.callback_metrics  # reading it adds the values logged in `on_train_start`
        if self._always is None:
            self._always = frozenset(logged)
        if logged is not self._written:
            self._written = WrittenNames(logged)
            internals.replace_callback_metrics(trainer, self._written)
        self._validation = {}
        self._written.in_epoch.clear()
        self._written.since_report.clear()

    def validation_began(self) -> None:
        """Starts to count the samples of a validation."""
        self._n_samples = 0

    def validated_batch(self, trainer: Any, batch: Any) -> None:
        """Counts the samples of a validation batch; a batch of unknown size counts as one sample."""
        if self._is_counting:
            size = 1
            with contextlib.suppress(Exception):  # a batch of the user may be any object
                size = internals.batch_size(trainer, batch)
            self._n_samples += size

    def validation_ended(self, trainer: Any) -> None:
        """Stores how the values of a validation were reduced, before Lightning resets its records."""
        self._validation = _reductions(internals.validation_results(trainer))

    @property
    def validated(self) -> frozenset[str]:
        """The names that were logged in the newest validation of this epoch."""
        return frozenset(self._validation)

    def logged_again(self, trainer: Any) -> frozenset[str]:
        """Returns the names of the newest validation whose values a training epoch replaces, as it logs them, too."""
        of_epoch = {name for name, result in internals.training_results(trainer) if result.meta.on_epoch}
        return self.validated & of_epoch

    def reported(self) -> None:
        """Marks everything that was logged so far as reported."""
        self._written.since_report.clear()

    def ended(self, trainer: Any) -> None:
        """Replaces the recording dictionary by a plain one when the fit is over."""
        internals.replace_callback_metrics(trainer, dict(trainer.callback_metrics))

    def now(self, trainer: Any, wanted: tuple[str, ...], *, since_report: bool = False) -> RankValues:
        """Returns the values that count now: those logged in this epoch, or only those logged since the last report.

        `wanted` are the names for which a value that is not a number is described.

        All ranks must call it, because reading a metric with `sync_dist=True` combines it over the ranks.
        """
        logged = dict(trainer.callback_metrics)
        written = self._written.since_report if since_report else self._written.in_epoch
        names = frozenset(logged) & (written | (self._always or frozenset()))
        numbers = {name: _number(logged[name]) for name in names}
        reductions = {**self._validation, **_reductions(internals.training_results(trainer))}
        return RankValues(
            shares={
                name: self._share(value, reductions.get(name)) for name, value in numbers.items() if value is not None
            },
            names=frozenset(name for name, value in numbers.items() if value is not None),
            older=frozenset(logged) - names,
            unusable={name: _described(logged[name]) for name in wanted if name in names and numbers[name] is None},
        )

    def _share(self, value: float, reduction: _Reduction | None) -> Share:
        """Returns the share for a value; `reduction` is None if it is unknown how Lightning reduced it."""
        if reduction is None:
            return Share(value, self._n_samples)
        weight = self._n_samples if reduction.weight is None else reduction.weight
        return Share(value, weight, reduction.reduce, reduction.is_combined)


@dataclass(frozen=True, slots=True)
class _Reduction:
    """How Lightning reduced one value; `weight` is None for a value that was logged once, at the end of an epoch."""

    weight: float | None
    reduce: str
    is_combined: bool


def _reductions(results: Iterable[tuple[str, Any]]) -> dict[str, _Reduction]:
    """Returns for each name how its value was reduced, from Lightning's own results."""
    reductions = {}
    for name, result in results:
        meta = result.meta
        reduce = getattr(meta.reduce_fx, "__name__", "mean")
        # a value logged in each step is already weighted by batch sizes; one logged at the end covers all samples
        is_of_steps = "_step" in meta.fx or "_batch_" in meta.fx
        reductions[name] = _Reduction(
            weight=float(getattr(result, "cumulated_batch_size", 1)) if is_of_steps else None,
            reduce=reduce if reduce in _REDUCTIONS else "mean",
            is_combined=not result.is_tensor or (meta.sync.should and not meta.sync.rank_zero_only),
        )
    return reductions


def _number(value: Any) -> float | None:
    """Returns a single number as a float, None for anything else; True and False are 1 and 0, as in `self.log`."""
    is_bool = isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")
    return as_number(value + 0 if is_bool else value)


def _described(value: Any) -> str:
    """Returns a description of a value that is not a number."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
