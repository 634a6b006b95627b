"""A default that changes between versions never changes a stored study: one unchanged script, old and new defaults."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import lightning_hwtune as hwt
from lightning_hwtune import study as study_module
from lightning_hwtune.apps.hydra.node import HwtuneSweeperConf
from lightning_hwtune.apps.hydra.settings import SweepSettings
from lightning_hwtune.core import schedulers
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.errors import StudyMismatchError
from lightning_hwtune.forms.given import by_default
from lightning_hwtune.forms.run_options import ASK_OPTIONS, RUN_OPTIONS
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.settings import StudySettings

SPACE = {"x": hwt.Float(0, 1), "batch_size": hwt.Choice([16, 32])}


def train(trial: Any) -> None:
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        verdict = trial.report(epoch, loss=(trial["x"] - 0.3) ** 2 + 1 / epoch, size=trial["x"])
        if verdict.kind != "continue":
            trial.save(epoch)
            return


def script(folder: Path, **changes: Any) -> hwt.Study:
    """Creates the study with as few arguments as possible."""
    objectives = [hwt.Metric("loss", "min"), hwt.Metric("size", "min")]
    return hwt.Study("s", SPACE, objectives, dir=folder, **({"max_epochs": 9} | changes))


def run(study: hwt.Study, n_trials: int, **options: Any) -> hwt.Study:
    return study.run(train, max_trials=n_trials, executor="inline", progress=False, **options)


@contextmanager
def default(function: Callable[..., Any], **values: Any) -> Iterator[None]:
    """Gives arguments of a function other defaults, as a later version would."""
    plain = inspect.unwrap(function)
    signature, keywords, positional = inspect.signature(plain), plain.__kwdefaults__, plain.__defaults__
    names = [name for name, item in signature.parameters.items() if item.kind is item.POSITIONAL_OR_KEYWORD]
    try:
        plain.__kwdefaults__ = {**(keywords or {}), **{key: values[key] for key in values if key not in names}}
        old = dict(zip(names[len(names) - len(positional or ()) :], positional or (), strict=True))
        plain.__defaults__ = tuple({**old, **{key: values[key] for key in values if key in names}}.values())
        yield
    finally:
        plain.__kwdefaults__, plain.__defaults__ = keywords, positional


@contextmanager
def later_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Other defaults in every place: kinds of parts, their own settings, the study's settings, and the limits."""
    with (
        monkeypatch.context() as patch,
        default(hwt.ASHA.__init__, eta=4, first_rung=2, strict=True),
        default(hwt.PASHA.__init__, eta=4),
        default(hwt.TPE.__init__, good=0.5, candidates=8),
        default(hwt.Metric.__init__, across_ranks="max", best=True, unit="points"),
        default(hwt.Pool.__init__, threads_per_device=2, usd_per_device_hour=5.0),
        default(hwt.Study.__init__, seed=7, batch="per_device", max_retries=4, max_failures=9),
    ):
        keys = {"searcher": "sobol", "seed": 7, "max_failures": 9}
        limits = {"finishers": 0, "max_time": 0.001, "max_parallel": 1}
        for table, values in ((FILE_KEYS, keys | limits), (RUN_OPTIONS, limits), (ASK_OPTIONS, {"finishers": 0})):
            for key, value in values.items():
                patch.setitem(table, key, dataclasses.replace(table[key], default=value))  # type: ignore[arg-type]
        patch.setattr(study_module, "default_searcher", hwt.Sobol)  # the default searcher
        patch.setattr(schedulers, "ASHA", hwt.PASHA)  # the scheduler of a bare horizon
        yield


def log(study: hwt.Study) -> list[Any]:
    """All decisions, without times."""
    return [
        (trial.config, trial.seed, trial.target, str(trial.state), [m.resource for m in trial.measurements])
        for trial in study.state().trials
    ]


@pytest.mark.training
def test_the_patches_of_this_test_change_a_new_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = script(tmp_path / "old").spec.to_dict()
    with later_version(monkeypatch):
        new = script(tmp_path / "new").spec.to_dict()
    changed = {key for key in old if old[key] != new[key]}
    assert {"scheduler", "searcher", "objectives", "pool", "seed", "batch", "max_retries", "max_failures"} <= changed


GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    "nothing": dict,
    "a scheduler": lambda: {"max_epochs": None, "scheduler": hwt.ASHA(max_epochs=9)},
    "another scheduler": lambda: {"max_epochs": None, "scheduler": hwt.PASHA(9, first_rung=1)},
    "a searcher": lambda: {"searcher": hwt.TPE(min_points=2)},
    "names": lambda: {"max_epochs": None, "scheduler": {"name": "asha", "max_epochs": 9}, "searcher": "tpe"},
    "a pool and a seed": lambda: {"pool": hwt.Pool("cpu", 1), "seed": 3, "allocation": "fixed"},
}


@pytest.mark.training
@pytest.mark.parametrize("given", GIVEN)
def test_an_unchanged_script_continues_the_study_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    arguments = GIVEN[given]
    for folder in ("old", "updated"):
        run(script(tmp_path / folder, **arguments()), 4)
    old = run(script(tmp_path / "old", **arguments()), 9)
    with later_version(monkeypatch):
        updated = run(script(tmp_path / "updated", **arguments()), 9)
        assert updated.spec.to_dict() == old.spec.to_dict()
        assert log(updated) == log(old)
        assert updated.state().limits == old.state().limits
    again = run(script(tmp_path / "updated", **arguments()), 9)
    assert log(again) == log(old)


@pytest.mark.training
def test_an_unchanged_study_file_continues_the_study_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_file(folder: Path, n_trials: int) -> hwt.Study:
        data = {
            "study": "s", "train": "json:loads", "space": hwt.SearchSpace(SPACE).to_dict(), "max_epochs": 9,
            "objectives": [{"metric": "loss", "mode": "min"}, {"metric": "size", "mode": "min"}],
            "max_trials": n_trials, "executor": "inline", "dir": str(folder),
        }  # fmt: skip
        settings = StudySettings.from_dict(data)
        study = hwt.Study(**settings.given_study_kwargs())
        return study.run(**(settings.run_kwargs() | {"train": train, "progress": False}))

    for folder in ("old", "updated"):
        run_file(tmp_path / folder, 3)
    old = run_file(tmp_path / "old", 6)
    with later_version(monkeypatch):
        updated = run_file(tmp_path / "updated", 6)
        assert updated.spec.to_dict() == old.spec.to_dict()
        assert (log(updated), updated.state().limits) == (log(old), old.state().limits)


def test_keys_of_the_sweeper_that_have_their_default_are_not_given() -> None:
    def given(**changes: Any) -> frozenset[str]:
        node = OmegaConf.structured(HwtuneSweeperConf)
        node.hwtune.update(changes)
        objectives = [{"metric": "loss", "mode": "min"}]
        sweep = SweepSettings.of(node).study("s", hwt.SearchSpace(SPACE), objectives, {"name": "asha", "max_epochs": 9})
        return sweep.given - {"study", "train", "space", "objectives", "max_trials", "storage", "dir"}

    assert given() == {"max_epochs"}
    assert given(searcher="sobol", seed=3, finishers=2) == {"max_epochs", "searcher", "seed", "finishers"}
    assert given(scheduler={"name": "asha"}) == {"scheduler"}


@pytest.mark.training
def test_what_is_given_again_is_compared_and_what_was_given_once_is_kept(tmp_path: Path) -> None:
    run(script(tmp_path, seed=3, max_epochs=None, scheduler=hwt.ASHA(9, eta=2), searcher=hwt.TPE(good=0.3)), 2)
    kept = script(tmp_path)
    assert (kept.spec.seed, str(kept.spec.scheduler.ladder.eta), kept.spec.searcher) == (3, "2", hwt.TPE(good=0.3))
    for changes, says in (
        ({"seed": 0}, "seed"),
        ({"max_epochs": 27}, "scheduler.max_epochs"),
        ({"max_epochs": None, "scheduler": hwt.ASHA(9, eta=3)}, "scheduler.eta"),
        ({"max_epochs": None, "scheduler": {"name": "asha", "max_epochs": 9, "eta": 3}}, "scheduler.eta"),
        ({"max_epochs": None, "scheduler": hwt.PASHA(9)}, "scheduler.name"),
        ({"max_epochs": None, "max_steps": 9}, "scheduler.max_steps"),
        ({"batch": "per_device", "seed": 1}, "batch"),
    ):
        with pytest.raises(StudyMismatchError, match=says):
            script(tmp_path, **changes)
    for first in (hwt.Metric("loss", "max"), hwt.Metric("loss", "min", best=True)):
        with pytest.raises(StudyMismatchError, match="objectives"):
            hwt.Study("s", SPACE, [first, hwt.Metric("size", "min")], max_epochs=9, dir=tmp_path)


