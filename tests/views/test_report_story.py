from __future__ import annotations

import dataclasses

import pytest
from paper_study import TRACEBACK, begin, make_spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import TPE
from lightning_hwtune.core.space import Float, Int, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.views.story import _TEXT_OF, values_text, why


def test_each_event_of_a_trial_has_a_text():
    kinds = [kind for kind in ev._TYPES.values() if "trial_id" in {field.name for field in dataclasses.fields(kind)}]
    assert {ev.Tested, ev.ValueNoted, ev.Reported} <= set(kinds) <= {ev.TrialCreated, *_TEXT_OF}


def test_what_a_training_noted_and_how_tests_ended_are_told(paper):
    at = paper.log[-1].at
    paper.log.extend(
        [
            ev.ValueNoted(at=at, trial_id=0, key="params", value=5.0),
            ev.Tested(at=at, trial_id=0, values={"accuracy": 0.5}, error="", digest="", function="my_tests:run"),
            ev.Tested(
                at=at,
                trial_id=0,
                values={},
                error="Traceback (most recent call last):\nValueError: no data",
                digest="",
                function="",
            ),
        ]
    )
    told = "\n".join(story(paper, 0))
    assert "noted by the training: params is 5.0" in told
    assert "its checkpoint was tested by my_tests:run: accuracy 0.5" in told
    assert "its checkpoint was tested: ValueError: no data" in told


def story(script, trial_id):
    return why(script.state, script.log, trial_id).splitlines()


def test_the_story_of_a_trial_that_was_promoted_failed_and_completed(paper):
    assert story(paper, 1) == [
        "trial 1 is completed: 9 of 9 epochs, 3 segments, 1 device",
        "  lr=0.02, devices=1",
        "",
        "    +0 s  created: draw 1 of the random searcher; seed 7; may train to epoch 1 before the next decision",
        "    +0 s  segment 1 on 1 device (1), from scratch; may train to epoch 1 before the next decision",
        "  +1.2 s  epoch 1: error 0.4, train_s 1, cost_usd 0.001; paused at rung 1: rank 1 of 2 at rung 1; none "
        "continues yet [promotion]",
        "  +1.2 s  checkpoint of epoch 1 saved, 2 MB: trials/001/1.ckpt",
        "  +1.3 s  segment 1 ended after 1.3 s on 1 rank: done; the trial is paused",
        "    +3 s  segment 2 on 1 device (0), from the checkpoint of epoch 1; may train to epoch 3 before the "
        "next decision; promoted from rung 1: rank 1 of 3 at rung 1; the first continues [promotion]",
        "    +4 s  epoch 2 trained: error 0.35, train_s 2, cost_usd 0.002 [between-rungs]",
        "    +5 s  epoch 3: error 0.3, train_s 3, cost_usd 0.003; continues at rung 3: rank 1 of 1 at rung 3; "
        "none continues yet [promotion]",
        "    +6 s  epoch 4 trained: error 0.28, train_s 4, cost_usd 0.004 [between-rungs]",
        "    +7 s  segment 2 ended after 4 s on 1 rank: error, ValueError: boom; the trial is paused",
        "    +7 s  segment 3 on 1 device (0), from the checkpoint of epoch 1; may train to the end, epoch 9; "
        "continues: its training to epoch 9 was interrupted [unfinished]",
        "  +7.1 s  note: min_epochs=5 was lifted",
        "    +8 s  epoch 2 trained: error 0.36, train_s 2, cost_usd 0.002 [between-rungs]",
        "    +9 s  epoch 3 trained again: error 0.34, train_s 3, cost_usd 0.003 [repeated]",
        "   +14 s  epochs 4 to 8 trained: error 0.32 to 0.24, train_s 4 to 8, cost_usd 0.004 to 0.008 [between-rungs]",
        "   +15 s  epoch 9: error 0.2, train_s 9, cost_usd 0.009; reached the end: trained to the full 9 epochs "
        "[max-resource]",
        "   +15 s  checkpoint of epoch 9 saved, 2 MB: trials/001/3.ckpt",
        "   +16 s  segment 3 ended after 8.5 s on 1 rank: done; the trial is completed",
        "",
        "It is on the front of 2 fully trained trials.",
    ]


def test_superseded_checkpoints_are_not_mentioned_but_lost_ones_are(paper):
    assert "superseded" not in why(paper.state, paper.log, 0)
    reason = "the disk budget of 4 MB is full"
    paper.log.append(ev.CheckpointRemoved(at=19.0, trial_id=2, path="trials/002/1.ckpt", reason=reason))
    assert f"checkpoint removed: {reason} (trials/002/1.ckpt)" in why(paper.state, paper.log, 2)


