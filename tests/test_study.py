"""Whole studies with real processes: running, continuing, moving, limits, ask and tell."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import study_functions as functions
from study_bench import check_files, check_log, of_kind, run, small_study, states, trained

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.engine import session
from lightning_hwtune.store.lease import Lease
from lightning_hwtune.training import context

# ---------------------------------------------------------------------- running and continuing


def test_a_study_runs_and_running_it_again_continues_it(tmp_path: Path) -> None:
    study = run(small_study(tmp_path), functions.plain, max_trials=6, finishers=4)
    state = check_log(study)
    assert len(state.trials) == 6
    assert state.n_full >= 4
    assert state.closed is not None
    assert state.closed.state == "finished"
    assert any(segment.number > 1 and segment.resource > 0 for segment in state.segments)  # resumed
    assert len(trained(study)) == len(set(trained(study))), "an epoch was trained twice"

    before = trained(study)
    run(small_study(tmp_path), functions.plain, max_trials=6, finishers=4)  # a new object
    assert trained(study) == before

    run(study, functions.plain, max_trials=9)
    state = check_log(study)
    assert len(state.trials) == 9
    assert trained(study)[: len(before)] == before
    assert len(trained(study)) == len(set(trained(study)))


def test_a_study_whose_limit_is_below_what_exists_trains_nothing_more(tmp_path: Path) -> None:
    study = run(small_study(tmp_path), functions.plain, max_trials=5, finishers=1)
    before = trained(study)
    run(study, functions.plain, max_trials=2, finishers=1)
    assert trained(study) == before
    assert len(study.state().trials) == 5


def test_a_study_keeps_one_payload_of_the_functions_it_was_run_with(tmp_path: Path) -> None:
    study = run(small_study(tmp_path), functions.plain, max_trials=1)
    run(study, functions.slow, max_trials=2)
    assert len(list(study.dir.glob("payload-*"))) == 1


@pytest.mark.parametrize("way", ["move", "copy"])
def test_a_moved_or_copied_study_goes_on(tmp_path: Path, way: str) -> None:
    study = run(small_study(tmp_path / "here"), functions.plain, max_trials=4, finishers=0)
    before = trained(study)
    if way == "move":
        shutil.move(study.dir, tmp_path / "there" / "study")
    else:
        shutil.copytree(study.dir, tmp_path / "there" / "study")
    elsewhere = run(small_study(tmp_path / "there"), functions.plain, max_trials=6, finishers=3)
    state = check_log(elsewhere)
    assert len(state.trials) == 6
    resumed = [segment for segment in state.segments if segment.resource > 0]
    assert resumed, "nothing went on from a checkpoint that was moved"
    assert not any("from scratch" in note.text for note in state.notes)
    assert len(trained(elsewhere)) == len(set(trained(elsewhere)))
    if way == "copy":
        assert trained(study) == before
        check_files(study)


def test_several_studies_live_in_one_folder_and_keep_to_themselves(tmp_path: Path) -> None:
    one = run(small_study(tmp_path, "one"), functions.plain, max_trials=3)
    two = run(small_study(tmp_path, "two", seed=1), functions.plain, max_trials=4)
    assert len(one.state().trials) == 3
    assert len(two.state().trials) == 4
    assert one.state().trials[0].config != two.state().trials[0].config


def test_load_gives_the_study_back_with_its_settings(tmp_path: Path) -> None:
    made = run(small_study(tmp_path, max_retries=2), functions.plain, max_trials=4)
    loaded = hwt.Study.load("study", dir=tmp_path)
    assert loaded.spec.to_dict() == made.spec.to_dict()
    assert loaded.front().equals(made.front())
    assert loaded.best == made.best
    run(loaded, functions.plain, max_trials=5)
    assert len(made.state().trials) == 5


def test_a_study_of_a_larger_machine_is_read_here_and_runs_with_a_pool_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    small_study(tmp_path, pool=hwt.Pool("gpu")).enqueue({"x": 0.5})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    loaded = hwt.Study.load("study", dir=tmp_path)
    events = loaded.events()
    assert loaded.state().spec.pool == hwt.Pool("gpu", 4)
    said = r"`pool` is Pool\(accelerator='gpu', devices=4.*this machine has 1 visible gpu device\..*pool=Pool\(\.\.\.\)"
    for use in (
        lambda: run(loaded, functions.plain, max_trials=2),
        lambda: loaded.check(functions.plain),
        lambda: loaded.ask(max_trials=2),
    ):
        with pytest.raises(hwt.ArgumentError, match=said):
            use()
    assert loaded.events() == events
    state = run(small_study(tmp_path), functions.plain, max_trials=2, finishers=2).state()
    assert state.trials[0].config == {"x": 0.5}
    assert state.n_full == 2


def test_the_lease_is_renewed_during_the_check_and_inside_an_inline_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_RENEW_S", 0.2)
    beats: list[float] = []
    renew = Lease.renew

    def noting(lease: Lease, now: float) -> None:
        beats.append(now)
        renew(lease, now)

    monkeypatch.setattr(Lease, "renew", noting)

    def train(trial: hwt.Trial) -> None:
        for epoch in functions.epochs(trial):
            time.sleep(0.3)
            if not functions.report(trial, epoch):
                return

    inline = small_study(tmp_path, "inline", scheduler=hwt.RunToEnd(max_epochs=6))
    run(inline, train, max_trials=1, executor="inline")
    assert len(inline.state().segments) == 1
    assert len(beats) >= 6
    beats.clear()
    checked = small_study(tmp_path, "checked")
    with pytest.raises(hwt.TrialError):
        run(checked, functions.broken, max_trials=1, check=True)
    assert beats


def test_a_study_under_a_rule_of_its_own_for_batch_sizes_goes_on(tmp_path: Path) -> None:
    space = hwt.SearchSpace(x=hwt.Float(0.0, 1.0), bs=hwt.Choice([3, 4]), devices=hwt.NumDevices(1, 2))
    rule = {"space": space.constrained("bs")}
    run(small_study(tmp_path, **rule), functions.plain, max_trials=2, finishers=1)
    run(small_study(tmp_path, **rule), functions.plain, max_trials=3, finishers=1)
    loaded = hwt.Study.load("study", dir=tmp_path)
    assert loaded.spec.space == rule["space"]
    assert len(check_log(loaded).trials) == 3
    with pytest.raises(hwt.StudyMismatchError, match="global batch sizes"):
        small_study(tmp_path, space=space)


def test_the_searcher_of_a_study_that_stops_trials_may_change(tmp_path: Path) -> None:
    earlier = run(small_study(tmp_path, "earlier"), functions.plain, max_trials=3, finishers=1)
    searchers = [hwt.Random(), hwt.ParetoPrior.from_studies(earlier), hwt.Random()]
    for first in (0, 1):
        for number, searcher in enumerate(searchers[first : first + 2], 1):
            study = small_study(
                tmp_path,
                f"first {first}",
                scheduler=hwt.ASHA(9, first_rung=1, type="stopping"),
                searcher=searcher,
                seed=1,
            )
            run(study, functions.plain, max_trials=2 * number, finishers=1)
            assert len(check_log(study).trials) == 2 * number


def test_a_study_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    run(small_study(tmp_path, "digits"), functions.plain, max_trials=1)
    with pytest.raises(hwt.StudyNotFoundError, match="did you mean 'digits'"):
        hwt.Study.load("digit", dir=tmp_path)
    with pytest.raises(hwt.StudyNotFoundError, match="run it first"):
        small_study(tmp_path, "other").front()


def test_a_study_answers_questions(tmp_path: Path) -> None:
    study = run(small_study(tmp_path), functions.plain, max_trials=6, finishers=4)
    best = study.best
    full = [trial for trial in study.state().trials if trial.state is TrialState.COMPLETED]
    assert best.values["error"] == min(trial.last.values["error"] for trial in full if trial.last)
    assert best.values["error"] == pytest.approx(abs(best.config["x"] - 0.3) + 1 / 9)
    assert best.checkpoint is not None
    assert best.checkpoint.is_file()
    assert len(study.trials()) == 6
    assert list(study.front()["trial"]) == [best.trial_id]
    assert "rung 1" in study.why(best.trial_id)
    assert (study.logs(best.trial_id) / "segment_01_rank_0.log").is_file()
    with pytest.raises(hwt.ArgumentError, match="from 0 to 5"):
        study.why(6)


def test_a_study_runs_in_a_thread(tmp_path: Path) -> None:
    study, failed = small_study(tmp_path), []

    def work(n: int) -> None:
        try:
            run(study, functions.plain, max_trials=n)
        except BaseException as error:
            failed.append(error)

    for n in (2, 4):  # each in its own thread: the second finds the fork server of the first, or starts another
        thread = threading.Thread(target=work, args=(n,))
        thread.start()
        thread.join()
    assert not failed
    assert len(check_log(study).trials) == 4


def test_the_same_seed_tries_the_same_configurations(tmp_path: Path) -> None:
    configs = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        study = run(small_study(tmp_path, name, seed=seed), functions.plain, max_trials=3, finishers=0)
        configs.append([(trial.config, trial.seed) for trial in study.state().trials])
    assert configs[0] == configs[1] != configs[2]


# ---------------------------------------------------------------------- refusals before anything trains


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": hwt.SearchSpace(x=hwt.Float(0.0, 2.0))}, ["space.x", "1.0", "2.0"]),
        ({"space": hwt.SearchSpace(x=hwt.Float(0.0, 1.0), y=hwt.Int(1, 3))}, ["space.y"]),
        ({"objectives": [hwt.Metric("error", "max")]}, ["objectives", "'max'"]),
        ({"scheduler": hwt.ASHA(27, first_rung=1)}, ["scheduler.max_epochs", "9", "27"]),
        ({"scheduler": hwt.ASHA(9, first_rung=1, eta=2)}, ["scheduler.eta", "3", "2"]),
        ({"scheduler": hwt.RunToEnd(max_epochs=9)}, ["scheduler.name", "asha", "run_to_end"]),
        ({"seed": 7}, ["seed", "0", "7"]),
    ],
)
def test_a_study_that_exists_with_other_settings_is_refused_with_the_difference(
    tmp_path: Path, changes: dict[str, Any], said: list[str]
) -> None:
    study = run(small_study(tmp_path), functions.plain, max_trials=1)
    n_events = len(study.events())
    with pytest.raises(hwt.StudyMismatchError) as caught:
        small_study(tmp_path, **changes)
    for text in said:
        assert text in str(caught.value)
    assert len(study.events()) == n_events


def test_a_study_changed_under_an_object_that_exists_already_is_refused_by_run(tmp_path: Path) -> None:
    late = small_study(tmp_path, scheduler=hwt.ASHA(27, first_rung=1))
    study = run(small_study(tmp_path), functions.plain, max_trials=1)
    before = trained(study)
    with pytest.raises(hwt.StudyMismatchError, match=r"scheduler\.max_epochs"):
        run(late, functions.plain, max_trials=2)
    assert trained(study) == before
    run(study, functions.plain, max_trials=2)  # the refused one left no lease behind


def test_a_study_in_which_nothing_was_tried_may_still_change(tmp_path: Path) -> None:
    with pytest.raises(hwt.TrialError):
        run(small_study(tmp_path), functions.misnaming, max_trials=2, check=True)  # the check finds it
    wider = {"space": hwt.SearchSpace(x=hwt.Float(0.0, 2.0)), "scheduler": hwt.ASHA(27, first_rung=1)}
    study = run(small_study(tmp_path, **wider), functions.plain, max_trials=2)
    assert study.spec.scheduler.max_resource == 27
    assert hwt.Study.load("study", tmp_path).spec.space == study.spec.space
    assert len(hwt.Study.load("study", tmp_path).state().trials) == 2
    with pytest.raises(hwt.StudyMismatchError):
        small_study(tmp_path)


def test_what_waits_is_carried_over_into_a_changed_study_if_it_still_fits(tmp_path: Path) -> None:
    small_study(tmp_path).enqueue({"x": 0.5}, {"x": 0.1})
    narrower = small_study(tmp_path, space=hwt.SearchSpace(x=hwt.Float(0.2, 1.0)))
    with pytest.warns(UserWarning, match=r"\{'x': 0\.1\} was dropped, since the study has changed"):
        narrower.enqueue({"x": 0.5}, {"x": 0.3})
    assert narrower.state().enqueued == [{"x": 0.5}, {"x": 0.3}]
    assert any("was dropped" in note.text for note in narrower.state().notes)
    wider = small_study(tmp_path, space=hwt.SearchSpace(x=hwt.Float(0.2, 1.0), y=hwt.Float(0.0, 1.0)))
    with pytest.warns(UserWarning, match="was dropped"):
        run(wider, functions.plain, max_trials=1)
    with pytest.raises(hwt.StudyMismatchError):
        small_study(tmp_path)


def test_enqueueing_again_adds_nothing_but_what_failed(tmp_path: Path) -> None:
    script = {"x": 0.9}, {"x": 0.1}, {"x": 0.9}
    study = small_study(tmp_path, max_retries=0)
    study.enqueue(*script)
    n_events = len(study.events())
    study.enqueue(*script)
    assert len(study.events()) == n_events  # no session was opened for it
    assert study.state().enqueued == [{"x": 0.9}, {"x": 0.1}]
    for outcome in ("done", "failed"):
        trial = study.ask(max_trials=3)
        assert trial is not None
        if outcome == "failed":
            study.tell(trial, ValueError("it diverged"))
        else:
            functions.plain(trial)
            study.tell(trial)
        study.enqueue(*script)
    study.close()
    assert study.state().enqueued == [{"x": 0.1}]


def test_what_may_change_may_change(tmp_path: Path) -> None:
    run(small_study(tmp_path), functions.plain, max_trials=2)
    changed = small_study(tmp_path, pool=hwt.Pool("cpu", devices=1), max_retries=0, max_failures=9, disk_budget=None)
    run(changed, functions.plain, max_trials=3)
    assert len(changed.state().trials) == 3


def test_a_second_controller_is_refused_and_told_who_drives(tmp_path: Path) -> None:
    study = run(small_study(tmp_path), functions.plain, max_trials=1)
    sys.path.insert(0, str(Path(__file__).parent / "store"))
    from store_processes import line_of, rest_of, start, tell

    holder = start("hold", tmp_path)
    try:
        assert line_of(holder) == "held"
        before = trained(study)
        with pytest.raises(hwt.StudyLockedError, match=str(holder.pid)):
            run(study, functions.plain, max_trials=2)
        assert trained(study) == before
        assert len(study.trials()) == 1  # reading works meanwhile
        tell(holder)
        assert rest_of(holder).strip() == "released"
    finally:
        holder.kill()
    run(study, functions.plain, max_trials=2)
    assert len(study.state().trials) == 2


@pytest.mark.parametrize("content", [b"not a database", b"SQLite format 3\x00 but no more"])
def test_a_storage_file_that_is_not_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.db").write_bytes(content)
    with pytest.raises(hwt.StorageError, match=r"study\.db"):
        small_study(tmp_path)
    assert (tmp_path / "study" / "study.db").read_bytes() == content


# ---------------------------------------------------------------------- limits


def test_enqueued_configurations_come_first(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    study.enqueue({"x": 0.9}, {"x": 0.1})
    run(study, functions.plain, max_trials=3, finishers=0)
    assert [trial.config["x"] for trial in study.state().trials][:2] == [0.9, 0.1]
    with pytest.raises(hwt.ArgumentError, match="x"):
        study.enqueue({"x": 0.5}, {"x": 1.5})
    assert not study.state().enqueued  # none is taken when one is wrong


def test_max_parallel_caps_what_the_pool_would_carry(tmp_path: Path) -> None:
    study = run(small_study(tmp_path), functions.plain, max_trials=4, max_parallel=1)
    running = most = 0
    for event in study.events():
        running += isinstance(event, ev.SegmentStarted) - isinstance(event, ev.SegmentEnded)
        most = max(most, running)
    assert most == 1


@pytest.mark.slow
def test_max_time_pauses_the_study_and_is_a_total(tmp_path: Path) -> None:
    study = run(small_study(tmp_path), functions.slow, max_trials=1, max_time="1h")
    first_s = study.state().wall_s(study.state().last_at)
    run(study, functions.slow, max_trials=500, max_time=first_s + 1.5)
    state = check_log(study)
    assert state.closed is not None
    assert state.closed.state == "paused"
    assert "are used" in state.closed.reason
    spent_s, before = state.wall_s(state.last_at), trained(study)
    assert before
    run(study, functions.slow, max_trials=500, max_time=spent_s)
    assert trained(study) == before  # the total is spent already
    run(study, functions.slow, max_trials=len(state.trials), max_time="1h")
    assert check_log(study).n_full >= min(4, len(state.trials))


def test_max_cost_bounds_the_ledger(tmp_path: Path) -> None:
    study = small_study(tmp_path, pool=hwt.Pool("cpu", devices=2, usd_per_device_hour=3600.0))  # a dollar a second
    run(study, functions.slow, max_trials=500, max_cost=2.0)
    state = check_log(study)
    assert state.closed is not None
    assert state.closed.state == "paused"
    assert "USD" in state.closed.reason
    assert state.billed_usd(state.last_at) > 0
    before = trained(study)
    run(study, functions.slow, max_trials=500, max_cost=2.0)
    assert trained(study) == before


def test_a_training_that_does_not_report_is_ended_before_the_budget_is_exceeded(tmp_path: Path) -> None:
    pool = hwt.Pool("cpu", devices=1, usd_per_device_hour=3600.0)  # a dollar a second
    study = small_study(tmp_path, pool=pool, scheduler=hwt.RunToEnd(max_epochs=3))
    run(study, functions.held, max_cost=3.5)  # the second epoch never ends
    state = check_log(study)
    assert state.closed is not None
    assert (state.closed.state, "USD" in state.closed.reason) == ("paused", True)
    assert state.billed_usd(state.last_at) <= 3.5
    [segment] = of_kind(study, ev.SegmentEnded)
    assert segment.outcome == "interrupted"
    assert "USD of 3.5 USD are spent" in segment.error
    assert (0, 3) not in trained(study)
    (study.dir / "release").touch()
    run(study, functions.held, max_cost=60.0, max_trials=1)  # with more money, it continues
    assert check_log(study).n_full == 1


def test_finishers_are_trained_to_the_end(tmp_path: Path) -> None:
    study = run(small_study(tmp_path), functions.plain, max_trials=5, finishers=0)
    n_full = study.state().n_full
    assert n_full < 5
    run(study, functions.plain, max_trials=5, finishers=5)
    assert states(study) == {TrialState.COMPLETED: 5}
    assert len(trained(study)) == 5 * 9


# ---------------------------------------------------------------------- in this process


def test_inline_trains_in_this_process_one_after_another(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def train(trial: hwt.Trial) -> None:
        for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
            seen.append((trial.id, epoch))
            if trial.report(epoch, error=functions.error_of(trial, epoch)).kind != "continue":
                trial.save(epoch)
                return

    before = signal.getsignal(signal.SIGINT)
    study = run(small_study(tmp_path), train, max_trials=5, executor="inline", finishers=4)
    state = check_log(study)
    assert len(state.trials) == 5
    assert state.n_full >= 4
    assert len(seen) == len(set(seen)) == sum(segment.epochs for segment in state.segments)
    assert signal.getsignal(signal.SIGINT) is before
    running = 0
    for event in study.events():
        running += isinstance(event, ev.SegmentStarted) - isinstance(event, ev.SegmentEnded)
        assert running <= 1, "a segment is on the books while it waits for its turn"


def test_ask_and_tell_trains_in_the_callers_own_loop(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    while (trial := study.ask(max_trials=4, finishers=4)) is not None:
        functions.plain(trial)
        study.tell(trial)
    state = check_log(study)
    assert len(state.trials) == 4
    assert state.n_full >= 4
    assert state.closed is not None
    run(study, functions.plain, max_trials=5)  # and the lease is free again
    assert len(study.state().trials) == 5


def test_two_asks_without_a_tell_are_refused(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    trial = study.ask(max_trials=2)
    assert trial is not None
    with pytest.raises(hwt.ArgumentError, match=r"study\.tell\(trial\)"):
        study.ask()
    functions.plain(trial)
    study.tell(trial)
    with pytest.raises(hwt.ArgumentError, match="trial"):
        study.tell(trial)
    study.close()
    with pytest.raises(hwt.ArgumentError, match="not passed to tell"):
        study.tell(trial)


def test_tell_with_an_error_counts_it(tmp_path: Path) -> None:
    study = small_study(tmp_path, max_retries=1)
    for _ in range(2):
        trial = study.ask(max_trials=2)
        assert trial is not None
        assert trial.id == 0
        state = study.tell(trial, ValueError("it diverged"))
    assert state == "failed"
    assert "it diverged" in study.state().trials[0].error
    trial = study.ask()
    assert trial is not None
    assert trial.id == 1
    study.close()
    assert study.state().trials[1].state is TrialState.WAITING  # without a tell, it begins another day
    assert not study.state().running


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")])
def test_tell_with_out_of_memory_is_no_failure(tmp_path: Path, error: Exception) -> None:
    study = small_study(tmp_path, max_failures=1)
    for _ in range(2):
        trial = study.ask(max_trials=2)
        assert trial is not None
        assert study.tell(trial, error) == "out-of-memory"
    assert study.ask() is None
    assert states(study) == {TrialState.OUT_OF_MEMORY: 2}


def test_ask_seeds_the_generators_for_its_trial(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    trial = study.ask(max_trials=1)
    assert trial is not None
    drawn = random.random(), torch.rand(1).item()
    study.close()
    L.seed_everything(trial.seed, verbose=False)
    assert drawn == (random.random(), torch.rand(1).item())


def test_until_told_a_trial_has_the_threads_of_one_device(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        study = small_study(tmp_path)
        trial = study.ask(max_trials=1)
        assert trial is not None
        assert torch.get_num_threads() == 1
        study.tell(trial, "enough")
        assert torch.get_num_threads() == 3
        study.close()
    finally:
        torch.set_num_threads(before)


def test_a_trial_that_was_never_told_goes_on_another_day(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    trial = study.ask(max_trials=1)
    assert trial is not None
    trial.report(1, error=0.5)
    study.close()
    again = small_study(tmp_path)
    trial = again.ask(max_trials=1)
    assert trial is not None
    assert trial.id == 0
    functions.plain(trial)
    again.tell(trial)
    again.close()
    assert len(again.state().trials) == 1


def test_more_devices_need_processes(tmp_path: Path) -> None:
    space = hwt.SearchSpace(x=hwt.Float(0.0, 1.0), devices=hwt.NumDevices(1, 2))
    study = small_study(tmp_path, space=space)
    with pytest.raises(hwt.ArgumentError, match="'local'"):
        run(study, functions.plain, max_trials=1, executor="inline")
    with pytest.raises(hwt.ArgumentError, match=r"study\.run"):
        study.ask()
    run(study, functions.plain_on_ranks, max_trials=3)  # neither left a lease behind
    sizes = {segment.world_size for segment in study.state().segments}
    assert sizes <= {0, 1, 2}


# ---------------------------------------------------------------------- the disk budget


def test_the_disk_budget_evicts_and_the_study_completes(tmp_path: Path) -> None:
    study = small_study(tmp_path, disk_budget="350kB", scheduler=hwt.ASHA(9, first_rung=1, eta=3))
    run(study, functions.heavy, max_trials=9, finishers=6)
    state = check_log(study)
    removed = [event for event in of_kind(study, ev.CheckpointRemoved) if "disk budget" in event.reason]
    assert removed
    assert len(state.trials) == 9
    assert state.n_full >= 6
    restarted = [s for s in state.segments if s.number > 1 and s.resource == 0]
    assert restarted, "no evicted trial was promoted in this study: make the budget smaller"
    told = {note.trial_id for note in state.notes if "from scratch" in note.text}
    assert {segment.trial_id for segment in restarted} <= told
    assert study.best.checkpoint is not None, "the front lost its checkpoint"
    assert study.best.checkpoint.is_file()


def test_a_loaded_study_keeps_to_a_disk_budget_too(tmp_path: Path) -> None:
    run(small_study(tmp_path), functions.heavy, max_trials=4, finishers=0)
    loaded = run(hwt.Study.load("study", tmp_path, disk_budget="250kB"), functions.heavy, max_trials=5, finishers=0)
    state = check_log(loaded)
    assert sum(trial.checkpoint.n_bytes for trial in state.trials if trial.checkpoint) <= 250_000


def test_every_session_that_is_opened_is_closed(tmp_path: Path) -> None:
    study = run(small_study(tmp_path), functions.plain, max_trials=2)
    for _ in range(3):
        run(study, functions.plain, max_trials=2)
    assert len(of_kind(study, ev.SessionOpened)) == len(of_kind(study, ev.SessionClosed)) == 4


def test_a_note_about_the_whole_study_comes_once(tmp_path: Path) -> None:
    def train(trial: hwt.Trial) -> None:
        segment = context.current_segment()
        assert segment is not None
        segment.note(f"by {trial.id}", once_per="study", topic="first")
        segment.note("of this trial")
        functions.plain(trial)

    for max_trials in (2, 3):  # the check, two sessions, several segments of several trials
        study = small_study(tmp_path, pool=hwt.Pool("cpu", devices=1))
        study.run(train, max_trials=max_trials, finishers=0, progress=False)
    notes = [(note.trial_id, note.text) for note in study.state().notes]
    assert [text for trial_id, text in notes if trial_id is None] == ["by 0"]
    assert "Notes about the whole study:\n  by 0" in study.why(2)


def test_the_closing_line_of_a_study_that_fails_at_once_names_the_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(trial: hwt.Trial) -> None:
        raise ValueError("two things are wrong:\n  the first\n  the second")

    study = small_study(tmp_path)
    with pytest.raises(hwt.TrialError, match=r"trial 0 failed.*ends here: ValueError: two things are wrong: the first"):
        study.run(broken, max_trials=2, executor="inline")
    line = capsys.readouterr().out.splitlines()[-1]
    assert "ends here: ValueError: two things are wrong: the first): 1 of 2 trials" in line
    assert study.state().closed.reason.endswith("two things are wrong: the first")


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_code_that_fails_after_its_training_gives_one_note_and_costs_nothing(tmp_path: Path, executor: str) -> None:
    def train(trial: hwt.Trial) -> None:
        functions.plain(trial)
        raise ValueError(f"after {trial.id}")

    study = small_study(tmp_path)
    study.run(train, max_trials=4, executor=executor, progress=False)  # with its check, where there is one
    state = check_log(study)
    assert state.n_full >= 1
    assert {trial.n_retries for trial in state.trials} == {0}
    assert {segment.outcome for segment in state.segments} == {"done"}
    [note] = [note for note in state.notes if note.trial_id is None]
    who = "the check had paused the training" if executor == "local" else "the segment was paused or stopped"
    assert note.text.startswith(f"an error after {who} did not change the result: ValueError: after 0")
    complete = {note.trial_id for note in state.notes if "after the complete training" in note.text}
    assert complete == state.full
    assert any("ValueError: after" in path.read_text() for path in study.logs(0).iterdir())
