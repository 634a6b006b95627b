"""The limits and options of a run: one table for `Study.run`, study files, the Hydra node, commands and docs.

Each entry is the only place where a limit or an option is spelled. A new limit also needs a rule in `core`, and the
field of `core.spec.Limits` that the rule reads.
"""

# annotations are evaluated, because they hold the settings
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from lightning_hwtune.forms.containers import list_of_callables, list_of_names
from lightning_hwtune.forms.kinds import Form, Refused, flag, integer, number, one_of, optional, or_auto
from lightning_hwtune.forms.quantities import DURATION
from lightning_hwtune.forms.settings import Setting, settings_of

if TYPE_CHECKING:
    from lightning_hwtune.core.events import Event
    from lightning_hwtune.engine.executor import Cluster, Executor

__all__ = [
    "ASK_OPTIONS",
    "LIMITS",
    "REPLICATE_OPTIONS",
    "RUN_OPTIONS",
    "AskOptions",
    "ReplicateOptions",
    "RunLimits",
    "RunOptions",
    "stalled_after",
]

_EXECUTOR_METHODS = (("start", "wait", "end", "close"), ("check_here", "for_run"))  # an executor, a cluster


def _executor(value: Any) -> Any:
    if isinstance(value, str):
        if ":" in value or "." in value:
            return value  # an import path, which is resolved when the study runs
        from importlib.metadata import entry_points  # here, because it would double the time of this module's import

        installed = entry_points(group="hwtune.executors")
        return one_of("local", "inline", "agents", "ray", "slurm", *(entry.name for entry in installed)).accept(value)
    if isinstance(value, Mapping):
        return {**value, "name": _executor(value.get("name"))}
    if not any(all(callable(getattr(type(value), name, None)) for name in names) for names in _EXECUTOR_METHODS):
        raise Refused
    return value


_STALLED = re.compile(r"stalled(?::(\d{1,9})(?:,(\d*\.?\d+(?:e-?\d+)?))?)?")
_STALLED_TRIALS, _STALLED_SHARE = 30, 0.01


def stalled_after(text: str) -> tuple[int, float]:
    """Returns the number of trials and the share of growth that `stop_when` describes."""
    found = _STALLED.fullmatch(text)
    if found is None:
        raise Refused(word=text.partition(":")[0], names=() if text.startswith("stalled:") else ("stalled",))
    return int(found[1] or _STALLED_TRIALS), float(found[2]) if found[2] else _STALLED_SHARE


def _stop_when(value: Any) -> Any:
    if not isinstance(value, str):
        raise Refused
    n_trials, share = stalled_after(value)
    if n_trials < 1 or not share <= 1:
        raise Refused
    return value


