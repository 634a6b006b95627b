"""The command `hwtune`: runs a study described in a file, and answers questions about stored studies.

Exit status: 0 for success; 1 if the study, its file or the training code has an error, or the output cannot be written;
2 if the command line is wrong; 130, 141 and 143 after Ctrl-C, a closed pipe and SIGTERM. Each command imports heavy
modules only if it needs them; no command imports torch.
"""

from __future__ import annotations

import contextvars
import dataclasses
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightning_hwtune import __version__
from lightning_hwtune.cli import front_output, prior
from lightning_hwtune.cli.agent import agent
from lightning_hwtune.cli.arguments import (
    DIR,
    CheckFirst,
    Dir,
    FileDir,
    MaxTrials,
    Name,
    Overrides,
    Quiet,
    Storage,
    check_overrides,
    command_line,
    error_text,
    import_from_here,
    with_limits,
)
from lightning_hwtune.cli.command import command
from lightning_hwtune.cli.control import enqueue, stop
from lightning_hwtune.cli.export import export
from lightning_hwtune.cli.importance import importance
from lightning_hwtune.cli.instances import instances
from lightning_hwtune.cli.ledger import ledger
from lightning_hwtune.cli.output import At, Format, flat, rows_frame, write, write_frame
from lightning_hwtune.cli.plan import plan
from lightning_hwtune.cli.plot import plot
from lightning_hwtune.cli.profile import profile
from lightning_hwtune.cli.refit import refit
from lightning_hwtune.cli.replay import replay
from lightning_hwtune.cli.replicate import replicate
from lightning_hwtune.cli.report import report
from lightning_hwtune.cli.sbatch import sbatch
from lightning_hwtune.cli.serve import serve
from lightning_hwtune.cli.standard_output import standard_output
from lightning_hwtune.cli.test import run_test
from lightning_hwtune.cli.tune_command import cli_tune
from lightning_hwtune.cli.usage import App, Group
from lightning_hwtune.errors import ArgumentError, HwTuneError, StudyFailedError
from lightning_hwtune.names.spelling import spell_by, spelled
from lightning_hwtune.text import counted

if TYPE_CHECKING:
    from rich.console import Console

    from lightning_hwtune.settings import StudySettings
    from lightning_hwtune.stored_study import StoredStudy

__all__ = ["app", "main"]


class _Commands(Group):
    """The commands. Errors meant for the user are printed as text, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the given command."""
        return contextvars.copy_context().run(self._invoke, ctx)

    def _invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HwTuneError as error:
            typer.echo(spelled(f"hwtune: {error_text(error)}"), err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("hwtune: interrupted", err=True)
            raise typer.Exit(130) from None


app = App(
    name="hwtune",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyFile = Annotated[
    Path, typer.Argument(metavar="STUDY.yaml", exists=True, dir_okay=False, help="The study file.", show_default=False)
]
Form = Annotated[Format, typer.Option("--format", help="Output format.")]
TrialId = Annotated[int, typer.Argument(metavar="TRIAL", help="Number of the trial.", show_default=False)]


def main() -> None:
    """Runs the command line. Characters that the terminal's encoding does not have are escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with standard_output():
        app(prog_name="hwtune")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"lightning_hwtune {__version__}")
        raise typer.Exit


@app.callback()
def hwtune(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Tune hyperparameters and hardware of PyTorch Lightning training."""


@app.command()
@with_limits
def run(
    study_file: StudyFile,
    overrides: Overrides = None,
    dir: FileDir = None,  # noqa: A002 - the option's name
    check: CheckFirst = None,
    quiet: Quiet = False,
    plan_file: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="plan.json",
            help="A plan of `hwtune plan --output` to run: its devices per trial, its trials and its limits.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="If another process runs the study, on this host or another one, wait until it has ended.",
        ),
    ] = False,
    *,
    limits: Mapping[str, Any],
) -> None:
    """Run or continue the study in a file, then show its front."""
    from lightning_hwtune.cli.study_run import keep_plan, planned, run_and_show
    from lightning_hwtune.cli.turns import in_turn
    from lightning_hwtune.engine.reading import Reader
    from lightning_hwtune.store.files import StudyFiles
    from lightning_hwtune.study import Study

    settings = _load(study_file, overrides, dir=dir, check=check, **limits)
    if plan_file is not None:
        changes = planned(plan_file, settings, [*(overrides or ()), *(name for name in limits if limits[name])])
        settings = _load(study_file, [*(overrides or ()), *changes], dir=dir, check=check, **limits)
    named: dict[str, Any] = {"dir": dir, "plan": plan_file, "check": check, **limits}
    again = command_line(["run", str(study_file), *(overrides or ()), *(["--wait"] if wait else [])], named)

    def run_now() -> StudyFailedError | None:
        with settings.located(study_file):
            study, options = Study(**settings.given_study_kwargs()), settings.run_kwargs()
        if plan_file is not None:
            keep_plan(plan_file, study)
        return run_and_show(study, settings, options, again, quiet=quiet)

    reader = Reader(StudyFiles(Path(settings.dir), settings.study), settings.storage)
    failed = in_turn(reader, run_now) if wait else run_now()
    if failed is not None:
        raise failed


