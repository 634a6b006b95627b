"""What the tests do on the page, and what the commands print for comparison."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from lightning_hwtune.cli.commands import app

Opened = Callable[..., Any]


def printed(folder: Path, command: str) -> Any:
    """Returns the output of a command, of those with JSON as data."""
    result = CliRunner().invoke(app, [*command.split(), "--dir", str(folder)])
    assert result.exit_code == 0, result.output
    return result.stdout if command.startswith("why") else json.loads(result.stdout)


def show(page: Any, view: str, **parameters: str) -> None:
    """Shows a view, as a link to it does, and waits until it is drawn."""
    page.evaluate("() => document.documentElement.removeAttribute('data-drawn')")
    go(page, view, **parameters)
    page.locator(f"html[data-drawn={view}]").wait_for(state="attached")


def go(page: Any, view: str, **parameters: str) -> None:
    """Opens the address of a view, and does not wait for it."""
    words = "".join(f"&{name}={value}" for name, value in parameters.items())
    page.evaluate("words => { location.hash = words; }", f"#view={view}{words}&now={time.monotonic_ns()}")


def table(page: Any, caption: str) -> list[dict[str, Any]]:
    """Returns the full values of a table on the page, as they are in its cells."""
    rows = page.locator(f"[aria-label='{caption}'] tbody tr")
    script = "rows => rows.map(row => [...row.cells].map(cell => [cell.dataset.column, cell.dataset.value ?? 'null']))"
    return [{name: json.loads(value) for name, value in row} for row in rows.evaluate_all(script)]
