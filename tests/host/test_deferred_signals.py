from __future__ import annotations

import os
import signal
import threading

import pytest

from lightning_hwtune.host.deferred_signals import is_signal_deferred, uninterrupted


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def _default_handler() -> object:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler  # whatever happened, it is back


def test_the_block_runs_to_its_end_first() -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            ctrl_c()
            done.append("inner")
        done.append("behind it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner"]


def test_nested_blocks_wait_for_the_outer_one() -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            with uninterrupted():
                ctrl_c()
            done.append("outer")
        done.append("behind it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["outer"]
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


def test_an_error_in_the_block_does_not_swallow_it() -> None:
    def work() -> None:
        with uninterrupted():
            ctrl_c()
            raise ValueError("inner")

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert isinstance(caught.value.__context__, ValueError)


def test_without_one_nothing_happens() -> None:
    with pytest.raises(ValueError, match="inner"), uninterrupted():
        raise ValueError("inner")
    with uninterrupted():
        pass


def test_sigterm_waits_too_and_both_handlers_come_back() -> None:
    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    def work() -> None:
        with uninterrupted():
            ctrl_c()
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("inner")

    before, done = signal.signal(signal.SIGTERM, end), []
    try:
        with pytest.raises(SystemExit) as caught:
            work()
        assert caught.value.code == 143
        assert isinstance(caught.value.__context__, KeyboardInterrupt)
        assert done == ["inner"]
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ignored_signals_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with uninterrupted():
            ctrl_c()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_may_use_it() -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            done.append("thread")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["thread"]


def test_a_long_wait_inside_can_see_that_a_signal_is_deferred() -> None:
    seen = []

    def work() -> None:
        with uninterrupted():
            seen.append(is_signal_deferred())
            with uninterrupted():
                ctrl_c()
                seen.append(is_signal_deferred())

    with pytest.raises(KeyboardInterrupt):
        work()
    with uninterrupted():
        seen.append(is_signal_deferred())
    assert seen == [False, True, False]
    assert not is_signal_deferred()
