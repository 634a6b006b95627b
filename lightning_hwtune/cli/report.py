"""`hwtune report`: a study as one file, the page of `hwtune serve` or a summary in Markdown."""

from __future__ import annotations

import enum
import time
from pathlib import Path
from typing import Annotated

import typer

from lightning_hwtune.cli.arguments import DIR, Dir, Name, Storage
from lightning_hwtune.cli.output import output_folder, writing
from lightning_hwtune.views.study_location import short_path

__all__ = ["report"]

_EVERY_S = 10


class Kind(enum.StrEnum):
    """What is written."""

    HTML = "html"
    MARKDOWN = "markdown"


def report(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="File to write; default: report.html in the study's own folder, and standard output for Markdown.",
            show_default=False,
            dir_okay=False,
        ),
    ] = None,
    form: Annotated[
        Kind, typer.Option("--format", help="html: the page as one file. markdown: a summary, e.g. for a pull request.")
    ] = Kind.HTML,
    follow: Annotated[
        bool, typer.Option("--follow", help=f"Write the file again every {_EVERY_S} s while the study runs.")
    ] = False,
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
) -> None:
    """Write a study as one file to send: the page of `hwtune serve`, or a summary in Markdown."""
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.store.files import write_whole
    from lightning_hwtune.web.report import markdown, report_page

    chosen = choose(dir, study, storage)
    if form is Kind.MARKDOWN and out is None:
        typer.echo(markdown(chosen), nl=False)
        return
    path = out or output_folder(chosen.study.dir, f"{chosen.study.name}-report") / "report.html"
    is_first = True
    while True:
        is_running = follow and chosen.is_driven()
        reload_s = _EVERY_S if is_running else None
        text = markdown(chosen) if form is Kind.MARKDOWN else report_page(chosen, reload_s=reload_s)
        with writing(path.parent):
            write_whole(path, text)
        if is_first:
            typer.echo(short_path(path))
        if not is_running:
            return
        is_first = False
        time.sleep(_EVERY_S)
