"""What a training has logged, and when: only values of the present epoch count.

Lightning's `callback_metrics` keeps the newest value of each name for ever. Here it is replaced by a dictionary that
remembers which names were written since a moment. Values that were logged before the first epoch, such as a number of
parameters in `on_train_start`, belong to no epoch and always count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.training import lightning_internals as internals
from lightning_hwtune.training.across_ranks import Logged, Share, as_number

__all__ = ["LoggedValues", "WrittenNames"]

_REDUCTIONS = ("mean", "sum", "min", "max")


@final
class WrittenNames(dict[str, Any]):
    """A dictionary that remembers which keys were written.

    Attributes:
        in_epoch: since `epoch_began`. since_report: since `reported` or `epoch_began`.
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
        """Writes a key that is not there."""
        if key not in self:
            self[key] = default
        return self[key]


@final
class LoggedValues:
    """The values that one rank logs during one fit."""

    def __init__(self, n_ranks: int) -> None:
        self._written = WrittenNames()
        self._always: frozenset[str] | None = None
        self._validation: dict[str, _Record] = {}  # of this epoch's newest one
        self._n_samples = 0  # of the newest validation
        self._is_counting = n_ranks > 1

    def epoch_began(self, trainer: Any) -> None:
        """A training epoch begins: what was logged before does not count in it."""
        logged = trainer.callback_metrics  # reading it takes in what was logged in `on_train_start`
        if self._always is None:
            self._always = frozenset(logged)
        if logged is not self._written:
            self._written = WrittenNames(logged)
            internals.replace_callback_metrics(trainer, self._written)
        self._validation = {}
        self._written.in_epoch.clear()
        self._written.since_report.clear()

    def validation_began(self) -> None:
        """A validation begins."""
        self._n_samples = 0

    def validated_batch(self, trainer: Any, batch: Any) -> None:
        """Counts a validation batch; one of unknown size counts as one sample."""
        if self._is_counting:
            size = 1
            with contextlib.suppress(Exception):  # users' batches may be anything
                size = internals.batch_size(trainer, batch)
            self._n_samples += size

    def validation_ended(self, trainer: Any) -> None:
        """A validation ends, and Lightning is about to forget how its values were made."""
        self._validation = _records(internals.validation_results(trainer))

    @property
    def validated(self) -> frozenset[str]:
        """The names that the newest validation of this epoch has logged."""
        return frozenset(self._validation)

    def reported(self) -> None:
        """What was logged up to now is reported."""
        self._written.since_report.clear()

    def ended(self, trainer: Any) -> None:
        """The fit is over: what it logged is a plain dictionary again."""
        internals.replace_callback_metrics(trainer, dict(trainer.callback_metrics))

    def now(self, trainer: Any, wanted: tuple[str, ...], *, since_report: bool = False) -> Logged:
        """Returns what counts now: what was logged in this epoch, or only what was logged since the last report.

        All ranks must call it: reading a metric with `sync_dist=True` is what combines it.
        """
        logged = dict(trainer.callback_metrics)
        written = self._written.since_report if since_report else self._written.in_epoch
        names = frozenset(logged) & (written | (self._always or frozenset()))
        numbers = {name: _number(logged[name]) for name in names}
        records = {**self._validation, **_records(internals.training_results(trainer))}
        return Logged(
            shares={
                name: self._share(value, records.get(name))
                for name in wanted
                if (value := numbers.get(name)) is not None
            },
            names=frozenset(name for name, value in numbers.items() if value is not None),
            older=frozenset(logged) - names,
            unusable={name: _described(logged[name]) for name in wanted if name in names and numbers[name] is None},
        )

    def _share(self, value: float, record: _Record | None) -> Share:
        """Returns a value with what Lightning knows of it; without a record it knows nothing."""
        if record is None:
            return Share(value, self._n_samples)
        weight = self._n_samples if record.weight is None else record.weight
        return Share(value, weight, record.reduce, record.is_combined)


@dataclass(frozen=True, slots=True)
class _Record:
    """How Lightning made one value; `weight` is None for a value that was logged once, at the end of an epoch."""

    weight: float | None
    reduce: str
    is_combined: bool


def _records(results: Iterable[tuple[str, Any]]) -> dict[str, _Record]:
    """Returns name -> how its value was made, from Lightning's own records."""
    records = {}
    for name, result in results:
        meta = result.meta
        reduce = getattr(meta.reduce_fx, "__name__", "mean")
        # a value of each step is weighted by batch sizes already; one of an epoch's end stands for all of its samples
        is_of_steps = "_step" in meta.fx or "_batch_" in meta.fx
        records[name] = _Record(
            weight=float(getattr(result, "cumulated_batch_size", 1)) if is_of_steps else None,
            reduce=reduce if reduce in _REDUCTIONS else "mean",
            is_combined=not result.is_tensor or (meta.sync.should and not meta.sync.rank_zero_only),
        )
    return records


def _number(value: Any) -> float | None:
    """Returns a single number; True and False are 1 and 0, as `self.log` takes them."""
    is_bool = isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")
    return as_number(value + 0 if is_bool else value)


def _described(value: Any) -> str:
    """Returns what stands where a number should."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
