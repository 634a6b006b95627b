from __future__ import annotations

import pytest
from paper_study import Script, begin, make_spec, play


@pytest.fixture
def paper() -> Script:
    return play()


@pytest.fixture
def empty() -> Script:
    return begin(make_spec())
