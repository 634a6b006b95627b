"""Pages of the guide that promise something which can be checked without building it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
HEADINGS = re.findall(r"^## `(.+)`$", (DOCS / "faq.md").read_text("utf-8"), re.MULTILINE)


def strings_of_the_package() -> list[str]:
    """Returns the texts in the code, with " ... " for each value that is filled in; docstrings are left out."""
    found = []
    for path in (ROOT / "lightning_hwtune").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "..." for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inside:
                found.append(node.value)
    return found


@pytest.fixture(scope="module")
def strings() -> list[str]:
    return strings_of_the_package()


def occurs(heading: str, strings: list[str]) -> bool:
    """Return whether a text of the package has the pieces of a heading, in their order."""
    pattern = re.compile(".*".join(map(re.escape, re.split(r"\s*\.\.\.\s*", heading))), re.DOTALL)
    return any(pattern.search(text) for text in strings)


def test_the_headings_of_errors_are_many() -> None:
    assert len(HEADINGS) >= 15


@pytest.mark.parametrize("heading", HEADINGS)
def test_the_heading_of_an_error_is_a_text_of_the_package(heading: str, strings: list[str]) -> None:
    assert occurs(heading, strings)


def test_an_error_of_another_program_is_not_found(strings: list[str]) -> None:
    assert not occurs("the objective ... was never observed", strings)
