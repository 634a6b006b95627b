"""Unknown names: keywords and attributes of other tools, missing and surplus arguments, for every public call."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.errors import ArgumentError, RenamedAttributeError, UnknownArgumentError, UnknownAttributeError
from lightning_hwtune.names.attributes import ATTRIBUTES

CONSTRUCTORS = (
    "ASHA", "Choice", "Cost", "DeviceSeconds", "Float", "GP", "Grid", "Hyperband", "Int", "MedianStopping", "Metric",
    "NumDevices",
    "PASHA", "ParetoPrior", "Pool", "Random", "RunToEnd", "RungCallback", "Sobol", "Study", "SuccessiveHalving", "TPE",
    "TrainSeconds",
)  # fmt: skip


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_every_constructor_answers_unknown_keywords(name: str) -> None:
    with pytest.raises(UnknownArgumentError, match=rf"`{name}\(nothing_known=...\)`.*{name} takes"):
        getattr(hwt, name)(nothing_known=1)


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_no_constructor_swallows_keywords(name: str) -> None:
    kinds = {item.kind for item in inspect.signature(getattr(hwt, name)).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds


# a habit of Optuna, Ray Tune or Keras Tuner -> what the answer must hold
HABITS: dict[str, tuple[Callable[[], Any], str]] = {
    "Float step": (lambda: hwt.Float(0, 1, step=0.1), "Int(low, high, step=...)"),  # type: ignore[call-arg]
    "Float q": (lambda: hwt.Float(0, 1, q=0.1), "Int(low, high, step=...)"),  # type: ignore[call-arg]
    "Float sampling": (lambda: hwt.Float(1e-4, 1, sampling="log"), "`log`"),  # type: ignore[call-arg]
    "Float min": (lambda: hwt.Float(min=0, max=1), "`low`"),  # type: ignore[call-arg]
    "Int min_value": (lambda: hwt.Int(min_value=0, max_value=3), "`low`"),  # type: ignore[call-arg]
    "Int default": (lambda: hwt.Int(0, 3, default=1), "enqueue"),  # type: ignore[call-arg]
    "Choice choices": (lambda: hwt.Choice(choices=["a"]), "Choice(['adam', 'sgd'])"),  # type: ignore[call-arg]
    "Random seed": (lambda: hwt.Random(seed=0), "Study(..., seed=0)"),  # type: ignore[call-arg]
    "Sobol scramble": (lambda: hwt.Sobol(scramble=True), "scrambled"),  # type: ignore[call-arg]
    "Grid search_space": (lambda: hwt.Grid(search_space={}), "`space`"),  # type: ignore[call-arg]
    "TPE n_startup": (lambda: hwt.TPE(n_startup=10), "TPE(random=0.33)"),  # type: ignore[call-arg]
    "TPE n_startup_trials": (lambda: hwt.TPE(n_startup_trials=10), "min_points"),  # type: ignore[call-arg]
    "TPE gamma": (lambda: hwt.TPE(gamma=0.2), "`good`"),  # type: ignore[call-arg]
    "Pool num_gpus": (lambda: hwt.Pool(num_gpus=2), "Pool('gpu', devices=4)"),  # type: ignore[call-arg]
    "PASHA max_t": (lambda: hwt.PASHA(max_t=9), "`max_epochs`"),  # type: ignore[call-arg]
    "MedianStopping n_warmup_steps": (lambda: hwt.MedianStopping(9, n_warmup_steps=1), "`first_rung`"),  # type: ignore[call-arg]
    "Metric maximize": (lambda: hwt.Metric("acc", maximize=True), "Metric('val_acc', 'max')"),  # type: ignore[call-arg]
    "Study max_trials": (lambda: hwt.Study("s", max_trials=3), "study.run(max_trials=...)"),  # type: ignore[call-arg]
    "Study overwrite": (lambda: hwt.Study("s", overwrite=True), "always continued"),  # type: ignore[call-arg]
    "RungCallback monitor": (lambda: hwt.RungCallback(monitor="loss"), "objectives"),
}  # fmt: skip


@pytest.mark.parametrize("name", HABITS)
def test_a_habit_is_answered_by_name(name: str) -> None:
    call, said = HABITS[name]
    with pytest.raises(UnknownArgumentError) as caught:
        call()
    assert said in str(caught.value)


# missing and surplus arguments
SHAPES: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "Study without anything": (lambda: hwt.Study(), ["`name` is missing"]),  # type: ignore[call-arg]
    "Float without high": (lambda: hwt.Float(1.0), ["`Float.high` is missing", "finite number"]),  # type: ignore[call-arg]
    "Metric without mode": (lambda: hwt.Metric("loss"), ["`Metric.mode` is missing", "'min' or 'max'"]),  # type: ignore[call-arg]
    "options one by one": (lambda: hwt.Choice("a", "b"), ["Choice(...)", "Choice([...])"]),  # type: ignore[call-arg]
    "log by place": (lambda: hwt.Float(0, 1, True), ["Float(...)", "log=..."]),  # type: ignore[misc]
    "steps by place": (lambda: hwt.Int(0, 10, False, 2), ["Int(...)", "step=..."]),  # type: ignore[misc]
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_missing_and_surplus_arguments_are_named(name: str) -> None:
    call, said = SHAPES[name]
    with pytest.raises(ArgumentError) as caught:
        call()
    for text in said:
        assert text in str(caught.value)


def _study(folder: Path, **changes: Any) -> hwt.Study:
    settings = {"max_epochs": 9, "pool": hwt.Pool("cpu", 1), "dir": folder, **changes}
    return hwt.Study("s", {"x": hwt.Float(0, 1)}, [hwt.Metric("loss", "min")], **settings)


@pytest.fixture(scope="module")
def owners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    study = _study(tmp_path_factory.mktemp("names"))
    result = hwt.Result(0, {"x": 0.5}, 1, {"loss": 0.1}, 9, None)
    yield {"Study": study, "Trial": study.ask(max_trials=1), "Result": result, "lightning_hwtune": hwt}
    study.close()


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in ATTRIBUTES.items() for name in names])
def test_an_attribute_of_another_tool_is_answered(owners: dict[str, Any], owner: str, name: str) -> None:
    with pytest.raises(RenamedAttributeError) as caught:
        getattr(owners[owner], name)
    assert caught.value.here == ATTRIBUTES[owner][name]
    assert not hasattr(owners[owner], name)


@pytest.mark.parametrize(
    ("owner", "name", "near"),
    [("Study", "frnt", "front"), ("Trial", "reprt", "report"), ("lightning_hwtune", "Chioce", "Choice")],
)
def test_a_slip_gets_the_nearest_attribute(owners: dict[str, Any], owner: str, name: str, near: str) -> None:
    with pytest.raises(AttributeError, match=f"did you mean '{near}'") as caught:
        getattr(owners[owner], name)
    assert type(caught.value) is UnknownAttributeError  # a slip is not a name from another tool


@pytest.mark.parametrize("owner", ATTRIBUTES)
def test_what_python_asks_for_itself_stays_an_ordinary_error(owners: dict[str, Any], owner: str) -> None:
    with pytest.raises(AttributeError) as caught:
        _ = owners[owner]._repr_svg_
    assert not isinstance(caught.value, UnknownAttributeError)


@pytest.mark.parametrize("value", [0.5, [0.1, 0.2], (0.5,), 3, {"loss": 0.5}, ""], ids=repr)
def test_values_are_not_passed_to_tell(owners: dict[str, Any], value: Any) -> None:
    with pytest.raises(ArgumentError, match="`error`"):
        owners["Study"].tell(owners["Trial"], value)
    assert owners["Study"].state().trials[0].state.value == "running"  # nothing was reported, and no retry is lost


def test_a_horizon_in_place_of_a_scheduler_means_asha(tmp_path: Path) -> None:
    for name in ("max_epochs", "max_steps", "max_samples"):
        made = _study(tmp_path / name, **{"max_epochs": None, name: 27})
        assert made.spec.scheduler.settings() == hwt.ASHA(**{name: 27}).settings()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scheduler": hwt.PASHA(27)}, "PASHA(max_epochs=9"),
        ({"max_epochs": None}, "max_epochs=27"),
        ({"max_steps": 5}, "exactly one"),
        ({"max_epochs": "27"}, "`max_epochs` is '27'"),
    ],
)
def test_one_horizon_from_one_place(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        _study(tmp_path, **changes)
    assert said in str(caught.value)


def _raise(trial: hwt.Trial) -> None:
    raise AssertionError("nothing may train here")


@pytest.mark.parametrize(
    "options",
    [
        {"max_parallel": "x", "executor": "inline"}, {"preload": "torch", "executor": "inline"}, {"check": "no"},
        {"max_cost": "5"}, {"max_cost": float("inf")}, {"progress": 1}, {"save_every": True}, {"executor": []},
    ],
    ids=repr,
)  # fmt: skip
def test_a_run_refuses_before_anything_exists(tmp_path: Path, options: dict[str, Any]) -> None:
    study = _study(tmp_path / "studies")
    with pytest.raises(ArgumentError) as caught:
        study.run(_raise, **{"max_trials": 1, **options})
    assert caught.value.argument == next(iter(options))
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("method", "value"), [("front", []), ("front", "all"), ("plot", []), ("plot", 3), ("why", "0"), ("logs", True)]
)
def test_questions_refuse_what_they_cannot_answer(tmp_path: Path, method: str, value: Any) -> None:
    with pytest.raises(ArgumentError):
        getattr(_study(tmp_path), method)(value)


@pytest.mark.parametrize("key", [3, None, ["x"], b"x", {}, "y"], ids=repr)
def test_a_trial_has_parameters_by_name(owners: dict[str, Any], key: Any) -> None:
    with pytest.raises(ArgumentError, match="a parameter of the search space: 'x'"):
        owners["Trial"][key]


def test_fast_dev_run_is_refused_in_plain_words(owners: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=r"`fast_dev_run` is True; allowed: False in a study.*study\.check"):
        owners["Trial"].trainer(fast_dev_run=True)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: hwt.Choice("adam", "sgd"), r"1 positional argument \(options\)\. Pass a list: Choice\(\[\.\.\.\]\)"),
        (
            lambda: hwt.Float(1.0, 2.0, True),
            r"2 positional arguments \(low, high\)\. .* by keyword: log=\.\.\., when=",
        ),
        (
            lambda: hwt.RunToEnd(3, 4),
            r"1 positional argument \(max_epochs\)\. .* by keyword: max_steps=\.\.\., max_samples",
        ),
        (lambda: hwt.TrainSeconds(0.1, 2), r"allowed: 1 positional argument \(resolution\)\.$"),
        (lambda: hwt.SearchSpace({}, {}), r"1 positional argument \(params\)\. .* by keyword: name=value$"),
    ],
)
def test_too_many_positional_arguments_are_answered_with_the_way_to_pass_them(
    call: Callable[[], Any], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        call()


def test_a_training_function_is_not_called_a_list(tmp_path: Path) -> None:
    with pytest.raises(
        ArgumentError, match=r"1 positional argument \(train\)\. Pass the others by keyword: max_trials="
    ):
        _study(tmp_path).run(print, 3)


UNCALLED: dict[str, Callable[[hwt.Study], Any]] = {
    "a loop over trials": lambda study: [trial.value for trial in study.trials],  # type: ignore[attr-defined]
    "the number of trials": lambda study: len(study.trials),  # type: ignore[arg-type]
    "a trial by number": lambda study: study.trials[0],  # type: ignore[index]
    "a column of the front": lambda study: study.front["loss"],  # type: ignore[index]
    "an event": lambda study: "x" in study.events,  # type: ignore[operator]
}


@pytest.mark.parametrize("name", UNCALLED)
def test_a_method_that_is_an_attribute_elsewhere_asks_to_be_called(owners: dict[str, Any], name: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"`Study\.(trials|front|events)` is 'not called'; allowed: a call: study\."
    ):
        UNCALLED[name](owners["Study"])
    assert inspect.isfunction(hwt.Study.trials)
    assert list(inspect.signature(owners["Study"].front).parameters) == ["at"]


@pytest.mark.parametrize("horizon", [{"max_epochs": 27}, {"max_steps": 500}, {"max_samples": 999}])
@pytest.mark.parametrize("scheduler", ["asha", {"name": "asha", "eta": 4}, "hyperband", "run_to_end"])
def test_a_named_scheduler_takes_the_horizon_next_to_it(tmp_path: Path, scheduler: Any, horizon: Any) -> None:
    found = _study(tmp_path, **{"max_epochs": None, "scheduler": scheduler, **horizon}).spec.scheduler
    assert found.max_resource == next(iter(horizon.values()))
    assert found.unit == next(iter(horizon)).removeprefix("max_")


def test_two_horizons_are_refused_also_with_a_named_scheduler(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="a scheduler is given"):
        _study(tmp_path, scheduler={"name": "asha", "max_epochs": 27})
    with pytest.raises(ArgumentError, match="exactly one"):
        _study(tmp_path, scheduler="asha", max_steps=3)


@pytest.mark.parametrize(
    ("args", "values", "said"),
    [
        ((1, {"loss": 0.5}), {}, "name=value"),
        ((0.5, 1), {}, "name=value"),
        ((), {"loss": 0.5}, "trial.report(1, val_loss=0.5)"),
        (({"loss": 0.5},), {}, "trial.report(1, val_loss=0.5)"),
        ((0.5,), {"step": 1}, "trial.report(1, val_loss=0.5)"),
    ],
)
def test_a_report_in_the_form_of_another_tool(owners: dict[str, Any], args: Any, values: Any, said: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        owners["Trial"].report(*args, **values)
    assert said in str(caught.value)


def test_a_parameter_is_no_attribute_of_a_trial(owners: dict[str, Any]) -> None:
    with pytest.raises(UnknownAttributeError, match=r"`Trial\.x`: use trial\['x'\]"):
        _ = owners["Trial"].x


def test_a_result_shows_only_what_it_has() -> None:
    result = hwt.Result(0, {"x": 0.5}, 1, {"loss": 0.1}, 9, None)
    assert repr(result) == (
        "Result(trial_id=0, config={'x': 0.5}, num_devices=1, values={'loss': 0.1}, epochs=9, checkpoint=None)"
    )
    assert repr(dataclasses.replace(result, reason="the knee")).endswith("checkpoint=None, reason='the knee')")