def test_a_finisher_is_told_as_one(paper):
    [line] = [line for line in story(paper, 0) if "segment 2 on" in line]
    assert (
        "; finishes: first of the trials that rung 1 did not promote; number 1 of 2 to be trained to the end [finisher]"
        in line
    )


def test_a_failed_trial_ends_with_its_error(paper):
    lines = story(paper, 3)
    assert lines[-1] == "It failed: killed by signal 9. The whole traceback is in its logs."
    assert any(
        "segment 1 ended after 1 s on 2 ranks: error, ValueError: boom; the trial is waiting" in x for x in lines
    )
    assert TRACEBACK not in "\n".join(lines)


def test_a_paused_trial_of_a_finished_study_and_of_one_that_goes_on(paper, empty):
    assert (
        story(paper, 2)[-1]
        == "It was not promoted before the study ended. With more trials, the study may still promote it."
    )
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0])
    assert story(empty, 0)[-1] == "It is training, and may train to epoch 1 before the next decision."
    empty.report(1.0, 0, 1, 0.5, 1.0, level=1, verdict="pause")
    empty.save(1.0, 0, 1, 1.0)
    empty.end(1.0, 0, "paused", 1.0, outcome="interrupted", error="the process that ran the study has ended")
    assert story(empty, 0)[-1] == "It continues if a rung promotes it, or as a finisher."
    assert "interrupted, the process that ran the study has ended; the trial is paused" in story(empty, 0)[-3]


def test_a_dominated_trial_is_told_by_whom(empty):
    for trial_id, error in enumerate([0.1, 0.2, 0.05]):
        empty.create(0.0, trial_id, 0.01, 1)
        empty.start(0.0, trial_id, [0])
        empty.report(1.0, trial_id, 9, error, 1.0, level=9, verdict="stop")
        empty.end(1.0, trial_id, "completed", 1.0)
    assert story(empty, 1)[-1] == "It is fully trained but not on the front: dominated by trials 0, 2."
    assert story(empty, 0)[-1] == "It is fully trained but not on the front: dominated by trial 2."


def test_a_trial_that_ties_within_the_resolution_is_told_so():
    """1.1330 s against 1.1332 s are equal at the resolution of measured times, so the lower error decides."""
    study = begin(make_spec(objectives=Objectives([Metric("error", "min"), TrainSeconds()])))
    for trial_id, (error, seconds) in enumerate([(0.2, 1.1330), (0.1, 1.1332)]):
        study.create(0.0, trial_id, 0.01, 1)
        study.start(0.0, trial_id, [0])
        study.report(1.0, trial_id, 9, error, seconds, level=9, verdict="stop")
        study.end(1.0, trial_id, "completed", 1.0)
    assert story(study, 0)[-1] == (
        "It is fully trained but not on the front: dominated by trial 1. "
        "Values that are closer than the `resolution` of their objective count as equal."
    )


def test_a_waiting_trial_and_more_devices_after_running_out_of_memory(empty):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0])
    ended = ev.SegmentEnded(
        at=1.0, trial_id=0, segment=1, outcome="out-of-memory", state="waiting", error="CUDA out of memory",
        wall_s=1.0, device_s=1.0, billed_usd=0.0, world_size=1, next_allocation=Allocation(2),
    )  # fmt: skip
    empty.add(ended)
    lines = story(empty, 0)
    assert lines[-1] == "It waits for devices, and may train to epoch 1 before the next decision."
    assert lines[-3].endswith("out-of-memory, CUDA out of memory; the trial is waiting, with 2 devices next")


def test_a_training_that_its_own_code_ended_early_says_so(empty):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0])
    empty.report(1.0, 0, 1, 0.5, 1.0, level=1, verdict="continue", target=3)
    empty.report(2.0, 0, 2, 0.4, 2.0)
    empty.end(2.0, 0, "completed", 2.0)
    expected = "done; its own code, such as EarlyStopping, ended the training at 2 of 9; the trial is completed"
    assert any(line.endswith(expected) for line in story(empty, 0))


def test_a_trial_for_which_devices_are_drained_says_so(paper):
    event = ev.DevicesReserved(
        at=paper.log[-1].at, trial_id=1, draw=None, allocation=Allocation(2), target=3, promoted_from=1,
        rule="promotion", reason="rank 1 of 3",
    )  # fmt: skip
    lines = why(paper.state, [*paper.log, event], 1).splitlines()
    assert any(
        line.endswith("waits for 2 devices, which are reserved as they become free: rank 1 of 3") for line in lines
    )


