"""`hwtune prior show`: what a study's prior learned, how much weight it gets, and what it would draw next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightning_hwtune.cli.arguments import DIR, Dir
from lightning_hwtune.cli.output import Format, rows_frame, write
from lightning_hwtune.cli.usage import App
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.views.prior_facts import USELESS_TEXT, prior_facts

if TYPE_CHECKING:
    from rich.console import Console

    from lightning_hwtune.core.facts import StudyFacts

__all__ = ["app"]

_MAX_CONFIGS = 10_000  # each one is a draw from the prior

app = App(name="prior", no_args_is_help=True, help="Show what a study learned from earlier studies.")


@app.callback()
def prior() -> None:
    """Show what a study learned from earlier studies."""


@app.command()
def show(
    study_file: Annotated[
        Path | None,
        typer.Argument(metavar="STUDY.yaml", exists=True, dir_okay=False, help="A study file with `prior: auto`."),
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", help="Name of a stored study, instead of a file.", show_default=False)
    ] = None,
    dir: Dir = DIR,  # noqa: A002
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage", help="SQLAlchemy URL of the log, for studies made with `storage`.", show_default=False
        ),
    ] = None,
    configs: Annotated[
        int, typer.Option("--configs", min=0, max=_MAX_CONFIGS, help="Number of next draws to show.")
    ] = 8,
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
) -> None:
    """Show what the prior of a study learned: from which tasks, from how many points, and what it would draw next."""
    state = _state(study_file, study, dir, storage)
    found = prior_facts(state, configs)
    write(
        form,
        table=lambda out: _print(out, found),
        data=lambda: found,
        frame=lambda: rows_frame(found["draws"]),
    )


def _state(study_file: Path | None, study: str | None, dir: Path, storage: str | None) -> StudyFacts:  # noqa: A002
    """Returns the current state of the given study.

    Raises:
        ArgumentError: both a study file and a stored study are given.
    """
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.core.facts import StudyFacts
    from lightning_hwtune.errors import StudyNotFoundError
    from lightning_hwtune.settings import StudySettings
    from lightning_hwtune.study import Study

    if study_file is not None and study is not None:
        raise ArgumentError("--study", study, "a study file or --study, not both")
    if study_file is None:
        return choose(dir, study, storage).study.state()
    settings = StudySettings.load(study_file)
    with settings.located(study_file):
        begun = Study(**settings.given_study_kwargs())
    try:
        return begun.state()
    except StudyNotFoundError:
        return StudyFacts(begun.spec)


def _print(out: Console, found: Mapping[str, Any]) -> None:
    from lightning_hwtune.views.terminal import print_frame

    print_frame(out, rows_frame(found["tasks"]), f"Prior of study {found['study']}")
    learned, others = (", ".join(found["parameters"][key]) for key in ("learned", "random"))
    random = f"; drawn at random: {others}" if others else ""
    weights = ", ".join(f"{name} {weight:g}" for name, weight in found["trust"].items())
    for line in (
        f"learned parameters: {learned}{random}",
        f"model: {found['model']}; {found['uniform_share']:.0%} of the draws are uniform",
        f"weight of the prior, from 0 to 1: {weights}",
        f"share of the other draws that come from TPE, which learns from this study: {found['own_share']:.0%}",
        *([USELESS_TEXT] if found["is_useless"] else []),
    ):
        out.print(line, markup=False, soft_wrap=True)
    if found["draws"]:
        title = "Next draws, with expected scores (0 is the median, lower is better)"
        print_frame(out, rows_frame(found["draws"]), title)
