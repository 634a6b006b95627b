"""A run asks what its executor can do, never which one it is: executors of users get what they can use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import study_functions as functions
from passing_executor import PassingExecutor
from study_bench import small_study

import lightning_hwtune as hwt
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.engine.executor import RunSetup
from lightning_hwtune.engine.inline import InlineExecutor
from lightning_hwtune.engine.local import LocalExecutor
from lightning_hwtune.errors import ArgumentError, StudyLockedError
from lightning_hwtune.settings.run_rules import check_run, limits_of
from lightning_hwtune.settings.study_settings import StudySettings


class Here(PassingExecutor):
    """Has every attribute of the executor inside it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Single(Here):
    abilities: ClassVar[Any] = hwt.Abilities(max_devices=1, max_segments=2)


class Pairs(Here):
    abilities: ClassVar[Any] = hwt.Abilities(max_devices=2, max_segments=3)


class Apart(Here):
    """Trains in processes; takes what a run has."""

    abilities: ClassVar[Any] = LocalExecutor.abilities
    setups: ClassVar[list[RunSetup]] = []

    def __init__(self, inner: LocalExecutor) -> None:
        self.inner = inner  # type: ignore[assignment]

    @classmethod
    def for_run(cls, setup: RunSetup) -> Apart:
        cls.setups.append(setup)
        return cls(LocalExecutor.for_run(setup))


class Checking(Here):
    """Trains here, and can check although it needs no file."""

    abilities: ClassVar[Any] = hwt.Abilities(max_devices=1, max_segments=1, can_check=True)


def path(cls: type[Any]) -> str:
    return f"{__name__}:{cls.__name__}"


DEVICES = {"x": hwt.Float(0, 1), "devices": hwt.NumDevices(1, 2)}
QUADS = {"x": hwt.Float(0, 1), "devices": hwt.NumDevices(1, 4)}


@pytest.mark.parametrize("as_object", [False, True], ids=["named", "object"])
@pytest.mark.parametrize(
    ("cls", "space", "at_most"),
    [(Single, DEVICES, "one device"), (Pairs, QUADS, "2 devices"), (InlineExecutor, DEVICES, "one device")],
)
def test_a_study_that_needs_more_devices_is_refused(
    tmp_path: Path, cls: Any, space: Any, at_most: str, as_object: bool
) -> None:
    study = small_study(tmp_path, space=space, pool=hwt.Pool("cpu", 4))
    name = f"{cls.__module__}:{cls.__name__}"
    executor = cls(functions.plain, study._spec.pool) if as_object else name
    with pytest.raises(ArgumentError, match=f"`executor` is .*'local', because a trial may use more than {at_most}"):
        study.run(functions.plain, max_trials=1, executor=executor)
    assert not study.dir.exists()


@pytest.mark.parametrize("cls", [Here, Pairs])
def test_a_study_that_an_executor_can_train_is_accepted(tmp_path: Path, cls: Any) -> None:
    study = small_study(tmp_path, space=DEVICES)
    check_run(study._spec, Limits(max_trials=1), executor=path(cls))


@pytest.mark.parametrize(
    ("cls", "given", "expected"),
    [(Here, None, None), (Here, 5, 5), (Single, None, 2), (Single, 1, 1), (Single, 7, 2), (Pairs, None, 3)],
)
def test_the_executor_limits_how_many_trials_train_at_once(cls: Any, given: int | None, expected: int | None) -> None:
    assert limits_of({"max_parallel": given, "executor": path(cls)}).max_parallel == expected
    assert limits_of({"max_parallel": given, "executor": cls(functions.plain, None)}).max_parallel == expected


def test_a_study_file_follows_the_abilities(tmp_path: Path) -> None:
    data = {
        "study": "s", "train": "study_functions:plain", "space": {"x": {"type": "float", "low": 0, "high": 1}},
        "objectives": [{"metric": "error", "mode": "min"}], "scheduler": {"name": "asha", "max_epochs": 3},
        "pool": {"accelerator": "cpu", "devices": 4}, "executor": path(Single), "max_trials": 3,
    }  # fmt: skip
    assert StudySettings.from_dict(data).limits().max_parallel == 2


@pytest.mark.parametrize("executor", ["inline", path(Here), path(Single)])
@pytest.mark.parametrize("limit", [10, "5min"])
def test_a_limit_for_hangs_needs_an_executor_that_has_one(tmp_path: Path, executor: str, limit: Any) -> None:
    with pytest.raises(ArgumentError, match=r"`hang_timeout` is .*'auto' or None with this `executor`"):
        small_study(tmp_path).run(functions.plain, max_trials=1, executor=executor, hang_timeout=limit)


@pytest.mark.training
@pytest.mark.parametrize("given", [{}, {"max_parallel": 2}])
def test_the_limit_of_the_executor_is_the_one_in_the_log(tmp_path: Path, given: dict[str, int]) -> None:
    study = small_study(tmp_path).run(functions.plain, max_trials=1, executor="inline", progress=False, **given)
    assert study.state().limits.max_parallel == 1
    assert study.state().default_limits["max_parallel"] is None


@pytest.mark.training
@pytest.mark.slow
def test_an_executor_of_a_user_that_can_check_is_checked_and_forecast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Apart.setups.clear()
    study = small_study(tmp_path)
    study.run(functions.plain, max_trials=2, executor=path(Apart), hang_timeout=100, max_parallel=1)
    printed = capsys.readouterr().out
    assert "checked in" in printed
    assert "no check" not in printed
    [setup] = Apart.setups
    assert (setup.n_ranks, setup.hang_timeout, setup.payload is not None) == (1, 100, True)
    assert {trial.measurements[0].resource for trial in study.state().trials} == {1}


@pytest.mark.training
def test_an_executor_that_needs_no_file_is_checked_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = small_study(tmp_path)
    study.run(functions.plain, max_trials=1, executor=path(Checking))
    assert "checked in" in capsys.readouterr().out
    assert not list(study.dir.glob("payload-*"))


@pytest.mark.training
def test_an_executor_without_the_ability_is_not_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_study(tmp_path).run(functions.plain, max_trials=1, executor=path(Here))
    printed = capsys.readouterr().out
    assert "checked in" not in printed
    assert "no check and no forecast before the first trial" in printed


@pytest.mark.training
@pytest.mark.parametrize("as_object", [False, True], ids=["named", "object"])
def test_a_run_that_trains_here_is_refused_inside_a_trial(tmp_path: Path, as_object: bool) -> None:
    outer, inner = small_study(tmp_path, "outer"), small_study(tmp_path, "inner")
    trial = outer.ask(max_trials=1)
    executor = Here(functions.plain, None) if as_object else path(Here)
    try:
        with pytest.raises(StudyLockedError, match="already training trial 0"):
            inner.run(functions.plain, max_trials=1, executor=executor)
    finally:
        outer.close()
    assert trial is not None