_MaxTrials = Annotated[
    int | None,
    Setting(None, optional(integer(1)), "Maximum number of trials in total, over all runs of the study."),
]
_Finishers = Annotated[
    int | str,
    Setting(
        "auto",
        or_auto(integer(0)),
        "Number of trials that should be fully trained at the end, in addition to the first ones, which train without "
        "a pause, so that the front offers a choice. "
        '"auto": one for a single objective; for several, trials / eta rounded up, at most 4.',
    ),
]
_MaxTime = Annotated[
    float | str | None,
    Setting(
        None,
        DURATION,
        'Maximum time in total, over all runs of the study: seconds, or text such as "90s", "10min", "8h".',
    ),
]
_MaxCost = Annotated[
    float | None,
    Setting(
        None,
        optional(number(0, above=True)).but("a positive number of US dollars, or None"),
        "Maximum cost of the study in US dollars, over all its runs, including start-ups and lost work.",
    ),
]
_MaxParallel = Annotated[
    int | None,
    Setting(
        None,
        optional(integer(1)),
        "Maximum number of trials that train at the same time. None: as many as the pool has devices for.",
    ),
]
_SaveEvery = Annotated[
    int | None,
    Setting(
        None,
        optional(integer(1)).but("a positive integer, the epochs between checkpoints, or None"),
        "Epochs between checkpoints while a trial trains, so that a crash loses at most this many epochs. "
        "None: save only at pauses and at the end. It counts epochs even if the study counts steps or samples. A "
        "loop that calls `trial.report` saves with `trial.save` instead.",
    ),
]
_HangTimeout = Annotated[
    float | str | None,
    Setting(
        "auto",
        or_auto(DURATION),
        "Time without progress (no batch, no report, no checkpoint) after which a segment is ended and retried: "
        'seconds, or text such as "10min". "auto": from the first batch on, ten times the longest such time of the '
        'trial so far, but at least 30 minutes. None, "inline" and executor objects: no limit.',
    ),
]
_Executor = Annotated[
    "str | Mapping[str, Any] | Cluster | Executor",
    Setting(
        "local",
        Form(
            "text",
            "'local', 'inline', 'agents', 'ray', 'slurm', an import path, or an object: a RayCluster or an Executor",
            _executor,
        ),
        '"local": a fresh process per rank. "inline": the process that runs the study, on one device, one trial '
        'after another. "agents": nodes on which `hwtune agent` runs. "ray": nodes on which '
        "Ray starts agents; with options, `RayCluster(per_node={'a100': 1})` in Python, and {name: ray, per_node: "
        '{a100: 1}} in a study file. "slurm": the nodes of the allocation of Slurm in which the study runs. Or the '
        "name or import path of another executor, "
        'such as "my_executor:MyExecutor". In Python, also an `Executor` object. It does not get `train`, so it must '
        "know what to train.",
    ),
]
_Preload = Annotated[
    Sequence[str],
    Setting(
        (),
        list_of_names("a list of module names such as ['torchvision']"),
        "Modules to import once instead of in every segment, such as the one with the training function. They must "
        "not run tensor operations when imported.",
    ),
]
_Callbacks = Annotated[
    "Sequence[Callable[[Event], object] | str]",
    Setting(
        (),
        list_of_callables("a list of functions that take one event, or of import paths such as ['my_hooks:notify']"),
        "Functions that get every event after it is stored, each in its own thread; or their import paths, such as "
        '"my_hooks:notify". A slow or failing callback delays nothing and does not end the study.',
    ),
]
_Progress = Annotated[bool, Setting(True, flag(), "Whether to print progress.", in_file=False)]


class RunLimits(TypedDict, total=False):
    """The limits of a run."""

    max_trials: _MaxTrials
    max_time: _MaxTime
    max_cost: _MaxCost
    max_parallel: _MaxParallel
    finishers: _Finishers
    stop_when: Annotated[
        str | None,
        Setting(
            None,
            optional(
                Form(
                    "text", "'stalled', 'stalled:TRIALS' or 'stalled:TRIALS,SHARE', e.g. 'stalled:50,0.01'", _stop_when
                )
            ),
            '"stalled": begin no further trial once the front has stopped growing, that is, when its hypervolume has '
            'grown by less than 1 % over the last 30 trials. "stalled:50,0.001" sets both numbers: 50 trials, 0.1 %.',
        ),
    ]


class RunOptions(RunLimits, total=False):
    """The limits and options of `Study.run`."""

    save_every: _SaveEvery
    hang_timeout: _HangTimeout
    executor: _Executor
    check: Annotated[
        bool,
        Setting(
            True,
            flag(),
            "Whether to check the training on shortened epochs before a new study starts.",
        ),
    ]
    progress: _Progress
    preload: _Preload
    callbacks: _Callbacks


class AskOptions(TypedDict, total=False):
    """The limits and options of `Study.ask`."""

    max_trials: _MaxTrials
    finishers: _Finishers
    save_every: _SaveEvery
    progress: _Progress
    callbacks: _Callbacks


class ReplicateOptions(TypedDict, total=False):
    """The limits and options of `Study.replicate`. A limit that is not given is that of the search."""

    max_time: _MaxTime
    max_cost: _MaxCost
    max_parallel: _MaxParallel
    save_every: _SaveEvery
    hang_timeout: _HangTimeout
    executor: _Executor
    progress: _Progress
    preload: _Preload
    callbacks: _Callbacks


RUN_OPTIONS: Mapping[str, Setting] = settings_of(RunOptions)
LIMITS: Mapping[str, Setting] = settings_of(RunLimits)
ASK_OPTIONS: Mapping[str, Setting] = settings_of(AskOptions)
REPLICATE_OPTIONS: Mapping[str, Setting] = settings_of(ReplicateOptions)
