"""One directory a sweep, whatever `hydra.sweep.dir` says on another day; and what is written into it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lightning_hwtune.apps.hydra.folders import claim_sweep_dir, has_time
from lightning_hwtune.apps.hydra.results import write_results
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Start
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objective, Objectives, TrainSeconds
from lightning_hwtune.core.parameters import Float
from lightning_hwtune.core.schedulers import RunToEnd
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError


def test_a_study_keeps_its_first_directory(tmp_path: Path) -> None:
    study = tmp_path / "hwtune" / "mine"
    first = claim_sweep_dir(study, tmp_path / "multirun" / "10-00")
    assert first == tmp_path / "multirun" / "10-00"
    assert claim_sweep_dir(study, tmp_path / "multirun" / "11-00") == first
    assert not (tmp_path / "multirun" / "11-00").exists()


def test_a_directory_of_another_study_is_refused(tmp_path: Path) -> None:
    claim_sweep_dir(tmp_path / "hwtune" / "mine", tmp_path / "out")
    with pytest.raises(ArgumentError, match="mine"):
        claim_sweep_dir(tmp_path / "hwtune" / "other", tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "hwtune")) == ["mine"]  # what is refused leaves no folder
    assert os.listdir(tmp_path / "out") == ["hwtune_study.txt"]


def test_sweeps_that_begin_in_the_same_second_get_directories_of_their_own(tmp_path: Path) -> None:
    wanted = tmp_path / "multirun" / "10-00-00"
    studies = [tmp_path / "hwtune" / name for name in ("a", "b", "c")]
    taken = [claim_sweep_dir(study, wanted, is_named_by_time=True) for study in studies]
    assert [path.name for path in taken] == ["10-00-00", "10-00-00_2", "10-00-00_3"]
    assert [claim_sweep_dir(study, wanted, is_named_by_time=True) for study in studies] == taken  # the same command


@pytest.mark.parametrize(
    ("path", "has"),
    [
        ("multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}", True),  # Hydra's default
        ("${paths.log_dir}/${task_name}/multiruns/${ now:%Y }", True),
        ("multirun/${hydra.job.name}", False),
        ("out", False),
    ],
)
def test_a_directory_with_the_time_in_its_name_is_recognised(path: str, has: bool) -> None:
    assert has_time(path) is has


def test_study_and_sweep_can_be_moved_together(tmp_path: Path) -> None:
    claim_sweep_dir(tmp_path / "a" / "hwtune" / "mine", tmp_path / "a" / "out")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert claim_sweep_dir(tmp_path / "b" / "hwtune" / "mine", tmp_path / "b" / "later") == tmp_path / "b" / "out"


def test_a_claim_leaves_no_half_written_file(tmp_path: Path) -> None:
    claim_sweep_dir(tmp_path / "study", tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "study") + os.listdir(tmp_path / "out")) == [
        "hwtune_study.txt", "sweep_dir.txt",
    ]  # fmt: skip


def measured(objectives: list[Objective], values: list[dict[str, float]]) -> StudyState:
    """Returns a study of trials that ran to their end with these values; the second one at twice the training time."""
    spec = StudySpec(
        name="s",
        space=SearchSpace({"model.x": Float(0.0, 1.0)}),
        objectives=Objectives(objectives),
        scheduler=RunToEnd(1),
        searcher=Random(),
        pool=Pool("cpu", devices=1),
    )
    state = StudyState(spec)
    controller = Controller(state, lambda events: None)
    controller.create(0.0)
    controller.open(Limits(), 0.0, "host", 1, "0")
    for number, logged in enumerate(values):
        start = controller.ask(1.0, 1)
        assert isinstance(start, Start)
        controller.begin(start, (0,), 1.0)
        controller.report(start.trial_id, 1, logged, float(number + 1), 2.0)
        path = f"trials/{start.trial_id:03d}/end.ckpt"
        controller.saved(start.trial_id, path, "0", 1, 1, float(number + 1), 2.5)
        controller.tell(start.trial_id, 3.0, "done")
    return state


def test_the_results_of_one_objective_are_its_best_trial(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    state = measured([Metric("acc", "max")], [{"acc": 0.5}, {"acc": 0.75}, {"acc": float("nan")}])
    saved = OmegaConf.to_container(OmegaConf.load(write_results(state, tmp_path / "hwtune" / "s", tmp_path / "out")))
    assert saved == {
        "name": "hwtune",
        "best_params": dict(state.trials[1].config),
        "best_value": 0.75,
        "best_trial": 1,
        "best_devices": 1,
        "best_checkpoint": "../hwtune/s/trials/001/end.ckpt",
    }


def test_the_results_of_several_are_their_front(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    state = measured([Metric("error", "min"), TrainSeconds()], [{"error": 0.5}, {"error": 0.25}, {"error": 0.6}])
    saved = OmegaConf.to_container(OmegaConf.load(write_results(state, tmp_path / "hwtune" / "s", tmp_path / "out")))
    assert saved == {
        "name": "hwtune",
        "solutions": [
            {"params": dict(state.trials[1].config), "values": [0.25, 2.0], "trial": 1, "devices": 1,
             "checkpoint": "../hwtune/s/trials/001/end.ckpt"},
            {"params": dict(state.trials[0].config), "values": [0.5, 1.0], "trial": 0, "devices": 1,
             "checkpoint": "../hwtune/s/trials/000/end.ckpt"},
        ],
    }  # fmt: skip


def test_results_of_nothing_are_written_too(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    state = measured([Metric("acc", "max")], [])
    saved = OmegaConf.to_container(OmegaConf.load(write_results(state, tmp_path / "hwtune" / "s", tmp_path / "out")))
    assert saved == {"name": "hwtune", "best_params": {}, "best_value": None}
