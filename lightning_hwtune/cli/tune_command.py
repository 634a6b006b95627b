"""`hwtune cli-tune`: tunes the training of a LightningCLI script, using its own configuration file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lightning_hwtune.cli.arguments import (
    CheckFirst,
    FileDir,
    Quiet,
    check_overrides,
    command_line,
    import_from_here,
    with_limits,
)

__all__ = ["cli_tune"]


@with_limits
def cli_tune(
    space: Annotated[
        Path,
        typer.Option(
            "--space",
            exists=True,
            dir_okay=False,
            help="A file with the search space, under dotted names of the configuration; or a study file without "
            "`train`.",
            show_default=False,
        ),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG.yaml... [KEY=VALUE]...",
            help="The configuration: one file, or several that the script's own parser merges. Then overrides of the "
            "study: key=value sets, +key=value adds, ~key removes.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "--config", "-c", help="A configuration file, as for the script; may be repeated.", show_default=False
        ),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(
            "--script",
            exists=True,
            dir_okay=False,
            help="The script that calls LightningCLI; not needed if the configuration has class paths.",
            show_default=False,
        ),
    ] = None,
    module: Annotated[
        str | None,
        typer.Option(
            "--module",
            "-m",
            help="The module that calls LightningCLI, for a script that `python -m` starts.",
            show_default=False,
        ),
    ] = None,
    subcommand: Annotated[
        bool, typer.Option("--subcommand/--no-subcommand", help="Whether the script has the subcommand `fit`.")
    ] = True,
    study: Annotated[
        str | None,
        typer.Option("--study", help="Name of the study; default: the name of the configuration file."),
    ] = None,
    dir: FileDir = None,  # noqa: A002 - the option's name
    check: CheckFirst = None,
    quiet: Quiet = False,
    *,
    limits: Mapping[str, Any],
) -> None:
    """Tune a LightningCLI script, or continue a study of it; write best/<trial>.yaml for each trial on the front."""
    from lightning_hwtune.apps.lightning_cli.study import CliStudy, write_best
    from lightning_hwtune.cli.study_run import run_and_show
    from lightning_hwtune.names.spelling import spell_by
    from lightning_hwtune.settings.spelling import CLI_TUNE_SPELLING
    from lightning_hwtune.study import Study

    spell_by(CLI_TUNE_SPELLING)
    configs, overrides = _split(words or (), config or ())
    import_from_here()
    if module is not None:
        _check_module(module, script)
    if script is not None:
        sys.path.insert(0, str(script.resolve().parent))  # modules to preload may be next to the script
    given = {"study": study, "dir": dir, **limits}
    prepared = CliStudy.read(
        configs,
        space,
        overrides,
        script=module or script,
        subcommand=("fit",) if subcommand else (),
        given={**given, "check": check},
    )
    with prepared.settings.located(space):
        begun = Study(**prepared.settings.given_study_kwargs())
    prepared.check_stored(begun)
    if not quiet:
        for line in prepared.notes:
            typer.echo(line)
    command = ["cli-tune", *map(str, configs), *overrides, *(() if subcommand else ("--no-subcommand",))]
    again = command_line(command, {"space": space, "script": script, "module": module, "check": check, **given})
    failed = run_and_show(
        begun, prepared.settings, prepared.run_kwargs(), again,
        quiet=quiet, write=lambda: write_best(begun, prepared.segment),
    )  # fmt: skip
    if failed is not None:
        raise failed


def _check_module(module: str, script: Path | None) -> None:
    """Refuse a module that `python -m` would not find, or that is given together with a script."""
    from lightning_hwtune.apps.script_call import module_file

    if script is not None:
        raise typer.BadParameter("give either --script or --module")
    if module_file(module) is None:
        hint = f"the folder of {module.partition('.')[0]!r} must be the working directory or on PYTHONPATH"
        raise typer.BadParameter(f"there is no module {module!r} that `python -m` could start; {hint}")


def _split(words: Sequence[str], options: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the configuration files, in the order in which they are merged, and the overrides."""
    overrides = [word for word in words if not Path(word).is_file() and ("=" in word or word.startswith("~"))]
    configs = [Path(word) for word in words if word not in overrides] + list(options)
    if not configs:
        raise typer.BadParameter("no configuration is given; give one or several files, e.g. config.yaml")
    for path in configs:
        if not path.is_file():
            raise typer.BadParameter(f"there is no file {str(path)!r}; a change to the study is written key=value")
    return configs, check_overrides(overrides)
