"""`hwtune replay`: simulates a study on a learning-curve table with a virtual clock, once per seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightning_hwtune.cli.output import Format, rows_frame, write
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.names import refuse_unknown

if TYPE_CHECKING:
    from rich.console import Console

    from lightning_hwtune.core.objectives import Objectives
    from lightning_hwtune.core.schedulers import Scheduler
    from lightning_hwtune.core.searchers import Searcher
    from lightning_hwtune.simulation.accounting import Replay, Yardstick
    from lightning_hwtune.simulation.tables import Table

__all__ = ["part", "replay"]

_ACCOUNTING = (
    "partial: every report counts. full: only configurations that were trained to the end count. Losses are scaled to "
    "[0, 1] by the smallest and the largest value in the task's table over all resources; seconds and US dollars are "
    "scaled in their logarithm. The reference point is 1 in every objective. Each figure is a fraction of the "
    "hypervolume of the table's own front (partial: at all resources; full: at the last one). Every second of every "
    "segment is paid."
)
_DIGITS = 6
# the command sets the others
_PRIOR_OPTIONS = ("resource", "uniform", "batch", "candidates", "guarded", "gaussian", "evidence")
_MAX_WORKERS = 8192  # maximum number of devices in a pool
_MAX_TRIALS, _MAX_SEEDS = 1_000_000, 10_000  # more would take days


def replay(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A folder, or the name of a table in HWTUNE_DATA.")],
    task: Annotated[str, typer.Option("--task", help="A task of the table.", show_default=False)],
    scheduler: Annotated[
        str,
        typer.Option(
            "--scheduler", help="NAME or NAME:KEY=VALUE,...; by default, trials train to the end of the table."
        ),
    ] = "asha",
    searcher: Annotated[
        str,
        typer.Option("--searcher", help="NAME or NAME:KEY=VALUE,...; `table` draws each of its configurations once."),
    ] = "table",
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=_MAX_WORKERS, help="Number of segments that train at the same time.")
    ] = 4,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            min=1,
            max=_MAX_TRIALS,
            help="Number of trials; default: one per configuration of the table.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=_MAX_SEEDS, help="Number of studies, with the seeds 0, 1, ...")
    ] = 1,
    prior_tasks: Annotated[
        str | None,
        typer.Option(
            "--prior-tasks",
            help="TASK,... of the table; a prior learned from these tasks draws the configurations.",
            show_default=False,
        ),
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option("--objectives", help="NAME,... of the study's objectives; default: all.", show_default=False),
    ] = None,
    at_most: Annotated[
        str | None,
        typer.Option("--at-most", help="NAME=NUMBER,... upper bounds on metrics of the table.", show_default=False),
    ] = None,
    at_least: Annotated[
        str | None,
        typer.Option("--at-least", help="NAME=NUMBER,... lower bounds on metrics of the table.", show_default=False),
    ] = None,
    start_s: Annotated[float, typer.Option("--start-s", help="Seconds to start a segment.")] = 0.0,
    restore_s: Annotated[
        float, typer.Option("--restore-s", help="Additional seconds to start from a checkpoint.")
    ] = 0.0,
    mean_failure_s: Annotated[
        float | None,
        typer.Option(
            "--mean-failure-s",
            help="Mean seconds between two failures of a device; default: no failures.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
) -> None:
    """Simulate studies on a table of learning curves, and measure what they find, when, and at what cost."""
    from lightning_hwtune.core.hardware.pool import Pool
    from lightning_hwtune.core.spec import Limits, StudySpec
    from lightning_hwtune.simulation.accounting import Yardstick, replay_study
    from lightning_hwtune.simulation.executor import Failures
    from lightning_hwtune.simulation.tables import Table

    data = Table.load(Path(table))
    curves, chosen = data.curves(task), data.chosen(None if objectives is None else objectives.split(","))
    chosen = data.bounded(chosen, _bounds("--at-most", at_most), _bounds("--at-least", at_least))
    yardstick = Yardstick.of(data.objectives, curves.losses)
    failures = None if mean_failure_s is None else Failures(mean_failure_s)
    found: list[Replay] = []
    for seed in range(seeds):
        spec = StudySpec(
            name=f"{data.name}-{task}",
            space=data.space,
            objectives=chosen,
            scheduler=_scheduler(scheduler, data),
            searcher=_searcher(searcher, data)
            if prior_tasks is None
            else _prior(prior_tasks, task, searcher, data, chosen),
            pool=Pool("cpu", workers),
            seed=seed,
        )
        limits = Limits(max_trials=trials or len(data.configs))
        options: dict[str, Any] = {"start_s": start_s, "restore_s": restore_s, "failures": failures}
        found.append(replay_study(spec, curves, limits, yardstick, **options))
    rows = [_row(item) for item in found]
    settings = {
        "table": data.name, "source": data.source, "licence": data.licence, "task": task, "unit": data.unit,
        "objectives": list(chosen.names), **_bounds_keys(chosen),
        "scheduler": found[0].state.spec.scheduler.settings(),
        "searcher": searcher if prior_tasks is None else f"prior from {prior_tasks}",
        "workers": workers, "trials": limits.max_trials, "start_s": start_s, "restore_s": restore_s,
    }  # fmt: skip
    write(
        form,
        table=lambda out: _print(out, rows),
        data=lambda: _document(settings, yardstick, found),
        frame=lambda: rows_frame(rows),
    )


def _bounds(option: str, text: str | None) -> dict[str, float]:
    """Returns the bounds in text such as "error=0.1,usd=2"."""
    found: dict[str, float] = {}
    for item in text.split(",") if text is not None else ():
        name, _, number = item.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise ArgumentError(option, item, "NAME=NUMBER, such as error=0.1") from None
    return found


def _bounds_keys(objectives: Objectives) -> dict[str, Any]:
    """Returns the bounds for the document of a constrained study."""
    bounds = {name: {"at_most": most, "at_least": least} for name, most, least in objectives.bounds}
    return {"bounds": bounds} if bounds else {}


def part(text: str) -> tuple[str, dict[str, Any]]:
    """Returns the name and options in text such as "asha:eta=4,within=crowding"; values are read as YAML.

    Raises:
        ArgumentError: an option has no value or one that is not YAML, or is given twice.
    """
    import yaml

    name, _, rest = text.partition(":")
    pairs = [item.partition("=") for item in rest.split(",") if item]
    known = {"name"}
    for key, equals, _ in pairs:
        if not equals:
            raise ArgumentError("option", key, "key=value", hint=f"In {text!r}.")
        if key in known:
            raise ArgumentError(
                "option",
                text,
                f"each option once; {key!r} is repeated",
                hint="Write the name before the colon: NAME:KEY=VALUE,...",
            )
        known.add(key)
    try:
        return name, {key: yaml.safe_load(value) for key, _, value in pairs}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ArgumentError(
            "option", text, "NAME:KEY=VALUE,... with plain values", hint=" ".join(str(error).split())[:200]
        ) from error


def _scheduler(text: str, table: Table) -> Scheduler:
    from lightning_hwtune.core.schedulers import SCHEDULERS, scheduler_from_settings

    name, options = part(text)
    for key in ("max_steps", "max_samples"):
        if key in options:
            allowed = f"max_epochs, from 1 to {table.max_resource}; it counts the unit of the table ({table.unit})"
            raise ArgumentError(f"scheduler: {key}", options[key], allowed, hint="Leave it out to train to the end.")
    short = name.replace("-", "_")
    given = {"name": short if short in SCHEDULERS else name, "max_epochs": table.max_resource, **options}
    return scheduler_from_settings(given)


def _searcher(text: str, table: Table) -> Searcher:
    from lightning_hwtune.core.searchers import Listed
    from lightning_hwtune.settings.study_parts import FILE_SEARCHERS

    name, options = part(text)
    if name == "table":
        refuse_unknown(name, options)
        return Listed(table.configs)
    FILE_SEARCHERS.find(name, further=("table",))
    return FILE_SEARCHERS.rebuilt({"name": name, **options})


def _prior(prior_tasks: str, task: str, searcher: str, table: Table, chosen: Objectives) -> Searcher:
    """Returns a prior over the table's configurations, learned on other tasks."""
    from lightning_hwtune.core.searchers import ParetoPrior

    name, options = part(searcher)
    tasks = prior_tasks.split(",")
    if name not in ("table", ParetoPrior.name):
        raise ArgumentError("searcher", searcher, "table or prior, since --prior-tasks is given")
    known = _PRIOR_OPTIONS if name == ParetoPrior.name else ()
    refuse_unknown(name, [key for key in options if key not in known], known)
    if task in tasks:
        raise ArgumentError("--prior-tasks", prior_tasks, f"tasks other than {task}, which is simulated")
    return ParetoPrior.from_table(table, tasks, objectives=chosen.names, configs=table.configs, **options)


