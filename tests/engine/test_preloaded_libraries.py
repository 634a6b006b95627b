"""Libraries that a training imports go into the fork server, if a fork may have them; others stay in the segments."""

from __future__ import annotations

import importlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from pausing_trainings import fit
from study_bench import run, small_study

import lightning_hwtune as hwt
from lightning_hwtune.engine.fork_server import fork_server
from lightning_hwtune.training import import_times

SLOW = "import time; time.sleep(0.05)\n"
LIBRARIES = {
    "harmless": SLOW,
    "starts_a_thread": f"{SLOW}import threading; threading.Thread(target=time.sleep, args=(1,), daemon=True).start()",
    "inner": SLOW,
    "outer": "import hwtune_test_inner\n" + SLOW,
    "failing": "raise ImportError('no such thing')",
}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Installed libraries, and a folder for the user's own code, both on the path."""
    installed, own = tmp_path / "site-packages", tmp_path / "own"
    installed.mkdir()
    own.mkdir()
    for name, text in LIBRARIES.items():
        (installed / f"hwtune_test_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(installed)
    monkeypatch.syspath_prepend(own)
    finder = import_times._Finder()
    monkeypatch.setattr(import_times, "_finder", finder)
    yield own
    for name in [name for name in sys.modules if name.startswith("hwtune_test_")]:
        del sys.modules[name]


def imported(own: Path, text: str) -> tuple[set[str], set[str]]:
    """Returns what is preloaded, and what is measured, when the user's own module has this text."""
    (own / "hwtune_test_own.py").write_text(text)
    with import_times.measured(libraries=True):
        importlib.import_module("hwtune_test_own")
    return set(import_times.library_times()), set(import_times.import_times())


def test_a_harmless_library_is_preloaded_and_own_code_is_not(places: Path) -> None:
    begun = time.monotonic()
    libraries, measured = imported(places, "import hwtune_test_harmless\nimport time; time.sleep(0.01)")
    whole_s = time.monotonic() - begun
    assert libraries == {"hwtune_test_harmless"}
    assert measured == {"hwtune_test_harmless", "hwtune_test_own"}
    times = import_times.import_times()
    assert min(times.values()) > 0.005
    assert sum(times.values()) <= whole_s  # the library, which sleeps longest, does not count inside its importer, too
    assert import_times.import_s() == pytest.approx(sum(times.values()))


def test_what_a_library_imports_comes_with_it(places: Path) -> None:
    libraries, _ = imported(places, "import hwtune_test_outer")
    assert libraries == {"hwtune_test_outer"}


def test_a_library_that_starts_a_thread_stays_in_the_segments(places: Path) -> None:
    libraries, measured = imported(places, "import hwtune_test_starts_a_thread, hwtune_test_harmless")
    assert libraries == {"hwtune_test_harmless"}
    assert "hwtune_test_starts_a_thread" in measured


@pytest.mark.parametrize("module", ["random; random.random()", "numpy; numpy.random.rand()", "torch; torch.rand(1)"])
def test_a_library_that_draws_random_numbers_stays_in_the_segments(places: Path, module: str) -> None:
    (places.parent / "site-packages" / "hwtune_test_drawing.py").write_text(f"import {module}")
    libraries, measured = imported(places, "import hwtune_test_drawing")
    assert not libraries
    assert "hwtune_test_drawing" in measured


@pytest.mark.parametrize(
    "text",
    [
        "import os; os.chdir('/')",
        "import os; os.environ['HWTUNE_TEST_KNOWN'] = 'other'",
        "import torch; torch.set_default_dtype(torch.float64)",
        "import signal; signal.signal(signal.SIGTERM, lambda *_: None)",
    ],
)
def test_a_library_that_changes_the_process_stays_in_the_segments(
    places: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(places)
    monkeypatch.setenv("HWTUNE_TEST_KNOWN", "given")
    (places.parent / "site-packages" / "hwtune_test_changing.py").write_text(text)
    before = signal.getsignal(signal.SIGTERM)
    try:
        libraries, measured = imported(places, "import hwtune_test_changing, hwtune_test_harmless")
    finally:
        torch.set_default_dtype(torch.float32)
        signal.signal(signal.SIGTERM, before)
    assert libraries == {"hwtune_test_harmless"}
    assert "hwtune_test_changing" in measured


def test_a_library_that_follows_a_variable_of_user_code_stays_in_the_segments(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import os, hwtune_test_harmless; os.environ['HWTUNE_TEST_BACKEND'] = 'x'; import hwtune_test_inner"
    monkeypatch.setenv("HWTUNE_TEST_BACKEND", "y")
    assert imported(places, text)[0] == {"hwtune_test_harmless"}


@pytest.mark.parametrize(("name", "is_preloaded"), [("jemalloc_bg_thd", True), ("other", False)])
def test_only_a_thread_that_starts_again_after_a_fork_is_harmless(places: Path, name: str, is_preloaded: bool) -> None:
    text = f"""
import _thread, ctypes, time
def work():
    ctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0)
    is_named.append(True)
    time.sleep(1)
is_named = []
_thread.start_new_thread(work, ())
while not is_named: time.sleep(0.01)
"""
    (places.parent / "site-packages" / "hwtune_test_native.py").write_text(text)
    assert imported(places, "import hwtune_test_native")[0] == ({"hwtune_test_native"} if is_preloaded else set())


def test_a_library_that_fails_to_import_is_not_preloaded(places: Path) -> None:
    text = "try:\n    import hwtune_test_failing\nexcept ImportError:\n    import hwtune_test_harmless"
    assert imported(places, text)[0] == {"hwtune_test_harmless"}


def test_nothing_is_measured_outside(places: Path) -> None:
    importlib.import_module("hwtune_test_harmless")
    assert import_times.import_s() == 0.0
    assert not import_times.library_times()


@pytest.mark.training
def test_a_study_imports_a_harmless_library_once_for_all_its_segments(places: Path, tmp_path: Path) -> None:
    log = tmp_path / "imports"
    text = f"import os, time; time.sleep(0.1); open({str(log)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
    (tmp_path / "site-packages" / "hwtune_test_logging.py").write_text(text)
    fork_server().end()  # the next one knows this path

    def train(trial: Any) -> None:
        import hwtune_test_logging  # type: ignore[import-not-found]  # noqa: F401

        fit(trial)

    study = small_study(tmp_path, pool=hwt.Pool("cpu", 1))
    run(study, train, max_trials=3, check=True)
    assert len(study.state().segments) >= 3
    assert len(log.read_text().splitlines()) == 2  # the first segment of the check, and the fork server
    fork_server().end()
