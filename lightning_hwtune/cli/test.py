"""`hwtune test`: runs a test function on the checkpoints of the front, and shows the results."""

from __future__ import annotations

from typing import Annotated

import typer

from lightning_hwtune.cli.arguments import DIR, Dir, Name, Quiet, Storage, command_line, import_from_here
from lightning_hwtune.cli.output import Format, write_frame

__all__ = ["run_test"]


def run_test(
    function: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FUNCTION",
            help="The test function: it takes a Trial, whose ckpt_path is the checkpoint, and returns numbers by name.",
            show_default=False,
        ),
    ],
    trials: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="[TRIAL]...", help="The trials to test; default: those of the front.", show_default=False
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Repeat tests that have a result.")] = False,
    dir: Dir = DIR,  # noqa: A002 - the option's name
    study: Name = None,
    storage: Storage = None,
    quiet: Quiet = False,
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
) -> None:
    """Run a test function on the checkpoint of each trial of the front, and show and store the results."""
    from lightning_hwtune.cli.study_run import continued_by
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.engine.payload import ImportedFunction
    from lightning_hwtune.text import TO_TEST_THE_REST, counted

    import_from_here()
    chosen = choose(dir, study, storage).study
    imported = ImportedFunction(function, "function")
    words = ["test", function, *map(str, trials or ())]
    options = {"again": again or None, "dir": None if dir == DIR else dir, "study": study, "storage": storage}
    with continued_by(chosen.dir, command_line(words, options), TO_TEST_THE_REST):
        frame = chosen.test(imported, trials or None, again=again, progress=not quiet and form is Format.TABLE)
    title = f"tests of {chosen.name}"
    write_frame(form, frame=lambda: frame, data=lambda: frame.to_dict("records"), title=title, empty="")
    failed = frame.loc[frame["failure"] != "", "trial"].tolist()
    if failed:
        first = chosen.state().trials[failed[0]].test_error
        typer.echo(
            f"{counted(len(failed), 'tests')} failed. The error of trial {failed[0]}:\n{first.rstrip()}", err=True
        )
        raise typer.Exit(1)
