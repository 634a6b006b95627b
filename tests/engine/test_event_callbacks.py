"""Callbacks get every stored event, delay nothing, and cannot end a study."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from study_bench import of_kind, run, small_study
from study_functions import plain

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.engine.event_callbacks import EventCallbacks


def notes(study: hwt.Study) -> list[str]:
    return [event.text for event in of_kind(study, ev.Noted)]


def test_every_event_arrives_once_in_order_and_after_it_is_stored(tmp_path: Path) -> None:
    seen: list[ev.Event] = []
    missing: list[ev.Event] = []
    threads = set()

    def collect(event: ev.Event) -> None:
        threads.add(threading.current_thread().name)
        if event not in hwt.Study.load("study", dir=tmp_path).events():
            missing.append(event)
        seen.append(event)

    study = small_study(tmp_path)
    run(study, plain, max_trials=4, executor="inline", callbacks=[collect])
    assert seen == study.events()
    assert isinstance(seen[-1], ev.SessionClosed)
    assert missing == []
    assert len(threads) == 1
    assert threading.current_thread().name not in threads
    seen.clear()
    run(study, plain, max_trials=4, executor="inline", callbacks=[collect])  # nothing is left to do
    assert seen == study.events()[-len(seen) :]
    assert [type(event) for event in seen] == [ev.SessionOpened, ev.SessionClosed]


def test_one_that_raises_is_reported_once_and_gets_further_events(tmp_path: Path) -> None:
    n_seen = 0

    def broken(event: ev.Event) -> None:
        nonlocal n_seen
        n_seen += 1
        raise SystemExit("no mail server")

    study = small_study(tmp_path)
    with pytest.warns(UserWarning, match=r"broken failed for \d+ events in all"):
        run(study, plain, max_trials=4, executor="inline", callbacks=[broken])
    assert n_seen == len(study.events())
    found = [text for text in notes(study) if "callback" in text]
    assert len(found) == 1
    assert "broken failed for a StudyCreated event: SystemExit: no mail server. The study continues" in found[0]
    assert study.state().closed.state == "finished"


@pytest.mark.slow
def test_one_that_sleeps_for_a_minute_delays_neither_the_study_nor_its_end(tmp_path: Path) -> None:
    released = threading.Event()

    def sleepy(event: ev.Event) -> None:
        released.wait(60.0)

    study, began = small_study(tmp_path), time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(study, plain, max_trials=4, executor="inline", callbacks=[sleepy])
    released.set()
    assert time.monotonic() - began < 50.0
    assert study.state().closed.state == "finished"
    found = [str(item.message) for item in caught if "sleepy" in str(item.message)]
    assert len(found) == 1
    assert re.search(r"was still busy 5 s after the session, so \d+ events were cut off", found[0])


def test_a_full_queue_drops_the_newest_events_and_says_so(tmp_path: Path) -> None:
    began, released, seen = threading.Event(), threading.Event(), []

    def slow(event: ev.Event) -> None:
        began.set()
        released.wait(30.0)
        seen.append(event)

    sent = [ev.Noted(at=float(n), trial_id=None, text=str(n)) for n in range(10)]
    written: list[str] = []

    class Notes:
        def note_once(self, text: str, topic: str, now: float) -> None:
            written.append(text)

    callbacks = EventCallbacks([slow], most_waiting=3).__enter__()
    callbacks.on_events(sent[:1])
    assert began.wait(30.0)
    callbacks.on_events(sent[1:])
    callbacks.tick(Notes(), 0.0)  # type: ignore[arg-type]
    callbacks.tick(Notes(), 0.0)  # type: ignore[arg-type]
    released.set()
    with pytest.warns(UserWarning, match="did not get 6 events, because its queue was full"):
        callbacks.__exit__(None, None, None)
    assert [event.at for event in seen] == [0.0, 1.0, 2.0, 3.0]
    assert len(written) == 1
    assert "is too slow: 3 events wait for it" in written[0]


def test_ask_and_tell(tmp_path: Path) -> None:
    seen: list[ev.Event] = []
    study = small_study(tmp_path)
    while (trial := study.ask(max_trials=2, progress=False, callbacks=[seen.append])) is not None:
        plain(trial)
        study.tell(trial)
    assert seen == study.events()


def test_an_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_event_hooks.py").write_text("seen = []\n\n\ndef notify(event):\n    seen.append(event)\n")
    monkeypatch.syspath_prepend(tmp_path)
    study = small_study(tmp_path)
    run(study, plain, max_trials=2, executor="inline", callbacks=["my_event_hooks:notify"])
    import my_event_hooks  # type: ignore[import-not-found]

    assert my_event_hooks.seen == study.events()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (print, "list of functions"),
        ("my_hooks:notify", "list of functions"),
        ([lambda: None], "cannot be called with one argument"),
        ([int], "list of functions"),
        ([3], "list of functions"),
        (["no_module_of_this_name:notify"], "There is no module 'no_module_of_this_name'"),
        (["textwrap:shorte"], "a function of textwrap; did you mean 'shorten'"),
        (["os"], "list of functions"),
    ],
)
def test_wrong_callbacks_are_refused_before_anything_is_written(tmp_path: Path, given: Any, message: str) -> None:
    study = small_study(tmp_path)
    with pytest.raises(hwt.ArgumentError, match=message):
        run(study, plain, max_trials=2, executor="inline", callbacks=given)
    assert not os.path.exists(study.dir)
