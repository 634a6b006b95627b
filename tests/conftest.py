"""Settings for all tests."""

from __future__ import annotations

from hypothesis import settings

# no time limit for a single example: a loaded machine must not turn a property into a failure
settings.register_profile("hwtune", deadline=None)
settings.load_profile("hwtune")
