"""The words are plain English: pages, docstrings, comments and messages have none of the habits of CONTRIBUTING.md."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HABITS = {
    r"\b(go(es|ing)?|went) on\b": "continue, resume, is promoted",
    r"\bTells whether\b": "Return whether",
    r"\bof (its|their|his|one's) own accord\b": "by itself",
    r"\bof one's own\b": "your own",
    r"\bwhole numbers?\b": "a positive integer",
    r"\b(one|process|number|point|parameter|value|seed|folder|file|entry) an? "
    r"(rank|trial|segment|objective|epoch|study|device|host|key|name|process)\b(?!')": "per",
    r"\bone \w+ an? (rank|trial|segment|objective|epoch|device|key|name)\b(?!')": "per",
    r"(?<!there )\b(is|are|was|were) no (?!longer\b|more\b|less\b|such\b|\w+er\b)[a-z]+": "is not a ...",
    r"\b(come|comes|came|coming) to (a|an|the|this|that|its|their|each|every|one) (rung|level|end)\b": "reach",
    r"\bwhere (an?|one of|the|numbers?) [^.,;]{0,30}belongs?\b": "instead of",
    r"\b(is|are|was|were|be) told\b": "is reported, logged, printed",
    r"\bbeside\b": "in addition to, next to",
    r"\bwhoever\b": "the process that, the user who",
    r"\bunless given\b": "default:",
    r"\bfor ever\b": "for good, permanently",
    r"\b(anew|afresh)\b": "again",
    r"\bgives? way\b": "yields, is replaced",
    r"\bsigns? of life\b": "heartbeat",
    r"\bdear(er|est)?\b": "expensive",
    r"\b(nobody|somebody|everybody|anybody|someone|everyone)\b": "no trial, every process, the user",
    r"\bof (its|their|our) own(?=\W*$|[.,;:)])": "its own ..., separate ...",
    r"\bcom(e|es|ing) to (rank|be|stand|know)\b": "ranks later",
    r"\bknows? (nothing|no)\b": "does not use, has no data of",
    r"\bkeeps? to\b": "follows, obeys",
    r"\bhears?\b": "receives, reacts to",
    r"\bat one (time|moment)\b": "at a time, at the same time",
    r"\botherwise than\b": "differs from",
    r"\btell(s|ing)? .{1,40} (apart|from)\b|\btold (otherwise|apart|by)\b": "distinguishes, reports",
    r"\bshould (it|they|this) \w+": "if it ...",
}  # pattern -> what to write instead


def _pages() -> Iterator[tuple[str, int, str]]:
    """Yields file, line and text of every line of the pages, code left out."""
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "gpu-check").glob("*.md")):
        whole = path.read_text(encoding="utf-8")
        whole = re.sub(r"^## Words\n.*?^## ", lambda found: "\n" * found[0].count("\n"), whole, flags=re.S | re.M)
        text = re.sub(r"```.*?```|`[^`\n]*`", lambda found: "\n" * found[0].count("\n"), whole, flags=re.S)
        yield from ((str(path.relative_to(ROOT)), number, line) for number, line in enumerate(text.splitlines(), 1))


def _code() -> Iterator[tuple[str, int, str]]:
    """Yields file, line and text of every docstring and comment, those of the tests included."""
    for folder in ("lightning_hwtune", "models", "datamodules", "tests", "benchmarks", "docs"):
        for path in sorted(set((ROOT / folder).rglob("*.py")) - {Path(__file__)}):
            name, source = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
            for token in tokenize.generate_tokens(io.StringIO(source).readline):
                if token.type == tokenize.COMMENT:
                    yield name, token.start[0], token.string
            for node in ast.walk(ast.parse(source)):
                text = node.value.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) else None
                if isinstance(text, str):
                    lines = re.sub(r"`[^`]*`", "", text).splitlines()
                    yield from ((name, node.lineno + i, line) for i, line in enumerate(lines))


def _literals() -> Iterator[tuple[str, int, str]]:
    """Yields file, line and text of every string of the package that has several words, such as a message."""
    for folder in ("lightning_hwtune", "models", "datamodules"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name, tree = str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))
            prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.expr) and id(node) not in prose and " " in (text := _text(node)).strip():
                    yield name, node.lineno, text


def _text(node: ast.expr) -> str:
    """Returns the text of a string, with "..." for each value that an f-string inserts; empty for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "..." for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@functools.cache
def _prose() -> list[tuple[str, int, str]]:
    return [*_pages(), *_code(), *_literals()]


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.slow
def test_no_page_docstring_or_message_has_the_habit(habit: str) -> None:
    pattern = re.compile(habit, re.IGNORECASE)
    found = [f"{name}:{number}: {line.strip()}" for name, number, line in _prose() if pattern.search(line)]
    assert not found, f"write instead: {HABITS[habit]}\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("habit", "text"),
    list(
        zip(
            HABITS,
            [
                "it goes on", "Tells whether it is", "ends of its own accord", "a loop of one's own",
                "a whole number from 1", "one process a rank", "one value a key", "is no point of the space",
                "came to its rung", "7, where a text belongs", "is told once", "None beside it",
                "whoever runs it", "all unless given", "stops for ever", "drawn anew", "gives way", "a sign of life",
                "the dearer one", "nobody waits", "a process of its own", "if it comes to rank first",
                "it knows nothing of us", "what it keeps to", "it hears the verdict", "two at one time",
                "ends otherwise than before", "tells one from the other", "should it fail",
            ],
            strict=True,
        )
    ),
)  # fmt: skip
def test_a_habit_is_found(habit: str, text: str) -> None:
    assert re.search(habit, text, re.IGNORECASE)
