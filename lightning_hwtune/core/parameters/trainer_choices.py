"""Choices of how a Trainer trains: its strategy, its precision, and how many batches make one optimiser step.

The values are those of Lightning's Trainer, which the study passes on: `trial.fit` and `trial.trainer` need no further
code. For searchers, tables and priors they are ordinary choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, final

from lightning_hwtune.core.parameters.choices import Choice
from lightning_hwtune.core.parameters.options import Option, abbreviated
from lightning_hwtune.core.parameters.prior_value import prior_form, prior_text
from lightning_hwtune.core.parameters.when import when_form, when_text
from lightning_hwtune.errors import ArgumentError, nearest
from lightning_hwtune.forms import plain
from lightning_hwtune.forms.kinds import integer

__all__ = ["Accumulation", "Precision", "Strategy", "TrainerChoice", "on_devices"]

_LARGEST_ACCUMULATION = 1_000_000
_STRATEGIES = (
    "auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true", "fsdp", "fsdp_cpu_offload",
    "deepspeed", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_2_offload", "deepspeed_stage_3",
    "deepspeed_stage_3_offload", "deepspeed_stage_3_offload_nvme",
)  # fmt: skip
_LAUNCHERS = ("ddp_spawn", "ddp_fork", "ddp_notebook")  # also the first part of longer names
_ON_GPUS = ("fsdp", "deepspeed")  # Lightning refuses them on CPUs
_PRECISIONS = (
    "16-true", "16-mixed", "bf16-true", "bf16-mixed", "32-true", "64-true", "transformer-engine",
    "transformer-engine-float16",
)  # fmt: skip
_PRECISION_ALIASES = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true"}
_GPU_PRECISIONS = ("16-mixed", "transformer-engine", "transformer-engine-float16")  # on CPUs Lightning uses another one


class TrainerChoice(Choice):
    """A choice whose value is an argument of the Trainer. Subclasses say which argument, and which values it may have.

    Attributes:
        kind: the type in study files and in the log.
        argument: the name of the Trainer's argument.
    """

    __slots__ = ()
    kind: ClassVar[str]
    argument: ClassVar[str]

    def __init__(self, *options: Any, when: Mapping[str, Any] | None = None, prior: Option = None) -> None:
        name = type(self).__name__
        if len(options) == 1 and isinstance(options[0], Iterable) and not isinstance(options[0], str):
            raise ArgumentError(name, options[0], "the values as separate arguments", hint=f"Write {self._example()}.")
        if not options:
            raise ArgumentError(name, options, "at least one value", hint=f"Write {self._example()}.")
        found = [self._read(option) for option in options]
        if len(set(found)) < len(found):
            raise ArgumentError(name, options, "each value once")
        if prior is not None and (prior := self._read(prior)) not in found:
            raise ArgumentError(f"{name}.prior", prior, f"one of {abbreviated(tuple(found))}")
        super().__init__(found, when=when, prior=prior)
        object.__setattr__(self, "_identity", (*self._identity, self.kind))
        object.__setattr__(self, "_hash", hash(self._identity))

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self.options, self.when, self.prior)

    def __repr__(self) -> str:
        values = abbreviated(self.options)[1:-1]
        return f"{type(self).__name__}({values}{prior_text(self.prior)}{when_text(self.when)})"

    @property
    def is_order_given(self) -> bool:
        """False: the order follows from the values."""
        return False

    def check(self, name: str, value: object) -> Option:
        """Returns the value as the Trainer's argument.

        Raises:
            ArgumentError: the value is not one of the options.
        """
        return super().check(name, self._alias(plain(value)))

    def to_dict(self) -> dict[str, Any]:
        """Returns the form used in study files."""
        return {"type": self.kind, "options": list(self.options), **prior_form(self.prior), **when_form(self.when)}

    def replaced(self, when: Mapping[str, Any] | None, prior: Option) -> Choice:
        """Returns the same choice with another condition and another expected value."""
        return type(self)(*self.options, when=when, prior=prior)

    @classmethod
    def of(cls, options: object, when: Any = None, prior: Any = None) -> TrainerChoice:
        """Returns the parameter with a list of values, as in study files.

        Raises:
            ArgumentError: `options` is not a list, or a value is not allowed.
        """
        if not isinstance(options, list | tuple):
            raise ArgumentError("options", options, "a list of values")
        return cls(*options, when=when, prior=prior)

    def unusable(self, accelerator: str, device_counts: Iterable[int]) -> tuple[Option, str, str] | None:
        """Returns the first value that cannot be used, what is allowed instead, and what to do; None if all can.

        Args:
            accelerator: "cpu" or "gpu". device_counts: every number of devices that a trial may have.
        """
        return None

    @classmethod
    def _example(cls) -> str:
        raise NotImplementedError

    @classmethod
    def _alias(cls, value: Any) -> Any:
        """Returns the usual form of a value that has several forms."""
        return value

    @classmethod
    def _read(cls, value: object) -> Any:
        raise NotImplementedError


@final
class Strategy(TrainerChoice):
    """The Trainer's strategy: `Strategy("ddp", "fsdp")`.

    `"auto"` is what a study uses without this parameter: `ddp` on several devices. On one device, `ddp` is also `auto`.

    Args:
        options: names of Lightning's strategies, no two equal. Those that start processes, such as `ddp_spawn`, are
            not allowed, because the study starts one process per rank.
        when: the condition under which the parameter exists; see `Choice`. Without a value, the strategy is `auto`.
        prior: the strategy that an expert would try first.

    Examples:
        >>> hwt.Strategy("ddp", "fsdp")
        Strategy('ddp', 'fsdp')
    """

    __slots__ = ()
    kind = "strategy"
    argument = "strategy"

    def unusable(self, accelerator: str, device_counts: Iterable[int]) -> tuple[Option, str, str] | None:
        """See the base class: FSDP and DeepSpeed need GPUs, and `ddp` needs trials with several devices."""
        for option in map(str, self.options):
            if accelerator == "cpu" and option.startswith(_ON_GPUS):
                hint = "Use Pool('gpu'), or leave this strategy out."
                return option, "strategies that train on CPUs, such as 'ddp'", hint
            if max(device_counts) == 1 and option.startswith("ddp"):
                hint = "Add NumDevices(1, 2) to the space, or leave this strategy out."
                return option, "'auto', because every trial has one device", hint
        return None

    @classmethod
    def _example(cls) -> str:
        return "Strategy('ddp', 'fsdp')"

    @classmethod
    def _read(cls, value: object) -> str:
        if isinstance(value, str) and value in _STRATEGIES:
            return value
        hint = "A strategy of your own is an argument of `trial.fit` or `trial.trainer`."
        if isinstance(value, str) and value.startswith(_LAUNCHERS):
            hint = "The study starts one process per rank: use 'ddp'."
        raise ArgumentError("Strategy", value, f"{', '.join(_STRATEGIES)}{nearest(str(value), _STRATEGIES)}", hint=hint)


@final
class Precision(TrainerChoice):
    """The Trainer's precision: `Precision("32-true", "bf16-mixed")`.

    Args:
        options: Lightning's names of precisions, no two equal; 16, 32, 64 and "bf16" are also allowed.
        when: the condition under which the parameter exists; see `Choice`. Without a value, the precision is that of
            the training function.
        prior: the precision that an expert would try first.

    Examples:
        >>> hwt.Precision(32, "bf16-mixed")
        Precision('32-true', 'bf16-mixed')
    """

    __slots__ = ()
    kind = "precision"
    argument = "precision"

    def unusable(self, accelerator: str, device_counts: Iterable[int]) -> tuple[Option, str, str] | None:
        """See the base class: Lightning trains with another precision if the CPU lacks the one that was asked for."""
        found = next((option for option in self.options if accelerator == "cpu" and option in _GPU_PRECISIONS), None)
        return None if found is None else (found, "precisions of CPUs, such as 'bf16-mixed'", "Use Pool('gpu').")

    @classmethod
    def _example(cls) -> str:
        return "Precision('32-true', 'bf16-mixed')"

    @classmethod
    def _alias(cls, value: Any) -> Any:
        return value if isinstance(value, bool) else _PRECISION_ALIASES.get(str(value), value)

    @classmethod
    def _read(cls, value: object) -> str:
        found = cls._alias(plain(value))
        if isinstance(found, str) and found in _PRECISIONS:
            return found
        raise ArgumentError("Precision", value, f"{', '.join(_PRECISIONS)}{nearest(str(value), _PRECISIONS)}")


@final
class Accumulation(TrainerChoice):
    """How many batches make one optimiser step, the Trainer's `accumulate_grad_batches`: `Accumulation(1, 2, 4)`.

    A global batch stays as large as it is: `trial.per_device_batch_size` divides it by the devices and by this number.
    So accumulation changes the memory and the time of a training, and not its optimisation.

    Args:
        options: positive integers, no two equal, kept in ascending order.
        when: the condition under which the parameter exists; see `Choice`. Without a value, nothing is accumulated.
        prior: the number that an expert would try first.

    Examples:
        >>> hwt.Accumulation(4, 1, 2)
        Accumulation(1, 2, 4)
    """

    __slots__ = ()
    kind = "accumulation"
    argument = "accumulate_grad_batches"

    @classmethod
    def _example(cls) -> str:
        return "Accumulation(1, 2, 4)"

    @classmethod
    def _read(cls, value: object) -> int:
        found: int = _COUNT.read("Accumulation", value)
        return found


_COUNT = integer(1, _LARGEST_ACCUMULATION)


def on_devices(strategy: str, n_devices: int) -> str:
    """Returns the strategy that a segment uses: `ddp` trains on several devices only."""
    if strategy.startswith("ddp") and n_devices == 1:
        return "auto"
    return "ddp" if strategy == "auto" and n_devices > 1 else strategy


def _made(
    cls: type[TrainerChoice], options: tuple[Any, ...], when: Mapping[str, Any] | None, prior: Option
) -> TrainerChoice:
    return cls(*options, when=when, prior=prior)
