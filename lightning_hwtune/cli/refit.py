"""`hwtune refit`: trains the configuration of one trial once more, e.g. on all data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from lightning_hwtune.cli.arguments import (
    DIR,
    Dir,
    Name,
    Quiet,
    Storage,
    command_line,
    import_from_here,
    with_some_limits,
)
from lightning_hwtune.cli.output import Format, rows_frame, write_frame

__all__ = ["refit"]


@with_some_limits("max_time", "max_cost")
def refit(
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="A fully trained trial.", show_default=False)],
    function: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:FUNCTION]",
            help="The training function, e.g. one that trains on all data; default: that of the newest run.",
            show_default=False,
        ),
    ] = None,
    from_checkpoint: Annotated[
        bool, typer.Option("--from-checkpoint", help="Begin with the weights of the trial's checkpoint.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Train a further refit if one is complete.")] = False,
    dir: Dir = DIR,  # noqa: A002 - the option's name
    study: Name = None,
    storage: Storage = None,
    quiet: Quiet = False,
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
    *,
    limits: Mapping[str, Any],
) -> None:
    """Train the configuration of one trial once more, e.g. on all data, and show the result and its checkpoint.

    The search must have ended, and the refit does not affect it. The same command continues after an interruption.
    """
    from lightning_hwtune.cli.study_run import continued_by
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.engine.payload import ImportedFunction
    from lightning_hwtune.names.spelling import spell_by
    from lightning_hwtune.settings.spelling import REFIT_SPELLING

    import_from_here()
    spell_by(REFIT_SPELLING)
    chosen = choose(dir, study, storage).study
    train = None if function is None else ImportedFunction(function, "function")
    words = ["refit", str(trial), *([] if function is None else [function])]
    given = {"from_checkpoint": from_checkpoint or None, "again": again or None, **limits}
    place = {"dir": None if dir == DIR else dir, "study": study, "storage": storage}
    options: dict[str, Any] = {"progress": not quiet and form is Format.TABLE, **limits}
    with continued_by(chosen.dir, command_line(words, {**given, **place})):
        done = chosen.refit(trial, train, from_checkpoint=from_checkpoint, again=again, **options)
    entry = chosen.state().trials[done.trial_id]
    row = {
        "trial": done.trial_id,
        "replicate_of": trial,
        "refit": entry.refit,
        str(chosen.state().ladder.unit): done.epochs,
        "devices": done.num_devices,
        "checkpoint": None if done.checkpoint is None else str(done.checkpoint),
    }
    measured = {name: value for name, value in done.values.items() if value == value}  # an objective may be absent
    write_frame(
        form,
        frame=lambda: rows_frame([{**row, **measured, **done.config}]),
        data=lambda: {**row, "objectives": measured, "config": dict(done.config)},
        title=f"refit of trial {trial} of {chosen.name}",
        empty="",
    )
