"""What MkDocs does while it builds the site: fills in what is read from the code, and lists every page.

A page has `<!-- generated: NAME -->` in place of the text of that name, and `<!-- source: PATH -->` in place of a file
of the repository. What is generated this way is not stored in the repository, so it cannot fall behind the code.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lightning_hwtune.apps.hydra.node import HWTUNE_KEYS, SWEEPER_KEYS
from lightning_hwtune.forms.settings import Setting
from lightning_hwtune.names.keywords import KEYWORDS

__all__ = ["GENERATED", "on_config", "on_page_markdown"]

_MARK = re.compile(r"<!-- generated: (.+) -->")
_SOURCE = re.compile(r"<!-- source: (.+) -->")
_ROOT = Path(__file__).parents[1]


def on_config(config: Any) -> None:
    """Puts pages that the navigation does not list at its end, so that none is lost; MkDocs calls it first."""
    listed, folder = str(config.nav), Path(config.docs_dir)
    pages = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))
    config.nav = [*config.nav, *(page for page in pages if f"'{page}'" not in listed)]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Returns the page with each mark replaced by its text; MkDocs calls it for every page.

    Raises:
        KeyError: a mark names nothing that is generated.
        OSError: a mark names no file.
    """
    markdown = _SOURCE.sub(lambda found: _shown(found[1]), markdown)
    return _MARK.sub(lambda found: GENERATED[found[1]](), markdown)


def _shown(path: str) -> str:
    """Returns a source file of the repository as a block."""
    return f'```python title="{path}"\n{(_ROOT / path).read_text(encoding="utf-8")}```'


def commands() -> str:
    """Returns a section for each command of `hwtune`, as Typer writes them."""
    told = [sys.executable, "-m", "typer", "lightning_hwtune.cli.commands", "utils", "docs", "--name", "hwtune"]
    text = subprocess.run(told, check=True, capture_output=True, text=True).stdout
    text = re.sub(r"^\* `([\w-]+)`: .*\.\.\.$", lambda found: _whole_line(found[1], text), text, flags=re.MULTILINE)
    return text.partition("\n")[2]  # without its title: the page has one


def _whole_line(command: str, text: str) -> str:
    """Returns the line of a command in the list with its whole first paragraph, which Typer cuts."""
    section = re.split(rf"^##+ `hwtune (?:[\w-]+ )?{command}`\n\n", text, flags=re.MULTILINE)[1]
    first = section.partition("\n\n")[0]
    return f"* `{command}`: {' '.join(first.split())}"


def key_table(keys: Mapping[str, Setting]) -> str:
    """Returns the keys of a node of the Hydra sweeper, with their defaults and meanings."""
    rows = [f"| `{name}` | `{_written(item)}` | {_meaning(item)} |" for name, item in keys.items()]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def habit_table() -> str:
    """Returns what other tools call things, and what the answer to it is."""
    rows = [f"| `{name}` | {_cell(text)} |" for name, text in sorted(KEYWORDS.items())]
    return "\n".join(["| elsewhere | here |", "|---|---|", *rows])


def _cell(text: str) -> str:
    """Plain text in a table; braces at its end would be taken for attributes."""
    return html.escape(text, quote=False).replace("|", "\\|").replace("{", "&#123;")


def _meaning(item: Setting) -> str:
    return item.file_doc.replace("|", "\\|")


def _written(item: Setting) -> str:
    """The default as YAML has it."""
    value = list(item.default) if isinstance(item.default, tuple) else item.default
    return str(yaml.safe_dump(value, default_flow_style=True)).removesuffix("...\n").strip()


GENERATED: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "keys of the sweeper": lambda: key_table(SWEEPER_KEYS),
    "keys of hwtune": lambda: key_table(HWTUNE_KEYS),
    "names of other tools": habit_table,
}
