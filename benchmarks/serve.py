"""What the page of a large study costs: how soon it is drawn, how soon it shows an event, and the server's CPU.

A simulated study with eight devices; the last events of its log are written while the page is open, and the process
that writes has the study's lease, so that the server also makes forecasts. Chromium opens the page. Prints one JSON
object; run it on a quiet machine:

    python benchmarks/serve.py [--trials 20000] [--seconds 30] [--seed 0]

first_start_s: from the first request until the page of a log that no command has read yet is drawn; not among the
figures, because it happens once. first_paint_s: the same when the server already watches the study, median of three.
event_to_page_s: from the commit of one event until the page has drawn it, median of ten. cpu_idle_share and
cpu_50_events_share: CPU time of the server over wall time with one page open, without events and with 50 per second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Page, sync_playwright
from reading import simulated_events, write

import lightning_hwtune
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.store.log import EventLog

__all__ = ["figures", "measure"]

NAME, PER_SECOND, BEAT_S = "reading", 50, 5.0
FIGURES = ("first_paint_s", "event_to_page_s", "cpu_idle_share", "cpu_50_events_share")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each CPU measurement")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder), arguments.trials, arguments.seconds, arguments.seed)
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    result = {"figures": figures(measured), "measured": measured, "machine": platform.platform(), "versions": versions}
    print(json.dumps({**result, "seeds": [arguments.seed]}, indent=1))


def figures(measured: dict[str, Any]) -> dict[str, float]:
    """Returns the headline numbers."""
    return {name: measured[name] for name in FIGURES}


def measure(folder: Path, n_trials: int, seconds: float, seed: int) -> dict[str, Any]:
    """Makes the study in `folder`, serves it and opens its page."""
    events = simulated_events(n_trials, seed)
    kept = len(events) - round(PER_SECOND * seconds) - 200
    write(folder, NAME, events[:kept])
    found: dict[str, Any] = {"trials": n_trials, "events": len(events)}
    with EventLog.open(StudyFiles(folder, NAME), create=True) as log, Lease(log).acquire(time.time()) as lease:
        log.count()
        with server(folder) as (address, process), chromium() as browser:
            found["first_start_s"] = round(open_s(browser, address)[0], 2)
            time.sleep(3.0)
            lease.renew(time.time())
            found["first_paint_s"] = round(statistics.median(open_s(browser, address)[0] for _ in range(3)), 2)
            _, page = open_s(browser, address, keep=True)
            assert page is not None
            time.sleep(3.0)
            lease.renew(time.time())
            found["cpu_idle_share"] = round(cpu_share(process, seconds, lambda: time.sleep(seconds)), 4)
            lease.renew(time.time())
            position, taken = kept, []
            for _ in range(10):
                log.append(events[position : position + 1])
                position += 1
                taken.append(shown_s(page, position))
                time.sleep(0.7)
            found["event_to_page_s"] = round(statistics.median(taken), 2)
            found["event_to_page_max_s"] = round(max(taken), 2)

            def feed() -> None:
                nonlocal position
                begun = beat_at = time.monotonic()
                while (passed := time.monotonic() - begun) < seconds:
                    due = min(kept + 10 + round(PER_SECOND * passed), len(events))
                    log.append(events[position:due])
                    position = due
                    if time.monotonic() - beat_at > BEAT_S:
                        lease.renew(time.time())
                        beat_at = time.monotonic()
                    time.sleep(0.1)

            found["cpu_50_events_share"] = round(cpu_share(process, seconds, feed), 4)
            found["catch_up_s"] = round(shown_s(page, position), 2)
            found["server_memory_mb"] = round(process.memory_info().rss / 1e6)
            heap = page.evaluate("performance.memory ? performance.memory.usedJSHeapSize : 0")
            found["page_memory_mb"] = round(heap / 1e6)
            page.context.close()
    return found


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Starts `hwtune serve`; returns the address of the page and the process."""
    command = [sys.executable, "-m", "lightning_hwtune", "serve", "--dir", str(folder), "--port", "0"]
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        if found is None:
            raise RuntimeError("the server did not start")
        yield found[0], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Starts a headless Chromium."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_s(browser: Browser, address: str, *, keep: bool = False) -> tuple[float, Page | None]:
    """Returns the seconds until the page is drawn, and the page if it is kept."""
    page = browser.new_context(viewport={"width": 1200, "height": 900}, bypass_csp=True).new_page()
    page.set_default_timeout(120_000)
    begun = time.perf_counter()
    page.goto(address)
    page.locator("html[data-drawn]").wait_for(state="attached")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    taken = time.perf_counter() - begun
    if keep:
        return taken, page
    page.context.close()
    return taken, None


def shown_s(page: Page, number: int) -> float:
    """Returns the seconds until the page has drawn an event."""
    begun = time.perf_counter()
    page.wait_for_function("n => Number(document.documentElement.dataset.number) >= n", arg=number, polling=20)
    return time.perf_counter() - begun


def cpu_share(process: psutil.Process, seconds: float, work: Any) -> float:
    """Returns the CPU time of the process over the wall time while `work` runs."""
    before, begun = process.cpu_times(), time.perf_counter()
    work()
    after, passed = process.cpu_times(), time.perf_counter() - begun
    return (after.user + after.system - before.user - before.system) / passed


if __name__ == "__main__":
    main()