def _document(settings: Mapping[str, Any], yardstick: Yardstick, found: Sequence[Replay]) -> dict[str, Any]:
    """Returns all results as plain data."""
    reference = {
        "low": dict(zip(yardstick.objectives.names, yardstick.low.tolist(), strict=True)),
        "high": dict(zip(yardstick.objectives.names, yardstick.high.tolist(), strict=True)),
        "in_logarithm": [o.name for o, is_log in zip(yardstick.objectives, yardstick.log_mask, strict=True) if is_log],
        "hypervolume": {"partial": yardstick.partial, "full": yardstick.full},
        "accounting": _ACCOUNTING,
    }
    return {"settings": settings, "reference": reference, "seeds": [_seed(item) for item in found]}


def _seed(found: Replay) -> dict[str, Any]:
    state = found.state
    return {
        "seed": state.spec.seed,
        "ended": state.closed.reason if state.closed else "",
        "hypervolume": _steps(found),
        "front": [_front_point(found, index) for index in found.front.tolist()],
        "spent": _spent(found),
        "decisions_per_s": round(found.decisions_per_s),
    }


def _steps(found: Replay) -> list[dict[str, float]]:
    """Returns the reports at which a hypervolume rose."""
    rows = zip(found.at_s.tolist(), found.usd.tolist(), found.partial.tolist(), found.full.tolist(), strict=True)
    steps, last = [], (0.0, 0.0)
    for at_s, usd, partial, full in rows:
        if (partial, full) != last:
            steps.append({"at_s": at_s, "usd": usd, "partial": round(partial, _DIGITS), "full": round(full, _DIGITS)})
            last = (partial, full)
    return steps