@app.command("check")
def check_study(
    study_file: StudyFile,
    overrides: Overrides = None,
    dir: FileDir = None,  # noqa: A002
    form: Form = Format.TABLE,
) -> None:
    """Check the training on shortened epochs and show the forecast for a run, without starting the study."""
    from lightning_hwtune.core.controller import Controller
    from lightning_hwtune.core.state import StudyState
    from lightning_hwtune.study import Study
    from lightning_hwtune.views.announcements import checked

    settings = _load(study_file, overrides, dir=dir)
    with settings.located(study_file):
        study, train = Study(**settings.given_study_kwargs()), settings.run_kwargs()["train"]
    found = study.check(train, preload=settings.run["preload"])
    entry = {item.name: getattr(found, item.name) for item in dataclasses.fields(found)}

    def lines(out: Console) -> None:
        state = StudyState(study.spec)
        state.limits = settings.limits().resolved(study.spec)
        Controller(state, lambda events: None).choose_ladder(0.0, found.start_up)
        for line in checked(state, found):
            out.print(line, soft_wrap=True)

    write(form, table=lines, data=lambda: entry, frame=lambda: rows_frame([flat(entry)]))


@app.command()
def rungs(
    study_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="STUDY.yaml",
            exists=True,
            dir_okay=False,
            help="A study file; default: the stored study that --study names.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
    max_trials: MaxTrials = None,
    form: Form = Format.TABLE,
) -> None:
    """Show the rungs of a study: the expected number of trials at each, and the epochs that they train."""
    from lightning_hwtune.core.spec import AUTO
    from lightning_hwtune.views.forecast import full_trainings_text
    from lightning_hwtune.views.ladder import ladder_of
    from lightning_hwtune.views.status import rung_forecast
    from lightning_hwtune.views.terminal import rung_table

    if study_file is not None:
        settings = _load(study_file, overrides, max_trials=max_trials)
        spec, limits, chosen, n_first, is_given = settings.spec(), settings.limits(), None, None, True
        within = "the check shows how many models can be fully trained within the limits of time and cost"
        within = within if limits.is_timed else ""
    else:
        stored = _choose(dir, study, storage).study
        state = stored.state()
        spec, limits, chosen = stored.spec, state.limits, state.chosen
        n_first = state.n_first_planned if chosen is not None else None
        within = full_trainings_text(state)
        is_given = state.session is not None and "finishers" in (state.session.given or ())
    n_trials = limits.max_trials if max_trials is None else max_trials
    if n_trials is None and not within:
        hint = "The study has no limit on its number of trials."
        raise ArgumentError("--max-trials", None, "a positive integer", hint=hint)
    if not is_given:  # a run with more trials resolves the automatic number again
        by_default = dataclasses.replace(limits, finishers=AUTO)
        limits = by_default if by_default.resolved(spec) == limits else limits
    limits = dataclasses.replace(limits, max_trials=n_trials).resolved(spec)
    ladder = ladder_of(spec, limits, chosen)
    scheduler = ladder.spec.scheduler
    said = {"chosen": ladder.reason, "notes": [*map(spelled, ladder.weaknesses)]}
    said |= {"full_trainings": within} if within else {}
    about = [*map(spelled, ladder.lines(with_first=n_trials is None))]
    if n_trials is None:
        levels = [{"rung": level} for level in scheduler.levels]
        first = f"rungs at {counted(', '.join(map(str, scheduler.levels)), scheduler.unit)}; {within}"
        write(
            form,
            table=lambda out: out.print("\n".join([first, *about]), soft_wrap=True),
            data=lambda: {"unit": scheduler.unit, "rungs": levels, **said},
            frame=lambda: rows_frame(levels),
        )
        return
    expected = (scheduler, n_trials, limits.n_finishers, ladder.n_to_end if n_first is None else n_first)
    forecast = rung_forecast(*expected)

    def print_all(out: Console) -> None:
        out.print(rung_table(*expected))
        for line in [*([within] if within else []), *about]:
            out.print(line, soft_wrap=True)

    write(
        form,
        table=print_all,
        data=lambda: {**forecast, **said},
        frame=lambda: rows_frame(forecast["rungs"]),
    )


