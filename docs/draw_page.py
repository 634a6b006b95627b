"""Draws the pictures of the page of `hwtune serve` into `docs/images`: `python docs/draw_page.py`.

It simulates a study with the real controller, writes the file of `hwtune report`, opens it in Chromium, and photographs
views. `--all FOLDER` photographs every view, on a wide screen and on a phone, light and dark, to be looked at.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from lightning_hwtune.core.events import Event
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import TPE
from lightning_hwtune.core.space import Float, Int, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.stored_study import StoredStudy
from lightning_hwtune.web.report import report_page

IMAGES = Path(__file__).with_name("images")
SPACE = SearchSpace(
    lr=Float(1e-4, 1e-1, log=True), dropout=Float(0.0, 0.5), width=Int(8, 128, log=True), devices=NumDevices(1, 2, 4)
)
SPEC = StudySpec(
    name="digits",
    space=SPACE,
    objectives=Objectives([Metric("error", "min"), TrainSeconds(), Cost()]),
    scheduler=ASHA(27, first_rung=1),
    searcher=TPE(),
    pool=Pool("gpu", 8, usd_per_device_hour=2.4),
    seed=3,
)
PICTURES = {
    "page_front": ("view=front", 780),
    "page_devices": ("view=devices", 600),
    "page_rungs": ("view=rungs", 740),
    "page_parameters": ("view=parameters", 2080),
    "page_searcher": ("view=searcher", 900),
    "page_trial": ("view=trial&trial=8", 740),
}
VIEWS = {
    "front": "view=front",
    "trials": "view=trials",
    "trial": "view=trial&trial=8",
    "rungs": "view=rungs",
    "parameters": "view=parameters",
    "searcher": "view=searcher",
    "devices": "view=devices",
    "budget": "view=budget",
}


def main(folder: Path | None) -> None:
    """Writes the pictures."""
    with tempfile.TemporaryDirectory() as studies, sync_playwright() as play:
        page = Path(studies) / "page.html"
        page.write_text(report_page(stored(Path(studies))), encoding="utf-8")
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        if folder is None:
            for name, (view, height) in PICTURES.items():
                photograph(browser, page, view, IMAGES / f"{name}.png", 900, "light", height=height)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            for name, view in VIEWS.items():
                for width in (1100, 360):
                    for scheme in ("light", "dark"):
                        photograph(browser, page, view, folder / f"{name}_{width}_{scheme}.png", width, scheme)
        browser.close()


def stored(folder: Path) -> StoredStudy:
    """Returns the simulated study."""
    log: list[Event] = []
    simulate(SPEC, SyntheticCurves(SPACE, 27, seed=5, crossing=0.3, scaling=0.8, unit_s=4.0, usd_per_device_hour=2.4),
             Limits(max_trials=60), start_s=6.0, restore_s=3.0, sink=log.extend)  # fmt: skip
    with EventLog.open(StudyFiles(folder, SPEC.name), create=True) as events:
        events.append(log)
    return StoredStudy.load(SPEC.name, folder, None)


def photograph(
    browser: Browser, page: Path, view: str, path: Path, width: int, scheme: str, height: int | None = None
) -> None:
    """Writes a picture of one view; of the whole page, or of its upper part."""
    context = browser.new_context(
        viewport={"width": width, "height": height or 800},
        color_scheme="dark" if scheme == "dark" else "light",
        device_scale_factor=1.25 if height and height < 1000 else 1,
    )
    shown = context.new_page()
    shown.goto(f"{page.as_uri()}#{view}")
    shown.locator("html[data-drawn]").wait_for(state="attached")
    shown.screenshot(path=path, full_page=height is None)
    context.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", type=Path, metavar="FOLDER", default=None)
    main(parser.parse_args().all)