def _front_point(found: Replay, index: int) -> dict[str, Any]:
    trial = found.state.trials[int(found.trial_ids[index])]
    return {"trial": trial.trial_id, "config": dict(trial.config), "losses": found.losses[index].tolist()}


def _spent(found: Replay) -> dict[str, float]:
    """Returns the study's totals: resource trained (including repeated work), virtual time, device time, cost."""
    segments = found.state.segments
    return {
        "resource": sum(segment.epochs for segment in segments),
        "trials": len(found.state.trials),
        "full_trainings": found.state.n_full,
        **({"feasible": found.state.n_feasible} if found.state.spec.objectives.is_constrained else {}),
        "virtual_s": found.state.last_at,
        "device_s": math.fsum(segment.wall_s * segment.num_devices for segment in segments),
        "usd": float(found.usd[-1]) if len(found.usd) else 0.0,
    }


def _row(found: Replay) -> dict[str, Any]:
    return {
        "seed": found.state.spec.seed,
        "partial": float(found.partial[-1]) if len(found.partial) else 0.0,
        "full": float(found.full[-1]) if len(found.full) else 0.0,
        "at_95_s": found.first(0.95),
        "at_95_usd": found.first(0.95, by="usd"),
        "front": len(found.front),
        **_spent(found),
        "decisions_per_s": round(found.decisions_per_s),
    }


def _print(out: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    from lightning_hwtune.views.terminal import print_frame

    title = "Hypervolume as a fraction of that of the table's front; at_95: when partial reached 0.95"
    print_frame(out, rows_frame(rows), title)
    out.print(_ACCOUNTING, markup=False, soft_wrap=True, style="dim")
