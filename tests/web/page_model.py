"""What the page has after its messages, without a browser: the same rules as `web/page/study.js`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class PageModel:
    """The trials, curves, segments and answers of one page."""

    def __init__(self, overview: str) -> None:
        self.trials: dict[int, Any] = {}
        self.curves: dict[int, Any] = {}
        self.segments: dict[tuple[int, int], Any] = {}
        self.answers: dict[str, Any] = {}
        self.number = 0
        self.apply(overview)

    def apply(self, text: str) -> None:
        """Applies a message."""
        message = json.loads(text)
        for row in message.get("trials", ()):
            self.trials[row[0]] = row
        for row in message.get("curves", ()):
            self.curves[row[0]] = row
        for row in message.get("segments", ()):
            self.segments[row[0], row[1]] = row
        self.answers |= {
            name: message[name] for name in ("about", "front", "ledger", "plan", "status") if name in message
        }
        self.number = message["number"]

    def entries(self) -> list[dict[str, Any]]:
        """Returns the trials as the page has them."""
        return [entry_of(row, self.answers["about"]) for _, row in sorted(self.trials.items())]


def entry_of(row: list[Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entry of a trial from its array."""
    objectives = [item["name"] for item in about["objectives"]]
    names = {"objectives": objectives, "constraints": about["constraints"], "config": about["parameters"]}
    entry = {}
    for key, value in zip(about["trial_keys"], row, strict=True):
        entry[key] = dict(zip(names[key], value, strict=True)) if key in names and isinstance(value, list) else value
    return entry