@app.command()
def status(
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
    form: Form = Format.TABLE,
) -> None:
    """Show the progress of a study, or list the studies if there are several and --study is not given."""
    from lightning_hwtune.stored_study import newest_first, study_entries
    from lightning_hwtune.views.studies import studies_frame

    if study is None and len(names := newest_first(dir, storage)) > 1:
        studies = study_entries(dir, names, storage)
        write_frame(form, frame=lambda: studies_frame(studies), data=lambda: studies, title="", empty="")
        return
    entry = _choose(dir, study, storage).status()

    def table(out: Console) -> None:
        from lightning_hwtune.views.terminal import status_table

        out.print(status_table(entry))

    write(
        form,
        table=table,
        data=lambda: entry,
        frame=lambda: rows_frame([flat(entry)]),
    )


@app.command()
def trials(
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="NAME,NAME...",
            help="The columns to show, e.g. trial,lr,val_error,logged/train_loss; default: all but those of logged "
            "numbers.",
            show_default=False,
        ),
    ] = None,
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
    form: Form = Format.TABLE,
) -> None:
    """List all trials, and the results that were added from elsewhere."""
    from lightning_hwtune.views.added import added_frame, added_title
    from lightning_hwtune.views.kept_values import chosen_columns, without_logged
    from lightning_hwtune.views.tables import shown_trials, trials_frame

    chosen = _choose(dir, study, storage)
    state = chosen.state()
    names = [name.strip() for name in columns.split(",")] if columns is not None else []

    def frame() -> Any:
        rows = shown_trials(state) if form is Format.TABLE else trials_frame(state)
        if names:
            return chosen_columns(rows, names)
        return without_logged(rows) if form is Format.TABLE else rows

    write_frame(
        form,
        frame=frame,
        data=lambda: frame().to_dict("records") if names else chosen.trials(),
        title=f"trials of {chosen.study.name}",
        empty=f"study {chosen.study.name} has no trials yet",
    )
    if state.added and form is Format.TABLE:
        write_frame(form, lambda: added_frame(state), list, title=added_title(chosen.study.name), empty="")


@app.command()
def front(
    at: Annotated[
        At,
        typer.Option(
            "--at",
            help="full: fully trained trials; rung: one front per rung; any: the last measurement of every trial.",
        ),
    ] = At.FULL,
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
    form: Form = Format.TABLE,
) -> None:
    """Show the Pareto front: the best trade-offs between the objectives, among fully trained trials."""
    front_output.show_front(_choose(dir, study, storage), form, at)


@app.command()
def best(
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
    form: Form = Format.TABLE,
) -> None:
    """Show the fully trained trial with the best value of the first objective."""
    front_output.show_best(_choose(dir, study, storage), form)


@app.command()
def why(
    trial: TrialId,
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
) -> None:
    """Show the history of a trial: every decision with its rule and numbers."""
    typer.echo(_choose(dir, study, storage).study.why(trial))


@app.command()
def logs(
    trial: TrialId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing while the trial trains.")] = False,
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
) -> None:
    """Print the output of a trial, segment by segment."""
    from lightning_hwtune.cli.trial_logs import print_logs

    print_logs(_choose(dir, study, storage), trial, follow=follow)


@app.command()
def schema() -> None:
    """Print a JSON schema of study files, for editors."""
    import json

    from lightning_hwtune.settings.schema import study_file_schema

    typer.echo(json.dumps(study_file_schema(), indent=2))


app.command("cli-tune")(cli_tune)
app.command()(profile)
app.command()(replicate)
app.command()(refit)
app.command("test")(run_test)
app.command()(replay)
app.command()(stop)
app.command()(enqueue)
app.command()(serve)
app.command()(report)
app.command()(ledger)
app.command()(importance)
app.command()(plot)
app.command()(export)
app.command()(command)
app.command()(plan)
app.command()(instances)
app.command()(agent)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(sbatch)
app.add_typer(prior.app, name="prior")


def _load(path: Path, overrides: Sequence[str] | None, **given: Any) -> StudySettings:
    """Returns the settings of a file, overridden by the given options. Makes the working directory importable."""
    from lightning_hwtune.settings import StudySettings
    from lightning_hwtune.settings.spelling import FILE_SPELLING

    spell_by(FILE_SPELLING)
    checked = check_overrides(overrides)
    import_from_here()
    settings = StudySettings.load(path, checked)
    return settings.replaced(given)


def _choose(dir: Path, name: str | None, storage: str | None) -> StoredStudy:  # noqa: A002
    from lightning_hwtune.cli.study_selection import choose

    return choose(dir, name, storage)


if __name__ == "__main__":
    main()
