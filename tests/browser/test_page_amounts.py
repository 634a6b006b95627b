"""The page shows amounts with the digits of the commands."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright")
from page_actions import Opened
from served_studies import Served

from lightning_hwtune.views.amounts import duration, money

pytestmark = pytest.mark.slow

SECONDS = [0.0, 0.004, 0.0099, 0.01, 0.55, 2.0, 9.94, 9.96, 9.999, 10.5, 11.5, 59.4, 59.6, 60, 89.5, 90.5, 1034.7,
           3599.4, 3599.6, 3600, 7199.7, 86399.6, 86400, 100000.5]  # fmt: skip
DOLLARS = [0.0, 0.00038123, 0.0955, 0.5, 0.996, 1.0, 1.006, 12.3, 12345.678]


def test_the_page_rounds_as_the_commands_do(opened: Opened, server: Served) -> None:
    page = opened(server.address)
    page.wait_for_function("window.hw !== undefined || typeof hw !== 'undefined'")
    assert page.evaluate("seconds => seconds.map(one => hw.duration(one))", SECONDS) == list(map(duration, SECONDS))
    shown = page.evaluate("dollars => dollars.map(one => hw.dollars(one))", DOLLARS)
    assert [float(text.removeprefix("$")) for text in shown] == [
        float(re.sub(r" USD$", "", money(usd))) for usd in DOLLARS
    ]
