"""Settings for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# a shell that starts the tests in the background has them, and every process they start, ignore Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)

# no time limit for a single example: a loaded machine must not turn a property into a failure
settings.register_profile("hwtune", deadline=None)
settings.load_profile("hwtune")
