"""`hwtune plan`: predicts time and cost of a study for each allocation of devices, and marks the best one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightning_hwtune.cli.arguments import DIR, Dir, Overrides
from lightning_hwtune.cli.output import Format, rows_frame, write, write_frame
from lightning_hwtune.cli.plan_inputs import (
    given_scheduler,
    needed,
    of_file,
    planned_budget,
    planned_pool,
    rented_kind,
    studied,
    training,
)
from lightning_hwtune.cli.plan_output import plan_document, plan_rows, print_plans, shown_row
from lightning_hwtune.errors import ArgumentError, StorageError, nearest
from lightning_hwtune.text import counted
from lightning_hwtune.views.study_location import short_path

if TYPE_CHECKING:
    from lightning_hwtune.core.hardware.pool import Pool
    from lightning_hwtune.core.schedulers import Scheduler
    from lightning_hwtune.planning.comparison import Comparison, Option, Wish
    from lightning_hwtune.planning.deadline_options import DeadlineAdvice

__all__ = ["plan"]


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
        str | None,
        typer.Option(
            "--speeds",
            metavar="NUMBER=SPEED,...",
            help="Speed of a trial by its number of devices, in any unit; default: one device per trial.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="PATH",
            help="The profile.json of `hwtune profile`, or its folder, in place of --speeds.",
            show_default=False,
        ),
    ] = None,
    measured_by: Annotated[
        str | None,
        typer.Option(
            "--measured-by",
            metavar="STUDY",
            help="An earlier study with such trainings: its measured seconds and speeds, in place of --unit-s and "
            "--speeds.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", min=1, help="Samples of one epoch; with --profile, in place of --unit-s.", show_default=False
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", help="NAME:KEY=VALUE,... such as asha:max_epochs=27.", show_default=False),
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Number of trials.", show_default=False)] = None,
    start_s: Annotated[
        float | None,
        typer.Option("--start-s", help="Seconds to start a segment; by default those of --measured-by, or 0."),
    ] = None,
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
    most_devices: Annotated[
        int | None,
        typer.Option(
            "--most-devices",
            min=1,
            help="With --policy deadline: how many devices the pool can have for the same money; default: --devices.",
            show_default=False,
        ),
    ] = None,
    usd_per_device_hour: Annotated[
        float | None, typer.Option("--usd-per-device-hour", help="Price of a device of the pool.", show_default=False)
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option("--instance", help="Type of rented nodes, as in `hwtune instances`.", show_default=False),
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Maximum number of nodes at a time.")] = 8,
    launch_s: Annotated[float, typer.Option("--launch-s", help="Seconds to launch a node.")] = 120.0,
    spot: Annotated[bool, typer.Option("--spot", help="Rent spot nodes.")] = False,
    catalogue: Annotated[
        Path | None,
        typer.Option("--catalogue", help="A CSV or TOML file with your own instance types.", show_default=False),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            help="Choose the best plan of this policy: pool, static, rubberband or seer; default: the best of all. "
            "`deadline` simulates which way to train until --deadline finds the best value.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="plan.json",
            help="Write the chosen plan to a file, for `hwtune run --plan`.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="plan.png", help="Draw the devices of each plan over time.", show_default=False),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="STUDY",
            help="Show the prediction for this study next to what it took. Only --dir and --format can be added.",
            show_default=False,
        ),
    ] = None,
    dir: Dir = DIR,  # noqa: A002
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
) -> None:
    """Compare allocations of devices before a study: predicted time and cost of each, the best one marked.

    A fixed pool (--devices, or that of the study file) is simulated with each number of devices per trial. Rented nodes
    (--instance) are planned as a cluster of fixed size, and as one that changes from stage to stage. With a deadline
    and a budget, it also says how many trials they allow.
    """
    if compare is not None:
        _compare(compare, dir, form)
        return
    from lightning_hwtune.forms import parse_duration
    from lightning_hwtune.planning.advisor import PoolStudy, advise
    from lightning_hwtune.planning.comparison import DEADLINE, Comparison, Wish
    from lightning_hwtune.planning.job import Job
    from lightning_hwtune.planning.options import (
        expected_stages,
        pool_options,
        rented_options,
        seer_options,
        with_spread,
    )
    from lightning_hwtune.planning.plan_file import PlanFile, write_plan
    from lightning_hwtune.planning.rubberband import cost_of_one
    from lightning_hwtune.planning.seer import Halving
    from lightning_hwtune.views.amounts import duration

    in_file = None if study_file is None else of_file(study_file, overrides)
    given = needed(
        "--scheduler",
        given_scheduler(scheduler) or (None if in_file is None else in_file.spec.scheduler),
        "a scheduler such as asha:max_epochs=27",
    )
    n_trials = needed("--trials", trials or (None if in_file is None else in_file.trials), "a positive integer")
    wish = Wish(
        parse_duration("--deadline", deadline) or (None if in_file is None else in_file.deadline_s) or math.inf,
        planned_budget(budget, None if in_file is None else in_file.budget_usd),
    )
    kind = None if instance is None else rented_kind(instance, catalogue, most, launch_s, spot=spot)
    written = None if in_file is None else in_file.pool
    pool = planned_pool(written, devices, usd_per_device_hour, is_rented=kind is not None)
    if most_devices is not None and policy != DEADLINE:
        raise ArgumentError("--most-devices", most_devices, "left out, except with --policy deadline")
    n_devices = max(0 if pool is None else pool.size, 0 if kind is None else kind.devices * kind.most)
    if n_devices == 0:
        raise ArgumentError("--devices", None, "the devices of a pool, or --instance, the type of rented nodes")
    if measured_by is None:
        by_number, one_s, notes = training(speeds, profile, samples, unit_s, n_devices)
        start_s = start_s or 0.0
    else:
        given_too = {"--speeds": speeds, "--profile": profile, "--samples": samples}
        by_number, one_s, usual_start_s, notes = studied(measured_by, dir, given, unit_s, n_devices, given_too)
        if start_s is None:
            start_s = usual_start_s
            usual = f"a segment takes {start_s:.3g} s to start, as in {measured_by}"
            notes.append(f"{usual}; `--start-s` gives another time")
    if pool is None and written is not None:
        notes.append("the pool of the study file has `nodes: auto`, so only rented nodes are compared")
    options, alone_usd, advice = [], None, None
    if pool is not None:
        study = PoolStudy(given, n_trials, pool.size, one_s, start_s, variation=variation)
        options += pool_options(advise(study, by_number).predictions, pool, n_trials)
        if kind is None:
            options += _seer_in_pool(given, n_trials, pool, wish, by_number, one_s, start_s, variation)
        if policy == DEADLINE:
            advice = _advice(given, n_trials, pool, by_number, one_s, start_s, wish, most_devices)
            options.append(advice.option(pool, wish.deadline_s, n_trials))
            notes += advice.notes
    if kind is not None:
        complete = _complete(by_number)
        with_ladder = _with_ladder(given, n_trials)
        job = Job(expected_stages(with_ladder, n_trials), one_s, complete, start_s)
        halving = Halving(with_ladder.levels, with_ladder.ladder.eta, one_s, complete, start_s)
        rented = [*rented_options(job, kind, wish), *seer_options(halving, kind, wish)]
        options += [with_spread(option, halving, kind, variation=variation) for option in rented]
        alone_usd = cost_of_one(job, kind)
        notes += [
            f"trials on {counted(n, 'devices')} are not faster than on fewer, so no plan uses them" for n in job.useless
        ]
    if wish.budget_usd < math.inf and all(option.usd is None for option in options):
        hint = "Add --usd-per-device-hour, or its price to the pool of the study file."
        raise ArgumentError("--budget", wish.budget_usd, "a budget only with a price", hint=hint)
    found = Comparison(wish, options, alone_usd, _policy(policy, options))
    if found.chosen is not None and (late := found.chosen.late_by_s(wish)) > 0:
        notes.append(
            f"the chosen plan misses the deadline by up to {duration(late)} if trials take up to {variation:g} times "
            "the usual time; an earlier --deadline leaves room for that"
        )
    write(
        form,
        table=lambda out: print_plans(out, found, notes),
        data=lambda: plan_document(found, notes),
        frame=lambda: rows_frame(plan_rows(found)),
    )
    if plot is not None:
        _draw(found, plot)
    if output is not None and found.chosen is not None:
        kept: dict[str, Any] = {"unit_s": one_s, "start_s": start_s, "speeds": _complete(by_number)}
        if advice is not None and pool is not None:  # more devices than in the pool are paid for less time
            kept, wish = dict(advice.training), Wish(advice.deadline_s(pool, wish.deadline_s), wish.budget_usd)
        size = None if advice is None or pool is None else pool.size
        planned = PlanFile.of(found.chosen, wish, given, instance=instance, training=kept, pool=size)
        write_plan(output, planned)
        typer.echo(f"plan: {short_path(output)}", err=True)
        if in_file is not None and (why := planned.refusal(in_file.spec, pool if devices is None else written)):
            typer.echo(f"note: `hwtune run {study_file} --plan {output}` will refuse this plan: {why}", err=True)
    if found.relaxed:
        typer.echo(f"hwtune: no plan is within the limits. {found.relaxed}", err=True)
        raise typer.Exit(1)


def _complete(by_number: Mapping[Any, float]) -> dict[int, float]:
    """Returns the speeds of trials that have complete devices."""
    return {int(number): speed for number, speed in by_number.items() if number >= 1}


def _seer_in_pool(
    scheduler: Scheduler,
    trials: int,
    pool: Pool,
    wish: Wish,
    by_number: Mapping[Any, float],
    one_s: float,
    start_s: float,
    variation: float,
) -> list[Option]:
    """Returns the SEER-style plan on the devices of a pool, which are paid from the beginning to the end."""
    from lightning_hwtune.planning.nodes import NodeKind
    from lightning_hwtune.planning.options import seer_options, with_spread
    from lightning_hwtune.planning.seer import Halving

    ladder = _with_ladder(scheduler, trials)
    fitting = {count: speed for count, speed in _complete(by_number).items() if count <= pool.size}
    halving = Halving(ladder.levels, ladder.ladder.eta, one_s, fitting, start_s)
    kind = NodeKind(pool.size, 1, (pool.usd_per_device_hour or 0.0) * pool.size)
    found = [with_spread(option, halving, kind, variation=variation) for option in seer_options(halving, kind, wish)]
    if pool.usd_per_device_hour is None:
        return [dataclasses.replace(option, usd=None) for option in found]
    return found


def _advice(
    scheduler: Scheduler,
    trials: int,
    pool: Pool,
    by_number: Mapping[Any, float],
    one_s: float,
    start_s: float,
    wish: Wish,
    most: int | None,
) -> DeadlineAdvice:
    """Returns which way to train until the deadline finds the best value, by simulations."""
    from lightning_hwtune.planning.deadline_options import deadline_advice

    if wish.deadline_s == math.inf:
        raise ArgumentError("--deadline", None, "a time such as 8h, with --policy deadline")
    ladder = _with_ladder(scheduler, trials)
    return deadline_advice(ladder, pool, _complete(by_number), one_s, start_s, wish.deadline_s, most)


def _policy(given: str | None, options: Sequence[Option]) -> str | None:
    """Returns the policy whose best option is to be chosen; None for any."""
    if given is None:
        return None
    name = {"pool": "fixed pool"}.get(given, given)
    known = list(dict.fromkeys(option.policy for option in options))
    if name not in known:
        hint = "A SEER-style plan needs --deadline and, for rented nodes, --budget, and enough of them for one trial."
        names = ["pool" if policy == "fixed pool" else policy for policy in known]
        raise ArgumentError("--policy", given, f"{' or '.join(names)}{nearest(given, names)}", hint=hint)
    return name


def _draw(found: Comparison, path: Path) -> None:
    from lightning_hwtune.planning.figure import plan_figure

    try:
        plan_figure(found).savefig(path, dpi=150)
    except ValueError:
        hint = "Matplotlib draws, for example, .png, .svg and .pdf."
        raise ArgumentError("--plot", str(path), "the name of an image file", hint=hint) from None
    except OSError as error:
        raise StorageError(f"cannot write {str(path)!r}: {error}", error.errno) from error
    typer.echo(f"figure: {short_path(path)}", err=True)


def _compare(name: str, folder: Path, form: Format) -> None:
    """Shows what was predicted for a study that ran by a plan, and what it took."""
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.planning.plan_file import PLAN, compared, read_plan

    chosen = choose(folder, name, None)
    rows = compared(read_plan(chosen.study.dir / PLAN), chosen.state())
    write_frame(
        form,
        frame=lambda: rows_frame([shown_row(row) for row in rows] if form is Format.TABLE else rows),
        data=lambda: rows,
        title=f"plan of {chosen.study.name}",
        empty="",
    )


def _with_ladder(scheduler: Scheduler, trials: int) -> Scheduler:
    """Returns the scheduler with the ladder that a study of so many trials chooses, if its user left it open."""
    from lightning_hwtune.core.spec import Limits
    from lightning_hwtune.planning.advisor import planned_spec
    from lightning_hwtune.views.ladder import ladder_of

    return ladder_of(planned_spec(scheduler), Limits(max_trials=trials)).spec.scheduler
