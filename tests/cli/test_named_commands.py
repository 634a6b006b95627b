"""Every command that a message names exists, and finds the study that the message is about."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command

import lightning_hwtune
from lightning_hwtune.cli.commands import app
from lightning_hwtune.views.study_location import STUDY_COMMANDS

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
PACKAGE = Path(lightning_hwtune.__file__).parent
NAMED = re.compile(r"`hwtune ([a-z][^`]+)`")


def named() -> list[tuple[str, str]]:
    """Return each command in a string of the package, except docstrings, with the name of its module."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        documents = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "7" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
                text = node.value
            else:
                continue
            found += [(path.name, words) for words in NAMED.findall(text)]
    return sorted(set(found))


def test_commands_are_named() -> None:
    assert ("next_action.py", "logs 7") in named()


@pytest.mark.parametrize(("module", "words"), named())
def test_a_named_command_exists_and_takes_these_arguments(module: str, words: str) -> None:
    name, *given = words.split()
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    passes_options_on = COMMANDS[name].context_settings.get("ignore_unknown_options", False)  # sbatch
    assert passes_options_on or {word for word in given if word.startswith("-")} <= options


def test_the_commands_about_a_stored_study_are_known() -> None:
    by_option = {
        name
        for name, command in COMMANDS.items()
        if any("--study" in parameter.opts for parameter in command.params) and name not in ("cli-tune", "prior")
    }
    assert {*STUDY_COMMANDS} == by_option | {"replicate"}  # which takes the study without an option
