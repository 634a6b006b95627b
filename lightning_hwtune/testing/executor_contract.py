"""The contract of an executor: segment by segment, in a check, and in a whole study.

Each function checks one rule and raises an AssertionError if it is broken. `check_executor` checks all of them.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.record import Outcome, TrialState
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.check import run_check
from lightning_hwtune.engine.clock import RealClock
from lightning_hwtune.engine.executor import Executor, RunSetup, abilities_of, pids_of
from lightning_hwtune.engine.executors import EXECUTOR_REGISTRY, create_executor
from lightning_hwtune.engine.loop import Loop
from lightning_hwtune.engine.payload import write_payload
from lightning_hwtune.errors import HwTuneError
from lightning_hwtune.host.file_trees import digest_of as digest
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.testing.demand import demand
from lightning_hwtune.testing.executor_bench import MAX_EPOCHS, Bench, Recorder, study_of
from lightning_hwtune.testing.executor_training import SEEN, train
from lightning_hwtune.training.channel import SegmentOrder

__all__ = [
    "check_executor",
    "check_of_a_study_passes",
    "closed_executor_is_silent",
    "ended_segment_is_reported",
    "error_ends_its_own_segment",
    "idle_wait_returns",
    "order_reaches_the_training",
    "ranks_form_one_segment",
    "segments_are_kept_apart",
    "verdict_is_obeyed",
    "whole_study_ends",
]

_ALL = list(range(1, MAX_EPOCHS + 1))


def check_executor(
    executor: str | type[Executor],
    pool: Pool | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    limit_s: float = 120.0,
) -> None:
    """Checks that an executor keeps the rules that studies rely on. It trains a function that only reports numbers.

    What an order says reaches the training. Reports, checkpoints and the end of a segment arrive once, in order, and
    not mixed with those of other segments. A pause saves a checkpoint before the segment ends, and another segment
    resumes from it. An error ends only its own segment. `end` ends a segment, and `close` ends everything. A segment of
    several devices reports once per epoch. What the class attribute `abilities` claims is true: an executor that can
    check passes a check. A whole study ends with every trial judged.

    Args:
        executor: the class, its import path, or its name.
        pool: the devices of the studies that use it; two CPU devices by default.
        folder: an empty folder to write to; a temporary folder by default. Executors that train on other hosts need a
            folder that all of them share.
        limit_s: maximum seconds for one segment to start, train three epochs and end.

    Raises:
        AssertionError: a rule is broken; the message has the rule and what was observed.
        ArgumentError: there is no such executor.

    Examples:
        >>> check_executor("inline")
    """
    cls = EXECUTOR_REGISTRY.find(executor) if isinstance(executor, str) else executor
    pool = pool or Pool("cpu", devices=2)
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hwtune-contract-"))
        root = Path(folder).resolve()
        abilities = abilities_of(cls)
        payload = write_payload(train, root).path if abilities.needs_payload else None
        setup = RunSetup(train=train, pool=pool, n_ranks=pool.size, payload=payload)
        bench = Bench(create_executor(cls, setup), pool, root / "trials", limit_s)
        stack.callback(bench.executor.close)
        is_executor = isinstance(bench.executor, Executor)
        demand(is_executor, "An executor has the methods start, wait, end and close.", bench.executor)
        idle_wait_returns(bench)
        order_reaches_the_training(bench)
        verdict_is_obeyed(bench)
        error_ends_its_own_segment(bench)
        segments_are_kept_apart(bench)
        if pool.size > 1 and (abilities.max_devices or math.inf) > 1:
            ranks_form_one_segment(bench)
        ended_segment_is_reported(bench)
        if abilities.can_check:
            check_of_a_study_passes(bench)
        whole_study_ends(bench)
        closed_executor_is_silent(bench)


def idle_wait_returns(bench: Bench) -> None:
    """Checks that `wait` without a segment delivers nothing and returns when its time is over."""
    rule, sink = "`wait` without a segment delivers nothing, and returns when its time is over.", Recorder()
    began = time.monotonic()
    bench.executor.wait(sink, 0.1)
    waited_s = time.monotonic() - began
    demand(not sink.broken, rule, *sink.broken)
    demand(waited_s < bench.limit_s, rule, f"It returned after {waited_s:.0f} s.")


def order_reaches_the_training(bench: Bench) -> None:
    """Checks that the training gets its configuration, seed, folder and devices, and that all its reports arrive."""
    rule, order = "What an order says reaches the training, and what the training reports arrives.", bench.order()
    sink = bench.train(Recorder(), order, rule=rule)
    ended = sink.ends[order.trial_id]
    demand(sink.reports == {order.trial_id: _ALL}, rule, f"Reports: {sink.reports}; end: {ended}.")
    is_whole = ended.outcome == Outcome.DONE and ended.reached_end and ended.resource == MAX_EPOCHS
    demand(is_whole, rule, f"A training that returns after its last epoch ended as {ended}.")
    saved = sink.saves.get(order.trial_id)
    demand(saved is not None and saved.resource == MAX_EPOCHS, rule, f"The training saved at its end: {saved}.")
    seen = _seen(order)
    sent = {"config": dict(order.config), "id": order.trial_id, "segment": 1, "seed": order.seed}
    sent |= {"devices": 1, "ranks": 1, "folder": order.trial_dir, "checkpoint": None}
    demand(seen == sent, rule, f"The order has {sent}", f"the training got {seen}.")


def verdict_is_obeyed(bench: Bench) -> None:
    """Checks that Pause and Stop end a segment at their report, and that a paused trial resumes from its checkpoint."""
    for kind in (VerdictKind.PAUSE, VerdictKind.STOP):
        rule = f"A segment ends after the verdict {kind.value!r}, and its checkpoint is reported before its end."
        order = bench.order()
        sink = bench.train(Recorder(lambda trial_id, at, kind=kind: kind), order, rule=rule)  # type: ignore[misc]
        ended, saved = sink.ends[order.trial_id], sink.saves.get(order.trial_id)
        facts = f"Reports: {sink.reports}; checkpoint: {saved}; end: {ended}."
        is_over = ended.outcome == Outcome.DONE and not ended.reached_end
        demand(sink.reports == {order.trial_id: [1]} and is_over and ended.resource == 1, rule, facts)
        if kind is VerdictKind.STOP:
            continue
        demand(saved is not None and saved.resource == 1, rule, facts)
        assert saved is not None
        demand(digest(Path(saved.path)) == saved.digest, "A checkpoint has the digest that was reported.", saved)
        rule = "A trial resumes from its checkpoint."
        again = bench.order(resumes=order, resource=1, checkpoint=saved.path)
        resumed = bench.train(Recorder(), again, rule=rule)
        demand(resumed.reports == {order.trial_id: _ALL[1:]}, rule, resumed.reports, resumed.ends)


def error_ends_its_own_segment(bench: Bench) -> None:
    """Checks that an error arrives with its text, and that the executor can train other segments afterwards."""
    rule = "An error of the training ends its segment with the outcome ERROR and the traceback."
    order = bench.order(does="raise")
    ended = bench.train(Recorder(), order, rule=rule).ends[order.trial_id]
    demand(ended.outcome == Outcome.ERROR and "an error of the training" in ended.error, rule, ended)
    rule = "An error ends only its own segment."
    order = bench.order()
    ended = bench.train(Recorder(), order, rule=rule).ends[order.trial_id]
    demand(ended.outcome == Outcome.DONE, rule, f"The next segment ended as {ended}.")


def segments_are_kept_apart(bench: Bench) -> None:
    """Checks that segments started together all train to their ends, each with its own reports."""
    rule = "Segments that are started together all train to their ends, each with its own reports."
    orders = [bench.order() for _ in range(min(_most_segments(bench), 3))]
    sink = bench.train(Recorder(), *orders, rule=rule)
    demand(sink.reports == {order.trial_id: _ALL for order in orders}, rule, sink.reports)
    demand(all(ended.outcome == Outcome.DONE for ended in sink.ends.values()), rule, sink.ends)


def ranks_form_one_segment(bench: Bench) -> None:
    """Checks that a segment of two devices trains in a process group of two ranks that reports once per epoch."""
    rule, order = "A segment of two devices has two ranks, and reports once per epoch.", bench.order(2)
    sink = bench.train(Recorder(), order, rule=rule)
    facts = sink.reports, sink.ends
    demand(sink.reports == {order.trial_id: _ALL}, rule, *facts)
    demand(sink.ends[order.trial_id].outcome == Outcome.DONE, rule, *facts)
    n_ranks = _seen(order)["ranks"]
    demand(n_ranks == 2, rule, f"The training had {n_ranks}.")


def ended_segment_is_reported(bench: Bench) -> None:
    """Checks that `end` leads to exactly one end: at once if the executor can check, otherwise at the latest later."""
    can_end, rule = abilities_of(bench.executor).can_check, "After `end`, the segment's end is reported once."
    order = bench.order(does="wait" if can_end else "train")
    sink, why = Recorder(), "the contract ended it"
    bench.start(sink, order)
    if can_end:
        bench.wait(sink, lambda: bool(sink.reports), "A segment reports while it trains.")
    bench.executor.end(order.trial_id, Outcome.LOST, why)
    bench.wait(sink, lambda: bool(sink.ends), rule)
    ended = sink.ends[order.trial_id]
    is_as_asked = ended.outcome == Outcome.LOST and why in ended.error
    demand(is_as_asked or not can_end, f"{rule} It has the outcome and the reason that `end` was given.", ended)
    bench.executor.end(order.trial_id, Outcome.LOST, why)
    bench.executor.wait(sink, 0.2)
    demand(not sink.broken, "`end` does nothing to a segment that has ended.", *sink.broken)


def check_of_a_study_passes(bench: Bench) -> None:
    """Checks that a check of a study trains to its end without a complaint."""
    rule, counts = "An executor that can check passes the check of a study.", [1, 2][: _n_devices(bench)]
    spec = study_of(bench.pool, *(counts if len(counts) > 1 else []))
    try:
        found = run_check(spec, bench.executor, None, bench.folder.parent / "check")
    except HwTuneError as error:
        raise AssertionError(f"{rule}\n  {error}") from error
    demand(found.logged == ("loss",), rule, f"It logged {found.logged}.")
    demand(not found.notes, rule, *found.notes)


def whole_study_ends(bench: Bench) -> None:
    """Checks that a whole study ends, and that none of its trials has failed."""
    rule, spec = "A whole study ends, and none of its trials fails.", study_of(bench.pool)
    limits = Limits(max_trials=4, max_parallel=min(_most_segments(bench), bench.pool.size)).resolved(spec)
    files, clock = StudyFiles(bench.folder.parent, "study"), RealClock()
    controller = Controller(StudyState(spec), lambda events: None)
    controller.create(clock.now())
    controller.open(limits, clock.now(), "contract", os.getpid(), "contract")
    give_up_at = time.monotonic() + bench.limit_s * limits.n_finishers * MAX_EPOCHS

    def tick() -> None:
        states = [trial.state.value for trial in controller.state.trials]
        demand(time.monotonic() < give_up_at, rule, f"Its trials are {states}.")

    try:
        Loop(controller, bench.executor, clock, files, tick=tick).run()
    except HwTuneError as error:
        raise AssertionError(f"{rule}\n  {error}") from error
    states = [trial.state for trial in controller.state.trials]
    allowed = {TrialState.COMPLETED, TrialState.PAUSED, TrialState.STOPPED}
    demand(len(states) == 4 and set(states) <= allowed and TrialState.COMPLETED in states, rule, states)


def closed_executor_is_silent(bench: Bench) -> None:
    """Checks that `close` ends running segments and their processes, twice in a row, and that nothing follows."""
    rule, sink = "After `close`, nothing trains and nothing is reported; a second `close` does nothing.", Recorder()
    is_apart = abilities_of(bench.executor).starts_processes
    bench.start(sink, bench.order(does="wait" if is_apart else "train"))
    if is_apart:
        bench.wait(sink, lambda: bool(sink.reports), "A segment reports while it trains.")
    pids = pids_of(bench.executor)
    demand(bool(pids) == is_apart, "`pids` has the processes of running segments.", pids)
    bench.executor.close()
    n_reports, n_ends = len(sink.reports), len(sink.ends)
    bench.executor.close()
    bench.executor.wait(sink, 0.2)
    demand((len(sink.reports), len(sink.ends)) == (n_reports, n_ends), rule, sink.reports, sink.ends)
    left = [pid for pid in pids if _exists(pid)]
    demand(not left, rule, f"These processes still exist: {left}.")


def _seen(order: SegmentOrder) -> dict[str, Any]:
    """Returns what the training of an order was given."""
    seen: dict[str, Any] = json.loads(Path(order.trial_dir, SEEN).read_text(encoding="utf-8"))
    return seen


def _most_segments(bench: Bench) -> int:
    return min(abilities_of(bench.executor).max_segments or bench.pool.size, bench.pool.size)


def _n_devices(bench: Bench) -> int:
    return min(abilities_of(bench.executor).max_devices or bench.pool.size, bench.pool.size)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
