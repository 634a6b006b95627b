"""A real Chromium, and pages that may not log an error or ask another server."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
sys.path.insert(0, str(Path(__file__).parents[1] / "stored_logs"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one study that has ended."""
    from stored_study import store

    found = tmp_path_factory.mktemp("studies")
    store(found, "digits", 30, failing={11}, diverging={4}, finishers=4)
    return found


@pytest.fixture(scope="session")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The server of this folder."""
    from served_studies import served

    with served(folder, tmp_path_factory.mktemp("state")) as found:
        yield found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages. At the end, none of them has logged an error or asked another server than its own."""
    faults: list[str] = []
    with contextlib.ExitStack() as stack:

        def new(address: str, *, may_lose: bool = False, may_refuse: bool = False, **options: Any) -> Any:
            context = browser.new_context(viewport={"width": 1100, "height": 800}, **options)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(60_000)  # a loaded machine
            own = address.split("?")[0].rsplit("/", 1)[0]

            def logged(message: Any) -> None:
                is_loss = may_lose and re.search("ERR_(CONNECTION_|INCOMPLETE_CHUNKED|EMPTY_RESP)", message.text)
                is_refusal = may_refuse and "status of 400" in message.text
                if message.type in ("error", "warning") and not is_loss and not is_refusal:
                    faults.append(f"{message.type}: {message.text}")

            page.on("console", logged)
            page.on("pageerror", lambda error: faults.append(f"error: {error}"))
            page.on(
                "request",
                lambda request: faults.append(request.url) if not request.url.startswith((own, "data:")) else None,
            )
            page.goto(address)
            return page

        yield new
        assert not faults
