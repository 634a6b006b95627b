"""Makes the stored logs of the version that PYTHONPATH names; see README.md.

    PYTHONPATH=CHECKOUT:CHECKOUT/lightning_hwtune/_hydra python tests/stored_logs/make.py 0.1.0 [STUDY ...]

Each study gets a folder with

    events.jsonl  its log, one event per line
    calls.jsonl   what the loop asked and reported: the call, its arguments, the number of events after it, the answer
    end.json      how it ended: each trial's state, the front, the versions of the libraries that its draws depend on
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from asked_study import asked_to_the_end
from simulated_studies import STUDIES, Formula, Simulated, fault_of

import lightning_hwtune
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Resume, Start, Wait
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.clock import VirtualClock
from lightning_hwtune.engine.folder import NoFolder
from lightning_hwtune.engine.loop import Loop
from lightning_hwtune.simulation.executor import SimulatedExecutor
from lightning_hwtune.study import Study
from lightning_hwtune.views.front_points import front_points

HERE, PACKAGE = Path(__file__).parent, Path(lightning_hwtune.__file__).parents[1]
_CALLS = ("ask", "reserve", "begin", "report", "saved", "removed", "tell", "note", "note_once")
_APP = HERE.parent / "apps" / "plain" / "app.py"


class Recorder:
    """A controller that keeps every call to it."""

    def __init__(self, controller: Controller, log: list[ev.Event]) -> None:
        self._controller, self._log = controller, log
        self.calls: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._controller, name)
        return self._recorded(name, found) if name in _CALLS else found

    def _recorded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            given = inspect.signature(method).bind(*args, **kwargs).arguments
            plain = {key: value for key, value in given.items() if key not in ("decision", "answer")}
            row = {"call": name, "events": len(self._log), "args": plain}
            self.calls.append({**row, "answer": answer_of(answer)} if name == "ask" else row)
            return answer

        return call


class FaultyExecutor:
    """The simulation's executor, some of whose segments end at once with a fault."""

    def __init__(self, inner: SimulatedExecutor, has_faults: bool) -> None:
        self._inner, self._has_faults = inner, has_faults
        self.wait, self.end, self.close = inner.wait, inner.end, inner.close

    def start(self, order: Any) -> None:
        """Begins a segment, and ends it if it has a fault."""
        self._inner.start(order)
        fault = fault_of(order.trial_id, order.segment, order.num_devices) if self._has_faults else None
        if fault is not None:
            self._inner.end(order.trial_id, *fault)


def answer_of(answer: object) -> dict[str, Any]:
    """Returns what an answer to `ask` decides."""
    if isinstance(answer, Start | Resume):
        decided = {"trial": answer.trial_id, "devices": answer.num_devices, "target": answer.target}
        return {"kind": type(answer).__name__, **decided, "rule": answer.reason.rule}
    reserved = {"reserved": answer.reserved} if isinstance(answer, Wait) else {}
    return {"kind": type(answer).__name__, **reserved, "rule": answer.reason.rule}  # type: ignore[attr-defined]


def end_of(state: StudyState) -> dict[str, Any]:
    """Returns how a study ended."""
    trials = [[str(trial.state), trial.resource] for trial in state.trials]
    front = [{"trial": point.trial.trial_id, **point.measurement.values} for point in front_points(state)]
    return {"trials": trials, "front": front}


def _simulate(study: Simulated) -> tuple[list[ev.Event], list[dict[str, Any]], StudyState]:
    clock, log = VirtualClock(), []  # type: ignore[var-annotated]
    controller = Controller(StudyState(study.spec), log.extend)
    controller.create(clock.now())
    controller.open(study.limits, clock.now(), "simulation", 0, "simulation")
    recorder = Recorder(controller, log)
    inner = SimulatedExecutor(
        Formula(study.diverges_above), clock, start_s=study.start_s, restore_s=study.restore_s, failures=study.failures
    )
    executor = FaultyExecutor(inner, study.has_faults)
    done = Loop(recorder, executor, clock, NoFolder(), is_first_error_fatal=False).run()  # type: ignore[arg-type]
    controller.close(clock.now(), "finished", done.reason.text)
    return log, recorder.calls, controller.state


def _sweep(folder: Path) -> Study:
    """Runs a Hydra app's sweep: five trials, one of which fails."""
    command = [
        sys.executable, str(_APP), "-m", "hydra/sweeper=hwtune", "+x=interval(-5,5)", "+fault=choice(none,exit_with_3)",
        "hydra.sweeper.study_name=sweep", "hydra.sweeper.n_trials=5", "hydra.sweeper.max_failure_rate=1.0",
        "hydra.sweeper.hwtune.pool={accelerator: cpu, devices: 1}",
    ]  # fmt: skip
    subprocess.run(command, cwd=folder, env=dict(os.environ), check=True, stdout=subprocess.DEVNULL)
    return Study.load("sweep", dir=folder / "hwtune")


def _cleaned(event: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Returns an event of a real study without what belongs to the machine that ran it."""
    text = json.dumps(event)
    places = {folder: "/studies", HERE.parents[1]: "/app", PACKAGE: "/package", Path(sys.prefix): "/env"}
    for place, name in places.items():
        text = text.replace(str(place), name)
    data: dict[str, Any] = json.loads(text)
    return data | ({"host": "host", "pid": 1} if event["type"] == "SessionOpened" else {})


def _write(folder: Path, events: list[dict[str, Any]], calls: list[dict[str, Any]], end: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("events", events), ("calls", calls)):
        if rows:
            lines = [json.dumps(row, separators=(",", ":") if name == "calls" else None) for row in rows]
            (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "end.json").write_text(json.dumps(end, indent=1) + "\n")


def main(version: str, *names: str) -> None:
    """Writes the studies of one version, all of them unless some are named."""
    for name, make_study in STUDIES.items():
        if not names or name in names:
            study = make_study()
            log, calls, state = _simulate(study)
            libraries = {library: metadata.version(library) for library in study.libraries}
            end = {**end_of(state), "libraries": libraries}
            _write(HERE / version / name, [ev.to_dict(event) for event in log], calls, end)
    for name, make in {"asked": asked_to_the_end, "sweep": _sweep}.items():
        if not names or name in names:
            with tempfile.TemporaryDirectory() as given:
                folder = Path(given)
                with contextlib.redirect_stdout(None):
                    done = make(folder)
                events = [_cleaned(ev.to_dict(event), folder) for event in done.events()]
                _write(HERE / version / name, events, [], end_of(done.state()))


if __name__ == "__main__":
    main(*sys.argv[1:])
