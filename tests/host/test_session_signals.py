"""When a signal acts, and when it waits."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from lightning_hwtune.host.session_signals import ENDING, Signals, cause_of


@pytest.fixture(autouse=True)
def handlers_come_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    yield
    after = {number: signal.getsignal(number) for number in before}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


def interrupt(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def test_inside_it_acts_at_once() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Signals() as signals, signals.acting():  # noqa: PT012
        interrupt()
        done.append("not reached")
    assert not done


def test_before_it_acts_when_the_block_begins() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Signals() as signals:  # noqa: PT012
        interrupt()
        done.append("opened")
        with signals.acting():
            done.append("not reached")
    assert done == ["opened"]


def test_after_it_acts_when_everything_is_closed() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Signals() as signals:  # noqa: PT012
        with signals.acting():
            done.append("trained")
        interrupt()
        done.append("closed")
    assert done == ["trained", "closed"]


def test_a_second_one_does_not_disturb_the_cleaning_up_of_the_first() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Signals() as signals:  # noqa: PT012
        try:
            with signals.acting():
                interrupt()
        finally:
            interrupt()
            done.append("closed")
    assert done == ["closed"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_what_ends_a_process_is_an_exit_in_order(number: signal.Signals, code: int) -> None:
    with pytest.raises(SystemExit) as caught, Signals() as signals, signals.acting():
        interrupt(number)
    assert caught.value.code == code


def test_a_handler_of_the_users_own_is_asked() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with Signals() as signals, signals.acting():
            interrupt(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGINT, *ENDING])  # SIGHUP: under nohup
def test_a_signal_that_is_ignored_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Signals() as signals, signals.acting():
            interrupt(number)
    finally:
        signal.signal(number, before)


def test_an_error_goes_before_a_late_signal() -> None:
    with pytest.raises(ValueError, match="first"), Signals():  # noqa: PT012
        interrupt()
        raise ValueError("first")


def test_outside_the_main_thread_nothing_is_touched() -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with Signals() as signals, signals.acting():
                assert signal.getsignal(signal.SIGINT) is before
        except BaseException as error:
            failed.append(error)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (KeyboardInterrupt(), "ended by Ctrl-C"),
        (SystemExit(128 + signal.SIGTERM), "ended by SIGTERM"),
        (SystemExit(128 + signal.SIGHUP), "ended by SIGHUP"),
        (SystemExit(3), "the program exited with status 3"),
        (SystemExit(), "the program exited with status 0"),
        (SystemExit("no data"), "the program exited: no data"),
        (ValueError("a bug"), ""),
    ],
)
def test_the_cause_of_an_end_in_words(error: BaseException, cause: str) -> None:
    assert cause_of(error) == cause
