"""`hwtune ledger`: what a study has spent, and on what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lightning_hwtune.cli.arguments import DIR, Dir, Name, Storage
from lightning_hwtune.cli.output import Format, rows_frame, write

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ledger"]


def ledger(
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
) -> None:
    """Show what a study has spent: training, start-ups and lost work, idle devices, and the bill of each node."""
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.views.ledger import ledger_rows

    entry = choose(dir, study, storage).ledger()

    def table(out: Console) -> None:
        from lightning_hwtune.views.terminal import print_frame

        if entry["total_usd"] is None:
            out.print("the study's pool has no price", soft_wrap=True)
            return
        print_frame(out, rows_frame(ledger_rows(entry)), f"ledger of {entry['study']}")
        if entry["nodes"]:
            print_frame(out, rows_frame(entry["nodes"]), "nodes")

    write(form, table=table, data=lambda: entry, frame=lambda: rows_frame(ledger_rows(entry)))
