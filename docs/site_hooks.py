"""What MkDocs does while it builds the site: fills in what is read from the code.

A page holds `<!-- generated: NAME -->` where the text of that name belongs. What is generated this way is not stored in
the repository, so it cannot fall behind the code.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["GENERATED", "on_page_markdown"]

_MARK = re.compile(r"<!-- generated: (.+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Returns the page with each mark replaced by its text; MkDocs calls it for every page.

    Raises:
        KeyError: a mark names nothing that is generated.
    """
    return _MARK.sub(lambda found: GENERATED[found[1]](), markdown)


def commands() -> str:
    """Returns a section for each command of `hwtune`, as Typer writes them."""
    told = [sys.executable, "-m", "typer", "lightning_hwtune.entry.cli", "utils", "docs", "--name", "hwtune"]
    text = subprocess.run(told, check=True, capture_output=True, text=True).stdout
    return text.partition("\n")[2]  # without its title: the page has one


GENERATED: Mapping[str, Callable[[], str]] = {"commands": commands}