@pytest.mark.parametrize(
    ("to", "says"), [(1, "may train to epoch 1 before the next decision"), (9, "may train to the end, epoch 9")]
)
def test_a_first_trial_trains_to_the_end_from_its_beginning(empty, to, says):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0], target=to)
    [created] = [line for line in story(empty, 0) if "created: " in line]
    assert created.endswith(f"seed 7; {says}")


def test_an_interrupted_trial_says_what_it_trains_again(empty):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0], target=9)
    for epoch in range(1, 6):
        empty.report(float(epoch), 0, epoch, 0.5, float(epoch), target=9)
        if epoch == 3:
            empty.save(3.0, 0, 3, 3.0)
    empty.end(5.0, 0, "paused", 5.0, outcome="interrupted", error="ended by SIGTERM")
    assert story(empty, 0)[-1] == (
        "It waits for devices, and may train to the end, epoch 9; epochs 4 to 5 are trained again."
    )


def test_a_trial_whose_last_segment_was_not_ended_says_that_nothing_is_left_to_train(empty):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0], target=9)
    empty.report(9.0, 0, 9, 0.5, 9.0, target=9)
    empty.save(9.0, 0, 9, 9.0)
    empty.end(9.0, 0, "paused", 9.0, outcome="interrupted", error="study.tell was not called")
    assert story(empty, 0)[-1].startswith("It has trained to the end, but its last segment was interrupted")


@pytest.mark.parametrize(
    ("reached", "target", "says"),
    [(0, 1, "epoch 1 before the next decision"), (1, 3, "epoch 3 before the next decision"),
     (3, 9, "the end, epoch 9"), (0, 9, "the end, epoch 9")],
)  # fmt: skip
def test_what_a_running_trial_may_do_is_true_after_each_decision(empty, reached, target, says):
    """A trial that a rung lets continue trains further than it was allowed to at first."""
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0], target=target if reached == 0 else 1)
    for epoch in range(1, reached + 1):
        level = epoch if epoch in (1, 3) else None
        empty.report(float(epoch), 0, epoch, 0.5, float(epoch), level=level, target=3 if epoch < 3 else 9)
    lines = story(empty, 0)
    assert lines[-1] == f"It is training, and may train to {says}."
    if reached:
        assert next(line for line in lines if "created: " in line).endswith(
            "may train to epoch 1 before the next decision"
        )


def test_a_number_that_a_draw_kept_from_an_earlier_trial_is_explained() -> None:
    space = SearchSpace(lr=Float(1e-4, 1e-1, log=True), wd=Float(1e-6, 1e-1, log=True), width=Int(8, 128, log=True))
    objectives = Objectives([Metric("error", "min"), TrainSeconds()])
    spec = StudySpec("s", space, objectives, ASHA(27), TPE(), Pool("cpu", devices=2), seed=1)
    log: list[ev.Event] = []
    limits = Limits(max_trials=36)
    state = simulate(spec, SyntheticCurves(space, 27), limits, start_s=2.0, restore_s=1.0, sink=log.extend)
    n_explained = 0
    for trial in state.trials:
        before = state.trials[: trial.trial_id]
        shared = [
            (other.trial_id, name)
            for other in before
            for name in ("lr", "wd")
            if other.config[name] == trial.config[name]
        ]
        [line] = [line for line in why(state, log, trial.trial_id).splitlines() if "created: " in line]
        assert ("because a draw may change only some parameters" in line) is bool(shared)
        if shared:
            n_explained += 1
            assert f"{shared[0][1]} is that of trial {shared[0][0]}" in line or "are those of" in line
    assert n_explained > 0
    configs = [tuple(trial.config.values()) for trial in state.trials]
    assert len(set(configs)) == len(configs)


def test_bytes_of_a_constraint_have_a_unit() -> None:
    objectives = Objectives(
        Metric("error", "min"), [Constraint("peak_memory", at_most="2GB"), Constraint("params", at_most=9)]
    )
    known = {"error": 0.5, "peak_memory": 1.26e9, "params": 7.0}
    assert values_text(objectives, known) == "error 0.5, peak_memory 1.3 GB, params 7"
    assert values_text(objectives, {**known, "peak_memory": float("nan")}).endswith("peak_memory nan, params 7")
