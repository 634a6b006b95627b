"""`hwtune cli-tune`: tunes what a LightningCLI script trains, from its own configuration file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lightning_hwtune.entry.arguments import (
    CheckFirst,
    FileDir,
    MaxCost,
    MaxTime,
    MaxTrials,
    Overrides,
    Quiet,
    check_overrides,
    command_line,
    import_from_here,
)
from lightning_hwtune.entry.output import short_path

__all__ = ["cli_tune"]


def cli_tune(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG.yaml", exists=True, dir_okay=False, help="The configuration.", show_default=False
        ),
    ],
    space: Annotated[
        Path,
        typer.Option(
            "--space",
            exists=True,
            dir_okay=False,
            help="File with what is searched, under dotted names of the configuration; or a study file without train.",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
    script: Annotated[
        Path | None,
        typer.Option(
            "--script",
            exists=True,
            dir_okay=False,
            help="The script with the LightningCLI; not needed if the configuration has class paths.",
            show_default=False,
        ),
    ] = None,
    subcommand: Annotated[
        bool, typer.Option("--subcommand/--no-subcommand", help="Whether the script takes the word fit.")
    ] = True,
    study: Annotated[
        str | None, typer.Option("--study", help="The study's name; the configuration's unless given.")
    ] = None,
    dir: FileDir = None,  # noqa: A002 - the option's name
    max_trials: MaxTrials = None,
    max_time: MaxTime = None,
    max_cost: MaxCost = None,
    check: CheckFirst = True,
    quiet: Quiet = False,
) -> None:
    """Tunes a LightningCLI script, or goes on with it; writes best/<trial>.yaml for each member of the front."""
    from lightning_hwtune.entry.driven import run_and_show
    from lightning_hwtune.entry.lightning_cli_study import CliStudy, write_best
    from lightning_hwtune.study import Study

    import_from_here()
    if script is not None:
        sys.path.insert(0, str(script.resolve().parent))  # what is to be preloaded may lie beside it
    given = {"study": study, "dir": dir, "max_trials": max_trials, "max_time": max_time, "max_cost": max_cost}
    prepared = CliStudy.read(
        config,
        space,
        check_overrides(overrides),
        script=script,
        subcommand=("fit",) if subcommand else (),
        given=given,
    )
    with prepared.settings.located(space):
        begun = Study(**prepared.settings.study_kwargs())
    prepared.check_stored(begun)
    if not quiet:
        for line in prepared.notes:
            typer.echo(line)
    words = ["cli-tune", str(config), *(overrides or ()), *(() if subcommand else ("--no-subcommand",))]
    again = command_line(words, {"space": space, "script": script, **given})
    failed = run_and_show(begun, prepared.settings, prepared.run_kwargs(), again, check=check, quiet=quiet)
    for path in write_best(begun, prepared.segment):
        typer.echo(f"configuration: {short_path(path)}")
    if failed is not None:
        raise failed