@pytest.mark.training
def test_a_limit_that_is_given_counts_and_the_default_returns_after_it(tmp_path: Path) -> None:
    run(script(tmp_path), 2)
    for options, finishers in (({"finishers": 2}, 2), ({}, 1), ({"finishers": "auto"}, 1), ({"finishers": 0}, 0)):
        study = run(script(tmp_path), 3, **options)
        assert study.state().limits.n_finishers == finishers


@pytest.mark.training
def test_ask_keeps_the_defaults_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(n_trials: int) -> hwt.Study:
        study = script(tmp_path)
        while (trial := study.ask(max_trials=n_trials, progress=False)) is not None:
            train(trial)
            study.tell(trial)
        return study

    before = asked(3).state().limits
    with later_version(monkeypatch):
        assert asked(3).state().limits == before


PARAMETERS: dict[str, Callable[[], Any]] = {
    "float": lambda: hwt.Float(0.1, 1),
    "int": lambda: hwt.Int(1, 9),
    "numbers": lambda: hwt.Choice([32, 16, 8]),
    "words": lambda: hwt.Choice(["b", "a"]),
    "devices": lambda: hwt.NumDevices(1),
}
GIVEN_PARAMETERS: dict[str, Callable[[], Any]] = {
    "float": lambda: hwt.Float(0.1, 1, log=True),
    "int": lambda: hwt.Int(1, 9, step=4),
    "numbers": lambda: hwt.Choice([32, 16, 8], ordered=False),
    "words": lambda: hwt.Choice(["b", "a"], ordered=True),
}


@contextmanager
def later_parameters() -> Iterator[None]:
    with (
        default(hwt.Float.__init__, log=True),
        default(hwt.Int.__init__, step=2),
        default(hwt.Choice.__init__, ordered=False),
    ):
        yield


def of_space(folder: Path, kinds: dict[str, Callable[[], Any]]) -> hwt.Study:
    space = {name: make() for name, make in kinds.items()}
    return hwt.Study("s", space, [hwt.Metric("loss", "min")], max_epochs=3, dir=folder, pool=hwt.Pool("cpu", 1))


def first_loss(trial: Any) -> None:
    for epoch in range(1, trial.max_epochs + 1):
        if trial.report(epoch, loss=trial["float"] / epoch).kind != "continue":
            return


@pytest.mark.training
def test_defaults_of_parameters_that_change_leave_a_stored_space_as_it_is(tmp_path: Path) -> None:
    run_it = {"executor": "inline", "progress": False}
    for folder in ("old", "updated"):
        of_space(tmp_path / folder, PARAMETERS).run(first_loss, max_trials=3, **run_it)
    old = of_space(tmp_path / "old", PARAMETERS).run(first_loss, max_trials=6, **run_it)
    with later_parameters():
        changed = of_space(tmp_path / "new", PARAMETERS).spec.space
        assert [name for name in changed if changed[name] != old.spec.space[name]] == ["float", "int", "numbers"]
        assert hwt.Study.load("s", tmp_path / "updated").spec.space == old.spec.space
        updated = of_space(tmp_path / "updated", PARAMETERS).run(first_loss, max_trials=6, **run_it)
        assert updated.spec.to_dict()["space"] != changed.to_dict()
        assert log(updated) == log(old)
    assert of_space(tmp_path / "updated", PARAMETERS).spec.space == old.spec.space


@pytest.mark.training
@pytest.mark.parametrize("name", GIVEN_PARAMETERS)
def test_a_setting_of_a_parameter_that_is_given_again_is_compared(tmp_path: Path, name: str) -> None:
    run_it = {"executor": "inline", "progress": False, "max_trials": 1}
    of_space(tmp_path / "default", PARAMETERS).run(first_loss, **run_it)
    with pytest.raises(StudyMismatchError, match=rf"space\.{name}"):
        of_space(tmp_path / "default", PARAMETERS | {name: GIVEN_PARAMETERS[name]})
    of_space(tmp_path / "given", PARAMETERS | {name: GIVEN_PARAMETERS[name]}).run(first_loss, **run_it)
    kept = of_space(tmp_path / "given", PARAMETERS).spec.space
    assert kept[name] == GIVEN_PARAMETERS[name]()


