"""`hwtune plan`: predicts time and cost of a study for each allocation of devices, and marks the best one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightning_hwtune.cli.arguments import Overrides, check_overrides, import_from_here
from lightning_hwtune.cli.output import Format, rows_frame, write
from lightning_hwtune.cli.replay import part
from lightning_hwtune.errors import ArgumentError

if TYPE_CHECKING:
    from rich.console import Console

    from lightning_hwtune.core.hardware.pool import Pool
    from lightning_hwtune.core.schedulers import Scheduler
    from lightning_hwtune.planning.comparison import Comparison, Option
    from lightning_hwtune.planning.nodes import NodeKind

__all__ = ["plan"]

_SPEEDS = "NUMBER=SPEED,... such as 1=1,2=1.9,4=3.4; 1/2=0.55 if two trials share a device"


def plan(
    study_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="STUDY.yaml",
            exists=True,
            dir_okay=False,
            help="A study file: its scheduler, trials, pool, max_time and max_cost are the defaults.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    unit_s: Annotated[
        float | None, typer.Option("--unit-s", help="Seconds of one epoch on one device.", show_default=False)
    ] = None,
    speeds: Annotated[
        str, typer.Option("--speeds", metavar="NUMBER=SPEED,...", help="Speed of a trial by its number of devices.")
    ] = "1=1",
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", help="NAME:KEY=VALUE,... such as asha:max_epochs=27.", show_default=False),
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Number of trials.", show_default=False)] = None,
    start_s: Annotated[float, typer.Option("--start-s", help="Seconds to start a segment.")] = 0.0,
    variation: Annotated[
        float, typer.Option("--variation", help="Trials take from 1 / variation to variation times the usual time.")
    ] = 1.5,
    deadline: Annotated[
        str | None, typer.Option("--deadline", help="Longest time, such as 8h or 1h30min.", show_default=False)
    ] = None,
    budget: Annotated[float | None, typer.Option("--budget", help="Largest cost in USD.", show_default=False)] = None,
    devices: Annotated[
        int | None, typer.Option("--devices", min=1, help="Devices of a fixed pool.", show_default=False)
    ] = None,
    usd_per_device_hour: Annotated[
        float | None, typer.Option("--usd-per-device-hour", help="Price of a device of the pool.", show_default=False)
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option("--instance", help="Type of rented nodes, as in `hwtune instances`.", show_default=False),
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Most nodes at a time.")] = 8,
    launch_s: Annotated[float, typer.Option("--launch-s", help="Seconds to launch a node.")] = 120.0,
    spot: Annotated[bool, typer.Option("--spot", help="Rent spot nodes.")] = False,
    catalogue: Annotated[
        Path | None,
        typer.Option("--catalogue", help="A CSV or TOML file with your own instance types.", show_default=False),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
) -> None:
    """Compare allocations of devices before a study: predicted time and cost of each, the best one marked.

    A fixed pool (--devices, or that of the study file) is simulated with each number of devices per trial. Rented nodes
    (--instance) are planned as a cluster of fixed size, and as one that changes from stage to stage.
    """
    from lightning_hwtune.core.hardware.pool import Pool
    from lightning_hwtune.forms import parse_duration
    from lightning_hwtune.planning.advisor import PoolStudy, advise
    from lightning_hwtune.planning.comparison import Comparison, Wish, expected_stages, pool_options, rented_options
    from lightning_hwtune.planning.job import Job
    from lightning_hwtune.planning.rubberband import cost_of_one

    of_file = _of_file(study_file, overrides) if study_file is not None else {}
    given = _needed("--scheduler", _scheduler(scheduler) or of_file.get("scheduler"), "e.g. asha:max_epochs=27")
    n_trials = _needed("--trials", trials or of_file.get("trials"), "a positive integer")
    seconds = _needed("--unit-s", unit_s, "the seconds of one epoch on one device")
    wish = Wish(
        parse_duration("--deadline", deadline) or of_file.get("deadline_s") or math.inf,
        _budget(budget, of_file.get("budget_usd")),
    )
    pool: Pool | None = Pool("cpu", devices, usd_per_device_hour) if devices else of_file.get("pool")
    if pool is None and instance is None:
        raise ArgumentError("--devices", None, "the devices of a pool, or --instance, the type of rented nodes")
    by_number, options, notes, alone_usd = _speeds(speeds), [], [], None
    if pool is not None:
        study = PoolStudy(given, n_trials, pool.size, seconds, start_s, variation=variation)
        options += pool_options(advise(study, by_number).predictions, pool)
    if instance is not None:
        closed = _with_ladder(given, n_trials)
        complete = {int(number): speed for number, speed in by_number.items() if "/" not in number}
        job = Job(expected_stages(closed, n_trials), seconds, complete, start_s)
        kind = _kind(instance, catalogue, most, launch_s, spot=spot)
        options, alone_usd = options + rented_options(job, kind, wish), cost_of_one(job, kind)
        notes += [f"{n} devices per trial are not faster than fewer, so no plan uses them" for n in job.useless]
    if wish.budget_usd < math.inf and all(option.usd is None for option in options):
        hint = "Add --usd-per-device-hour."
        raise ArgumentError("--budget", wish.budget_usd, "a budget only with a price", hint=hint)
    found = Comparison(wish, options, alone_usd)
    write(
        form,
        table=lambda out: _print(out, found, notes),
        data=lambda: _document(found, notes),
        frame=lambda: rows_frame(_rows(found)),
    )
    if found.relaxed:
        typer.echo(f"hwtune: no plan is within the limits. {found.relaxed}", err=True)
        raise typer.Exit(1)


def _of_file(path: Path, overrides: Sequence[str] | None) -> dict[str, Any]:
    """Returns what a study file gives: scheduler, trials, pool and limits."""
    from lightning_hwtune.names.spelling import spell_by
    from lightning_hwtune.settings import StudySettings
    from lightning_hwtune.settings.spelling import FILE_SPELLING

    spell_by(FILE_SPELLING)
    changes = check_overrides(overrides)
    import_from_here()
    settings = StudySettings.load(path, changes)
    spec = settings.spec()
    limits = settings.limits().resolved(spec)
    return {
        "scheduler": spec.scheduler,
        "trials": limits.max_trials,
        "pool": spec.pool,
        "deadline_s": limits.max_time_s,
        "budget_usd": limits.max_cost_usd,
    }


def _needed(option: str, value: Any, allowed: str) -> Any:
    if value is None:
        raise ArgumentError(option, None, allowed)
    return value


def _budget(given: float | None, of_file: float | None) -> float:
    from lightning_hwtune.forms.run_options import LIMITS

    if given is not None:
        found: float = LIMITS["max_cost"].form.read("--budget", given)
        return found
    return math.inf if of_file is None else of_file


def _scheduler(text: str | None) -> Scheduler | None:
    from lightning_hwtune.core.schedulers import SCHEDULERS, scheduler_from_settings

    if text is None:
        return None
    name, options = part(text)
    short = name.replace("-", "_")
    return scheduler_from_settings({"name": short if short in SCHEDULERS else name, **options})


def _with_ladder(scheduler: Scheduler, trials: int) -> Scheduler:
    """Returns the scheduler with the ladder that a study of so many trials chooses, if its user left it open."""
    from lightning_hwtune.core.spec import Limits
    from lightning_hwtune.planning.advisor import planned_spec
    from lightning_hwtune.views.ladder import ladder_of

    return ladder_of(planned_spec(scheduler), Limits(max_trials=trials)).spec.scheduler


def _speeds(text: str) -> dict[str, float]:
    """Returns the speeds in text such as "1=1,2=1.9,1/2=0.55"."""
    found: dict[str, float] = {}
    for item in text.split(","):
        number, equals, speed = (word.strip() for word in item.partition("="))
        try:
            value = float(speed)
        except ValueError:
            raise ArgumentError("--speeds", item, _SPEEDS) from None
        if not equals or number in found:
            raise ArgumentError("--speeds", text, f"{_SPEEDS}, each number once")
        found[number] = value
    return found


def _kind(instance: str, catalogue: Path | None, most: int, launch_s: float, *, spot: bool) -> NodeKind:
    from lightning_hwtune.core.hardware.catalogue import Catalogue
    from lightning_hwtune.planning.nodes import NodeKind
    from lightning_hwtune.settings.catalogue_file import read_catalogue

    known = Catalogue.builtin() if catalogue is None else read_catalogue(catalogue)
    return NodeKind.of(known[instance], most=most, launch_s=launch_s, spot=spot)


def _rows(found: Comparison) -> list[dict[str, Any]]:
    chosen = found.chosen
    return [
        {key: value for key, value in option.to_dict().items() if key != "stages"}
        | {"within_limits": found.wish.meets(option), "chosen": option is chosen}
        for option in found.shown
    ]


def _document(found: Comparison, notes: Sequence[str]) -> Mapping[str, Any]:
    wish, chosen = found.wish, found.chosen
    return {
        "deadline_s": None if wish.deadline_s == math.inf else wish.deadline_s,
        "budget_usd": None if wish.budget_usd == math.inf else wish.budget_usd,
        "plans": [
            {**option.to_dict(), "within_limits": wish.meets(option), "chosen": option is chosen}
            for option in found.shown
        ],
        "chosen": None if chosen is None else chosen.to_dict(),
        "relaxed": found.relaxed,
        "notes": list(notes),
    }


def _print(out: Console, found: Comparison, notes: Sequence[str]) -> None:
    from lightning_hwtune.views.terminal import print_frame

    chosen = found.chosen
    print_frame(out, rows_frame([_row(found, option, chosen) for option in found.shown]), "predicted")
    if chosen is not None and chosen.nodes:
        out.print("stages of the chosen plan:", markup=False)
        print_frame(out, rows_frame([_stage_row(stage) for stage in chosen.to_dict()["stages"]]))
    for note in notes:
        out.print(f"note: {note}", markup=False, soft_wrap=True)


def _stage_row(stage: Mapping[str, Any]) -> dict[str, Any]:
    from lightning_hwtune.views.amounts import duration

    times = {name: duration(stage[f"{name}_s"]) for name in ("begins", "ends")}
    return {**{name: stage[name] for name in ("trials", "units", "nodes", "devices")}, **times}


def _row(found: Comparison, option: Option, chosen: Option | None) -> dict[str, Any]:
    from lightning_hwtune.views.amounts import duration, money

    mark = "chosen" if option is chosen else "" if found.wish.meets(option) else "exceeds a limit"
    return {
        "policy": option.policy,
        "devices per trial": option.devices,
        "nodes": option.nodes,
        "time": duration(option.seconds),
        "cost": "-" if option.usd is None else money(option.usd),
        "": mark,
    }
