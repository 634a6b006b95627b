"""`hwtune serve`: the studies of a folder or database as a page in a browser, live while they run."""

from __future__ import annotations

from typing import Annotated

import typer

from lightning_hwtune.cli.arguments import DIR, Dir, Storage

__all__ = ["serve"]


def serve(
    dir: Dir = DIR,  # noqa: A002
    study: Annotated[
        str | None, typer.Option("--study", help="Show only this study; default: all.", show_default=False)
    ] = None,
    storage: Storage = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. With 127.0.0.1, only this machine can open the page.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any free one.")] = 8321,
    control: Annotated[
        bool,
        typer.Option("--control", help="Add buttons that end a session, stop a trial, and enqueue a configuration."),
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Show the studies of a folder as a page in a browser, live while they run. Without --control, it only reads.

    The printed address contains a token, without which the page cannot be opened.
    """
    from lightning_hwtune.web.server import check_installed, is_loopback
    from lightning_hwtune.web.server import serve as serve_until_stopped

    check_installed()
    from lightning_hwtune.web.access import stored_token
    from lightning_hwtune.web.studies import Studies

    studies = Studies(dir, storage, study)
    for name in studies.names()[:1]:
        studies.check(name)

    def ready(address: str) -> None:
        typer.echo(f"open {address}\nCtrl-C ends the server, not the study")
        if not is_loopback(host):
            typer.echo("hwtune: other machines can open this address; the connection is not encrypted", err=True)
        if open_browser:
            import webbrowser

            webbrowser.open(address)

    serve_until_stopped(studies, stored_token(), host, port, ready, controls=control)