OTHERS: dict[str, Callable[[], Any]] = {
    "float": lambda: hwt.Float(0.1, 2),
    "int": lambda: hwt.Float(1, 9),
    "numbers": lambda: hwt.Choice([32, 16]),
    "words": lambda: hwt.Choice(["a", "b"]),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.training
def test_another_range_is_reported_whatever_was_given(tmp_path: Path, name: str) -> None:
    of_space(tmp_path, PARAMETERS).run(first_loss, max_trials=1, executor="inline", progress=False)
    with pytest.raises(StudyMismatchError, match=rf"space\.{name}"):
        of_space(tmp_path, PARAMETERS | {name: OTHERS[name]})


@pytest.mark.parametrize("make", [*PARAMETERS.values(), *GIVEN_PARAMETERS.values()])
def test_a_form_describes_the_same_parameter_under_both_defaults(make: Callable[[], Any]) -> None:
    space = hwt.SearchSpace(x=make())
    with later_parameters():
        assert hwt.SearchSpace.from_stored(space.to_dict()) == space
        made_later = hwt.SearchSpace(x=make())
        assert hwt.SearchSpace.from_dict(made_later.to_dict()) == made_later
        assert hwt.SearchSpace.from_dict(hwt.SearchSpace(x=space["x"]).to_dict()) == space
    assert hwt.SearchSpace.from_stored(made_later.to_dict()) == made_later


@pytest.mark.training
def test_the_default_number_of_trials_of_an_interface_is_kept(tmp_path: Path) -> None:
    def sweep(folder: Path, n_trials: int, *, is_default: bool = True) -> hwt.Study:
        with by_default(frozenset({"max_trials"} if is_default else ())):
            return run(script(folder), n_trials, finishers=0)

    first, second = tmp_path / "first", tmp_path / "second"
    assert len(sweep(first, 3).state().trials) == 3
    assert len(sweep(first, 5).state().trials) == 3
    assert len(sweep(first, 4, is_default=False).state().trials) == 4
    assert len(sweep(first, 6).state().trials) == 4
    assert len(sweep(second, 2, is_default=False).state().trials) == 2  # as older versions stored all sweeps
    assert len(sweep(second, 4).state().trials) == 4


def test_an_interface_without_a_default_number_of_trials_has_no_such_limit() -> None:
    stored = {"max_trials": 20, "finishers": 2}
    by_hand, defaults = Limits(max_time_s=60).by_default(stored, {"max_time"})
    assert (by_hand.max_trials, by_hand.finishers, defaults["max_trials"]) == (None, 2, 20)
    by_node, defaults = Limits(max_trials=30).by_default(stored, set())
    assert (by_node.max_trials, defaults["max_trials"]) == (20, 20)
    assert Limits(max_trials=30).by_default({"max_trials": None}, set())[0].max_trials == 30


@pytest.mark.parametrize(
    ("given", "names"), [({}, {"max_trials"}), ({"n_trials": 20}, {"max_trials"}), ({"n_trials": 7}, set())]
)
def test_n_trials_of_a_sweep_is_given_if_it_is_not_the_default(given: dict[str, int], names: set[str]) -> None:
    node = OmegaConf.structured(HwtuneSweeperConf)
    node.update(given)
    assert SweepSettings.of(node).defaults == names


@pytest.mark.training
def test_a_condition_that_is_left_out_is_reported(tmp_path: Path) -> None:
    only_b = {"words": ["b"]}
    made: dict[str, Callable[[], Any]] = {
        "float": lambda: hwt.Float(0.1, 1),
        "int": lambda: hwt.Int(1, 9, when=only_b),
        "numbers": lambda: hwt.Choice([32, 16, 8], when=only_b),
        "words": lambda: hwt.Choice(["b", "a"]),
    }
    of_space(tmp_path, made).run(first_loss, max_trials=1, executor="inline", progress=False)
    with later_parameters():
        assert hwt.Study.load("s", tmp_path).spec.space == of_space(tmp_path, made).spec.space
    for name in ("int", "numbers"):
        with pytest.raises(StudyMismatchError, match=rf"space\.{name}"):
            of_space(tmp_path, made | {name: PARAMETERS[name]})
