"""What MkDocs does while it builds the site: fills in what is read from the code, and lists every page.

A page holds `<!-- generated: NAME -->` where the text of that name belongs. What is generated this way is not stored in
the repository, so it cannot fall behind the code.
"""

from __future__ import annotations

import dataclasses
import html
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra_plugins.hwtune_sweeper import HwtuneConf, HwtuneSweeperConf

from lightning_hwtune.names.keywords import KEYWORDS

__all__ = ["GENERATED", "on_config", "on_page_markdown"]

_MARK = re.compile(r"<!-- generated: (.+) -->")


def on_config(config: Any) -> None:
    """Puts pages that the navigation does not list at its end, so that none is lost; MkDocs calls it first."""
    listed, folder = str(config.nav), Path(config.docs_dir)
    pages = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))
    config.nav = [*config.nav, *(page for page in pages if f"'{page}'" not in listed)]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Returns the page with each mark replaced by its text; MkDocs calls it for every page.

    Raises:
        KeyError: a mark names nothing that is generated.
    """
    return _MARK.sub(lambda found: GENERATED[found[1]](), markdown)


def commands() -> str:
    """Returns a section for each command of `hwtune`, as Typer writes them."""
    told = [sys.executable, "-m", "typer", "lightning_hwtune.cli.commands", "utils", "docs", "--name", "hwtune"]
    text = subprocess.run(told, check=True, capture_output=True, text=True).stdout
    return text.partition("\n")[2]  # without its title: the page has one


def key_table(node: type) -> str:
    """Returns the keys of a node of the Hydra sweeper, with their defaults and the comments above them."""
    fields = {item.name: item for item in dataclasses.fields(node)}
    rows = [f"| `{name}` | `{_written(fields[name])}` | {text} |" for name, text in _comments(node)]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def habit_table() -> str:
    """Returns what other tools call things, and what the answer to it is."""
    rows = [f"| `{name}` | {_cell(text)} |" for name, text in sorted(KEYWORDS.items())]
    return "\n".join(["| elsewhere | here |", "|---|---|", *rows])


def _comments(node: type) -> Iterator[tuple[str, str]]:
    """Yields each field below a comment with its text; neighbours share it, except a node in the node."""
    for comment, below in re.findall(r"((?: +# .*\n)+)((?: +\w+: .*\n)+)", inspect.getsource(node)):
        text = " ".join(line.strip(" #") for line in comment.splitlines())
        for name in re.findall(r"^ +(\w+): (?!HwtuneConf)", below, re.MULTILINE):
            yield name, _cell(text)


def _cell(text: str) -> str:
    """Plain text in a table; braces at its end would be taken for attributes."""
    return html.escape(text, quote=False).replace("|", "\\|").replace("{", "&#123;")


def _written(item: dataclasses.Field[Any]) -> str:
    """The default of a field as YAML has it."""
    value = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


GENERATED: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "keys of the sweeper": lambda: key_table(HwtuneSweeperConf),
    "keys of hwtune": lambda: key_table(HwtuneConf),
    "names of other tools": habit_table,
}
