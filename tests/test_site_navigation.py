"""The navigation of the site and the links of its pages: two clicks lead to what Optuna users look for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
HOME = DOCS / "index.md"
TOPICS = {
    "conditional spaces": r"condition",
    "constraints": r"constraint",
    "importance": r"importance|what matters",
    "Slurm": r"slurm",
    "resume": r"\bresum",
    "why did it stop": r"why did .*\bstop",
}  # what the reader looks for -> the words that lead to it
LINK = re.compile(r"\[([^]]*)\]\(([^)\s]*?\.md)?(?:#([\w-]+))?\)")


class Click(NamedTuple):
    """What a reader can click: the text around it, and the page and heading where it leads; no heading is the top."""

    label: str
    page: Path
    anchor: str | None = None


def text(page: Path) -> str:
    """Returns a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def slug(heading: str) -> str:
    """Returns the anchor of a heading, as Python-Markdown makes it."""
    plain = unicodedata.normalize("NFKD", re.sub(r"\]\([^)]*\)|[`*\[]", "", heading)).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def headings(page: Path) -> dict[str, str]:
    """Returns the headings of a page by their anchors, the title first."""
    return {slug(heading): heading for heading in re.findall(r"^#{1,4} (.+)$", text(page), re.MULTILINE)}


def links(page: Path) -> Iterator[Click]:
    """Yields the links of a page to pages of the guide; a label is the row of a table, or else the text of the link."""
    for line in re.split(r"\n(?=\||- |\d\. )|\n\s*\n", text(page)):
        for label, target, anchor in LINK.findall(line):
            shown = line if line.startswith("|") else label
            yield Click(shown, (page.parent / target).resolve() if target else page, anchor or None)


def navigation(entries: list[Any]) -> Iterator[Click]:
    """Yields the entries of the navigation, which each page of the site shows."""
    for entry in entries:
        for label, target in entry.items() if isinstance(entry, dict) else [("", entry)]:
            if isinstance(target, list):
                yield from navigation(target)
            else:
                yield Click(label, DOCS / target)


def first_clicks() -> list[Click]:
    """Returns what the home page offers: the navigation, and its own links."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    return [*navigation(nav), *links(HOME)]


def second_clicks(page: Path) -> list[Click]:
    """Returns what a page offers: its links, and its table of contents."""
    return [*links(page), *(Click(heading, page, anchor) for anchor, heading in headings(page).items())]


def ways(words: str) -> list[tuple[Click, ...]]:
    """Returns the ways of at most two clicks to a heading with these words.

    The reader follows a label only if it has the words or, at the first click, the name of Optuna.
    """
    has = re.compile(words, re.IGNORECASE).search
    begun = [click for click in first_clicks() if has(click.label) or "Optuna" in click.label]
    tried: list[tuple[Click, ...]] = [(click,) for click in begun]
    tried += [(click, then) for click in begun for then in second_clicks(click.page) if has(then.label)]
    return [way for way in tried if has(heading_of(way[-1]))]


def heading_of(click: Click) -> str:
    """Returns the heading that the reader sees after a click."""
    found = headings(click.page)
    return next(iter(found.values())) if click.anchor is None else found.get(click.anchor, "")


@pytest.mark.parametrize("topic", TOPICS)
def test_a_reader_who_knows_optuna_finds_it_in_two_clicks(topic: str) -> None:
    assert ways(TOPICS[topic])


@pytest.mark.parametrize("topic", TOPICS)
def test_the_page_for_readers_who_know_optuna_leads_to_it(topic: str) -> None:
    page = DOCS / "coming-from-optuna.md"
    assert any(way[0].page == page and len(way) == 2 for way in ways(TOPICS[topic]))


def test_what_the_guide_does_not_have_is_not_found() -> None:
    assert not ways(r"wilcoxon")


@pytest.mark.parametrize("page", [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"], ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_to_headings(page: Path) -> None:
    for click in links(page):
        assert click.page.is_file(), click
        generated = "<!-- generated" in click.page.read_text("utf-8") or click.page == DOCS / "api.md"
        assert generated or click.anchor is None or click.anchor in headings(click.page), click
