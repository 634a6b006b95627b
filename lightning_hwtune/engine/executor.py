"""The interface between the loop and whatever trains segments: this process, local processes or a simulation.

The loop calls `start`, then `wait` repeatedly. During `wait` the executor reports to the sink what has happened. An
executor makes no decisions: it carries out orders and reports facts. `Abilities` says what it can do, so a run never
asks which executor it has.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, final, runtime_checkable

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.provider import Provider
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class
from lightning_hwtune.training.channel import Ended, Note, Report, Saved, SegmentOrder, VerdictMessage

__all__ = [
    "Abilities",
    "Cluster",
    "Executor",
    "RunSetup",
    "Sink",
    "abilities_of",
    "await_imports",
    "pids_of",
    "preload_in",
    "provider_of",
    "slow_libraries",
]

_WORTH_S = 0.02  # a library that takes less is imported by each segment


@final
@checked_class()
@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What an executor can do: its class attribute `abilities`. Without one, an executor has the defaults.

    Attributes:
        trains_here: whether segments train in the process of the study, which can train only one at a time.
        starts_processes: whether segments train in child processes. The property `pids` then has their process ids.
        max_devices: the largest number of devices of one segment; None: any number.
        max_segments: how many segments train at the same time; None: as many as the pool has devices for.
        can_check: whether it can train the segments of the check before a study. They are ordinary segments with
            `probe_batches`. They must not change the process that the user works in, and `end` must end them.
        limits_hangs: whether it ends segments that make no progress, as the option `hang_timeout` asks for.
        needs_payload: whether it needs the training function as a file; see `RunSetup.payload`.
        provides_nodes: whether it trains on nodes that join and leave, instead of on this host. It then has the
            attribute `provider`, an `engine.provider.Provider`, and each order names its nodes.
        uses_fork_server: whether its segments start from the fork server, which then starts before anything else. Such
            an executor has the method `preload`, which makes the server import modules that each segment would import.

    Raises:
        ArgumentError: a value is not allowed.

    Examples:
        >>> hwt.Abilities(can_check=True, max_segments=4).max_devices is None
        True
    """

    trains_here: bool = True
    starts_processes: bool = False
    max_devices: int | None = None
    max_segments: int | None = None
    can_check: bool = False
    limits_hangs: bool = False
    needs_payload: bool = False
    provides_nodes: bool = False
    uses_fork_server: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunSetup:
    """What is known when a run creates its executor.

    Attributes:
        train: the training function.
        pool: the devices of the study.
        n_ranks: the largest number of ranks that train at the same time.
        payload: the file with the cloudpickled training function; None unless the executor needs one.
        folder: the study's folder; None if it has none.
        preload, hang_timeout: the options of the run; see `Study.run`.
        say: prints a line for the user.
    """

    train: Callable[[Any], Any]
    pool: Pool
    n_ranks: int
    payload: Path | None = None
    folder: Path | None = None
    preload: tuple[str, ...] = ()
    hang_timeout: float | str | None = None
    say: Callable[[str], None] = print


class Sink(Protocol):
    """Receives the messages of an executor. All calls come from the thread that called `wait`."""

    def reported(self, trial_id: int, segment: int, report: Report) -> VerdictMessage:
        """A report arrived; returns the answer. The report is in the log before this method returns."""

    def saved(self, trial_id: int, segment: int, saved: Saved) -> None:
        """A checkpoint is complete."""

    def noted(self, trial_id: int, segment: int, note: Note) -> None:
        """A line for the user arrived."""

    def ended(self, trial_id: int, segment: int, ended: Ended, world_size: int) -> None:
        """The segment is over and its devices are free. `outcome` may also be LOST or INTERRUPTED here."""


@runtime_checkable
class Executor(Protocol):
    """Trains segments.

    A third-party executor is a class with these four methods. Its constructor takes the training function and the
    study's `Pool`. A class that needs more has a class method `for_run`, which takes a `RunSetup` and returns the
    executor. The class attribute `abilities` says what it can do beyond the defaults of `Abilities`.
    `Study.run(executor=...)` takes its import path, or the name of its entry point in the group "hwtune.executors". The
    log does not store the executor, so each run may use a different one.

    Examples:
        >>> class Idle:
        ...     abilities = hwt.Abilities(max_devices=1)
        ...     def start(self, order): ...
        ...     def wait(self, sink, timeout_s): ...
        ...     def end(self, trial_id, outcome, why): ...
        ...     def close(self): ...
        >>> isinstance(Idle(), hwt.Executor)
        True
    """

    def start(self, order: SegmentOrder) -> None:
        """Begins a segment on the order's slots."""

    def wait(self, sink: Sink, timeout_s: float) -> None:
        """Delivers messages to the sink; returns after a message, or when the timeout is over."""

    def end(self, trial_id: int, outcome: Outcome, why: str) -> None:
        """Ends a segment at once, also one that has not begun; `sink.ended` follows from `wait` with this outcome.

        An executor that cannot end a running segment lets it train to its end. `sink.ended` then has the outcome of the
        training.
        """

    def close(self) -> None:
        """Ends all segments and joins all processes. Idempotent."""


@runtime_checkable
class Cluster(Protocol):
    """Makes the executor of a run from its own options: what `Executor.for_run` does, as an object."""

    abilities: ClassVar[Abilities]

    def check_here(self, pool: Pool) -> None:
        """Refuses what cannot work, before anything of a run is written."""

    def for_run(self, setup: RunSetup) -> Executor:
        """Returns the executor of a run."""


def abilities_of(executor: object) -> Abilities:
    """Returns the abilities of an executor or of its class.

    Raises:
        ArgumentError: its attribute `abilities` is something else.
    """
    abilities = inspect.getattr_static(executor, "abilities", Abilities())  # not those of an executor that it wraps
    if not isinstance(abilities, Abilities):
        name = (executor if isinstance(executor, type) else type(executor)).__qualname__
        allowed = "a class attribute such as Abilities(can_check=True)"
        raise ArgumentError(f"{name}.abilities", abilities, allowed)
    return abilities


def provider_of(executor: Executor) -> Provider | None:
    """Returns what provides the nodes of an executor; None if it trains on this host."""
    return getattr(executor, "provider", None) if abilities_of(executor).provides_nodes else None


def pids_of(executor: Executor) -> list[int]:
    """Returns the process ids of an executor's ranks; none if it starts no processes."""
    return list(getattr(executor, "pids", ())) if abilities_of(executor).starts_processes else []


def slow_libraries(times: Mapping[str, float]) -> dict[str, float]:
    """Returns the libraries that are slow enough to be imported by a fork server, from the seconds of each."""
    return {name: seconds for name, seconds in times.items() if seconds >= _WORTH_S}


def preload_in(executor: Executor, libraries: Sequence[str]) -> None:
    """Makes the fork servers of an executor import libraries, if it uses one here or on its nodes."""
    preload: Callable[[Sequence[str]], None] | None = getattr(executor, "preload", None)
    abilities = abilities_of(executor)
    if preload is not None and (abilities.uses_fork_server or abilities.provides_nodes):
        preload(libraries)


def await_imports(executor: Executor, tick: Callable[[], None]) -> None:
    """Waits until the fork server of an executor, if it uses one, has imported what its first ranks need."""
    wait: Callable[[Callable[[], None]], None] | None = getattr(executor, "await_imports", None)
    if wait is not None and abilities_of(executor).uses_fork_server:
        wait(tick)
