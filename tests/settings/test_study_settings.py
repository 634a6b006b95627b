"""Study files: what they may say, what they build, and how wrong ones are refused."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.ranking.front_order import WITHIN
from lightning_hwtune.core.schedulers import SCHEDULERS
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.forms import parse_bytes
from lightning_hwtune.forms.run_options import RUN_OPTIONS
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.names.keywords import FILE_KEYWORDS
from lightning_hwtune.settings import StudySettings
from lightning_hwtune.settings.plain_data import read_yaml
from lightning_hwtune.settings.study_parts import SEARCHERS, options

REPOSITORY = Path(__file__).parents[2]
MINIMAL: dict[str, Any] = {
    "study": "digits",
    "train": "package.module:train",
    "space": {"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
    "objectives": [{"metric": "error", "mode": "min"}, "train_s"],
    "scheduler": {"name": "asha", "max_epochs": 9},
}
DEVICES = {"devices": {"type": "num_devices", "counts": [1, 4]}}
TEXT = """\
study: digits
train: package.module:train
space:
  lr: {type: float, low: 1e-4, high: 1e-1, log: true}
  optim.width: {type: int, low: 8, high: 128}
  devices: {type: num_devices, counts: [1, 2]}
objectives:
  - {metric: val/acc, mode: max, unit: "%"}
  - train_s
  - cost_usd
scheduler: {name: asha, max_epochs: 27, eta: 4, type: stopping}
searcher: {name: grid, points_per_float: 3}
pool: {accelerator: cpu, devices: 2, usd_per_device_hour: 0.05}
max_trials: 60
max_time: 8h
"""


def settings(**changes: Any) -> StudySettings:
    return StudySettings.from_dict({**MINIMAL, **changes})


def load(tmp_path: Path, text: str, *overrides: str) -> StudySettings:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return StudySettings.load(path, overrides)


# ---------------------------------------------------------------- what a file builds


def test_builds_what_python_would(tmp_path: Path):
    given = load(tmp_path, TEXT)
    kwargs = given.study_kwargs()
    assert kwargs["space"] == hwt.SearchSpace(
        {"lr": hwt.Float(1e-4, 1e-1, log=True), "optim.width": hwt.Int(8, 128), "devices": hwt.NumDevices(1, 2)}
    )
    assert list(kwargs["objectives"]) == [hwt.Metric("val/acc", "max", unit="%"), hwt.TrainSeconds(), hwt.Cost()]
    assert kwargs["scheduler"].settings() == hwt.ASHA(max_epochs=27, eta=4, type="stopping").settings()
    assert kwargs["searcher"] == hwt.Grid(points_per_float=3)
    assert kwargs["pool"] == hwt.Pool("cpu", 2, usd_per_device_hour=0.05)
    assert given.limits() == Limits(max_trials=60, max_time_s=28800.0)


def test_names_and_defaults_are_those_of_the_python_calls():
    kwargs = settings().study_kwargs()
    for name, parameter in inspect.signature(hwt.Study.__init__).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD or name == "self":
            continue
        assert name in kwargs, name
        if parameter.default is not inspect.Parameter.empty and name not in ("scheduler", "searcher", "pool"):
            default = parse_bytes(parameter.default) if name == "disk_budget" else parameter.default
            assert kwargs[name] == default, name
    assert (kwargs["searcher"], kwargs["pool"]) == (hwt.TPE(), hwt.Pool())
    run = inspect.signature(hwt.Study.run).parameters
    assert {name: run[name].default for name in RUN_OPTIONS} == {
        name: item.default for name, item in RUN_OPTIONS.items()
    }
    assert set(run) - {"self", "train"} == set(RUN_OPTIONS)
    assert set(RUN_OPTIONS) - {"progress"} == set(settings().run)


def test_keywords_fit_the_calls(tmp_path: Path):
    study = hwt.Study(**settings(dir=str(tmp_path), preload=["json"]).study_kwargs())
    assert study.spec.name == "digits"
    inspect.signature(study.run).bind(**settings(train="json:dumps", preload=["json"]).run_kwargs())


def test_the_demo_is_a_study():
    demo = StudySettings.load(REPOSITORY / "configs/study/demo.yaml")
    assert (demo.study, demo.run["max_trials"], demo.run["finishers"]) == ("demo", 60, 4)
    assert demo.study_kwargs()["scheduler"].levels == (1, 3, 9, 27)


def test_a_bare_searcher_is_a_name():
    assert settings(searcher="grid").study_kwargs()["searcher"] == hwt.Grid()


@pytest.mark.parametrize("scheduler", ["asha", "pasha", {"name": "asha", "eta": 2}, {"name": "median_stopping"}])
def test_a_scheduler_takes_the_horizon_next_to_it(scheduler: Any):
    built = settings(scheduler=scheduler, max_epochs=81)
    assert built.study_kwargs()["scheduler"].max_resource == 81
    assert built.spec().scheduler.max_resource == 81
    with pytest.raises(hwt.ArgumentError, match="max_epochs"):
        settings(scheduler={"name": "asha", "max_epochs": 27}, max_epochs=81).spec()


def test_overrides_and_interpolations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("N_TRIALS", "7")
    text = TEXT.replace("max_trials: 60", "max_trials: ${oc.decode:${oc.env:N_TRIALS}}\nseed: ${max_trials}")
    assert (load(tmp_path, text).run["max_trials"], load(tmp_path, text).seed) == (7, 7)
    given = load(tmp_path, text, "max_trials=3", "space.optim.width.high=16", "~searcher", "objectives.0.mode=min")
    assert (given.run["max_trials"], given.seed, given.searcher) == (3, 3, "tpe")
    assert given.study_kwargs()["space"]["optim.width"] == hwt.Int(8, 16)
    assert given.study_kwargs()["objectives"][0].mode == "min"


def test_the_settings_of_a_metric(tmp_path: Path):
    form = {"metric": "error", "mode": "min", "unit": "%", "across_ranks": "max", "best": True}
    (metric,) = settings(objectives=[form]).study_kwargs()["objectives"]
    assert metric == hwt.Metric("error", "min", "%", across_ranks="max", best=True)
    (metric,) = settings(objectives=[{**form, "unit": None, "across_ranks": None, "best": None}]).study_kwargs()[
        "objectives"
    ]
    assert metric == hwt.Metric("error", "min")


def test_unlimited_disk(tmp_path: Path):
    assert load(tmp_path, TEXT, "disk_budget=null").study_kwargs()["disk_budget"] is None


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_trails": 3}, "`max_trails` is 3.*Did you mean 'max_trials'"),
        ({"study": 3}, "`study` is 3; allowed: non-empty text"),
        ({"train": "package.module"}, "`train`.*import path"),
        ({"train": "a b:c"}, "`train`.*import path"),
        ({"seed": "abc"}, "`seed` is 'abc'; allowed: an integer from 0"),
        ({"seed": True}, "`seed` is True"),
        ({"seed": None}, "`seed` is None"),
        ({"max_trials": 2.5}, "`max_trials` is 2.5; allowed: a positive integer, or None"),
        ({"max_trials": 0}, "`max_trials` is 0"),
        ({"max_time": "8 hours"}, "`max_time` is '8 hours'"),
        ({"max_cost": -1.0}, "`max_cost`"),
        ({"finishers": -1}, "`finishers`"),
        ({"disk_budget": "20 gigs"}, "`disk_budget` is '20 gigs'"),
        ({"space": [1]}, "`space` is .*a mapping"),
        ({"space": {}}, "`space` is {}; allowed: at least one parameter"),
        ({"space": {"lr": {"type": "float", "low": 1}}}, "`space.lr`.*'high'"),
        ({"space": {"lr": {"type": "float", "low": 2, "high": 1}}}, "`space.lr.low`|`space.lr.high`"),
        ({"space": {"lr": 0.1}}, "`space.lr` is 0.1; allowed: a mapping"),
        ({"objectives": "error"}, "`objectives` is 'error'; allowed: a list"),
        ({"objectives": ["error"]}, "`objectives` is 'error'.*A metric needs a direction"),
        ({"objectives": ["train_sec"]}, "did you mean 'train_s'"),
        ({"objectives": [{"metric": "error"}]}, "`mode` is missing"),
        ({"objectives": [{"metric": "error", "mode": "low"}]}, "`objectives.mode` is 'low'; allowed: 'min' or 'max'"),
        ({"objectives": [{"metric": "error", "mode": "min", "units": "s"}]}, "objectives.units.*Did you mean 'unit'"),
        (
            {"objectives": [{"metric": "error", "mode": "min", "across_ranks": "median"}]},
            "`objectives.across_ranks` is 'median'; allowed: 'mean', 'max', 'min', 'sum' or 'rank0'",
        ),
        (
            {"objectives": [{"metric": "error", "mode": "min", "best": "yes"}]},
            "`objectives.best` is 'yes'; allowed: True or False",
        ),
        ({"objectives": [{"metric": "train_s", "mode": "min"}]}, "`objectives.name` is 'train_s'"),
        ({"objectives": ["train_s", "train_s"]}, "objectives with different names"),
        ({"objectives": [3]}, "`objectives` is 3"),
        ({"scheduler": {"max_epochs": 9}}, "`scheduler.name` is None; allowed: asha, pasha"),
        ({"scheduler": {"name": "ash", "max_epochs": 9}}, "did you mean 'asha'"),
        ({"scheduler": {"type": "asha", "max_epochs": 9}}, "Write `name: asha`"),
        ({"scheduler": {"name": "asha", "max_epoch": 9}}, "`scheduler.max_epoch` is 9.*Did you mean 'max_epochs'"),
        ({"scheduler": {"name": "asha", "max_epochs": 9, "eta": 1}}, "`scheduler.eta` is 1"),
        ({"scheduler": {"name": "asha"}}, "`scheduler.max_epochs`"),
        ({"scheduler": "asha"}, "`scheduler.max_epochs` is None"),
        ({"searcher": {"name": "grid", "points": 3}}, "`searcher.points` is 3"),
        ({"searcher": "bayes"}, "`searcher.name` is 'bayes'; allowed: random, sobol, grid, tpe"),
        ({"pool": {"devices": 0}}, "`pool.devices` is 0"),
        ({"pool": {"device": 2}}, "`pool.device` is 2.*Did you mean 'devices'"),
        ({"enqueue": [3]}, r"`enqueue\.0` is 3"),
        ({"enqueue": [{"lr": 0.01}, {"lr": 7}]}, r"`enqueue\.1\.lr` is 7"),
        ({"enqueue": [{}]}, r"`enqueue\.0` is {}; allowed: a value for every parameter"),
        ({"preload": [3]}, "`preload` is \\[3\\]"),
        ({"study": "a/b"}, "`study` is 'a/b'; allowed: a plain folder name"),
        ({"batch": "gobal"}, "`batch` is 'gobal'"),
        ({"max_retries": -1}, "`max_retries` is -1"),
        ({"max_failures": 0}, "`max_failures` is 0"),
        ({"save_every": 0}, "`save_every` is 0"),
        ({"executor": "remote"}, "`executor` is 'remote'"),
        ({"max_cost": 3.0}, "`max_cost` is 3.0; allowed: None, because the pool has no price"),
        ({"max_cost": 3.0, "pool": {"usd_per_device_hour": 0}}, "`max_cost` is 3.0"),
        (
            {"objectives": [{"metric": "error", "mode": "min"}, "cost_usd"]},
            "`objectives` is .*Cost.. only with a price",
        ),
        (
            {"space": DEVICES, "pool": {"devices": 2}},
            r"`space\.devices` is \(1, 4\); allowed: counts up to 2, the number of",
        ),
        ({"space": DEVICES, "executor": "inline"}, "`executor` is 'inline'; allowed: 'local'"),
        (
            {
                "space": {**DEVICES, "batch_size": {"type": "choice", "options": [3]}},
                "enqueue": [{"devices": 4, "batch_size": 3}],
            },
            r"`enqueue\.0\.batch_size` is 3; allowed: a multiple",
        ),
        ({"scheduler": {"name": "asha", "max_epochs": 9, "within": "objective:acc"}}, r"`scheduler\.within` is"),
        ({"searcher": "grid", "space": {n: {"type": "int", "low": 1, "high": 999} for n in "abc"}}, "`searcher` is"),
    ],
)
def test_refuses(changes: dict[str, Any], says: str):
    with pytest.raises(ArgumentError, match=says):
        settings(**changes)


@pytest.mark.parametrize("key", ["study", "train", "space", "objectives"])
def test_needs(key: str):
    with pytest.raises(ArgumentError, match=f"`{key}` is None.*every study needs it"):
        StudySettings.from_dict({name: value for name, value in MINIMAL.items() if name != key})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_trials": 3}, "n_trials.*`max_trials`"),
        ({"name": "x"}, "name.*`study`"),
        ({"n_jobs": 3}, "n_jobs.*pool"),
        ({"metric": "error"}, "metric.*objectives"),
        ({"points_to_evaluate": []}, "points_to_evaluate.*`enqueue`"),
        ({"scheduler": {"name": "asha", "max_t": 3}}, "scheduler.max_t.*`max_epochs`"),
        ({"scheduler": {"name": "asha", "max_epochs": 3, "reduction_factor": 3}}, "reduction_factor.*`eta`"),
        ({"objectives": [{"name": "error", "mode": "min"}]}, "metric: error, mode: min"),
        ({"objectives": [{"metric": "error", "direction": "min"}]}, "objectives.direction"),
        ({"space": {"lr": {"type": "loguniform", "low": 1, "high": 2}}}, "space.lr.type"),
    ],
)
def test_answers_habits(changes: dict[str, Any], says: str):
    with pytest.raises(UnknownArgumentError, match=says):
        settings(**changes)


def test_no_key_of_ours_is_a_habit_at_its_own_place():
    assert set(FILE_KEYS) & set(FILE_KEYWORDS) == {"seed", "prior"}  # habits among the options of parts
    StudySettings.from_dict({**MINIMAL, "seed": 3, "prior": "auto"})


def test_an_error_names_the_file_and_the_key(tmp_path: Path):
    path = tmp_path / "study.yaml"
    with pytest.raises(ArgumentError) as error:
        load(tmp_path, TEXT.replace("eta: 4", "eta: 0.5"))
    assert error.value.argument == f"{path}: scheduler.eta"
    assert error.value.received == 0.5
    with pytest.raises(UnknownArgumentError, match=r"study\.yaml: timeout"):
        load(tmp_path, TEXT + "timeout: 3\n")


@pytest.mark.parametrize("change", ["study=a/b", "save_every=0", "+enqueue=[{}]", "space.devices.counts=[1,4]"])
def test_what_python_would_refuse_later_is_refused_with_the_file(tmp_path: Path, change: str):
    with pytest.raises(ArgumentError, match=r"study\.yaml: (study|save_every|enqueue\.0|space\.devices)` is"):
        load(tmp_path, TEXT, change)


def test_what_only_this_host_can_refuse_names_the_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    given = load(tmp_path, TEXT, "pool.accelerator=gpu", "pool.devices=4", f"+dir={tmp_path}")
    with (
        pytest.raises(ArgumentError, match=r"`study\.yaml: pool\.devices` is 4; allowed: at most 1; this machine"),
        given.located("study.yaml"),
    ):
        hwt.Study(**given.study_kwargs())


def test_the_host_is_not_asked_for_its_devices_before_the_study_is_built(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert settings(pool={"accelerator": "gpu", "devices": 8}, space=DEVICES).pool["devices"] == 8
    assert settings(space=DEVICES).limits().max_parallel is None
    assert settings(executor="inline").limits().max_parallel == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("study: [", "study.yaml.*valid YAML"),
        ("study: a\nstudy: b\n", "study.yaml.*valid YAML.*\n.*"),
        ("- a\n", "a YAML mapping"),
        ("", "every study needs it"),
        ("study: ${nowhere}\n", "nowhere"),
        ("max_time: 1:30\n", "line 1: YAML reads 1:30 as one number"),
        ("a: 1\nb: {options: [yes, maybe]}\n", "line 2: YAML reads yes as true. Write true, or 'yes' in quotes"),
        ("space:\n  on: {type: float}\n", "line 2: YAML reads on as true"),
        ("- a\n- - off\n", "line 2: YAML reads off as false"),
    ],
)
def test_refuses_files(tmp_path: Path, text: str, says: str):
    with pytest.raises(ArgumentError, match=says):
        load(tmp_path, text)


def test_words_that_are_meant_as_yaml_reads_them_are_taken(tmp_path: Path):
    path = tmp_path / "study.yaml"
    path.write_text("check: no\na: [true, 'yes', \"on\", 'FALSE', False]\n'off': 1\nb: '1:30'\nc: 0:30\n")
    data = {"check": False, "a": [True, "yes", "on", "FALSE", False], "off": 1, "b": "1:30", "c": "0:30"}
    assert read_yaml(path, "a mapping") == data


def test_refuses_a_missing_file(tmp_path: Path):
    with pytest.raises(ArgumentError, match=r"a readable YAML file.*No such file"):
        StudySettings.load(tmp_path / "none.yaml")
    with pytest.raises(ArgumentError, match="a readable YAML file"):
        StudySettings.load(tmp_path)


def test_a_missing_module_is_told_when_it_is_needed():
    given = settings(train="no_such_module:train")
    with pytest.raises(ArgumentError, match="no module 'no_such_module'"):
        given.run_kwargs()


# ---------------------------------------------------------------- documentation


def test_the_page_is_made_from_the_schema():
    path = REPOSITORY / "docs/write_study_file.py"
    spec = importlib.util.spec_from_file_location("write_study_file", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text() == script.updated(), "docs/study-file.md is stale: python docs/write_study_file.py"


def test_the_page_has_every_option_and_kind():
    page = (REPOSITORY / "docs/study-file.md").read_text()
    for cls in (*SCHEDULERS.values(), *SEARCHERS.values(), hwt.Pool):
        for name in options(cls):
            assert f"`{name}`" in page, f"{cls.__name__}.{name}"
    for word in (
        *SCHEDULERS,
        *SEARCHERS,
        *WITHIN,
        "float",
        "int",
        "choice",
        "num_devices",
        "train_s",
        "device_s",
        "cost_usd",
    ):
        assert f"`{word}`" in page, word


# ---- conditions

CONDITIONAL: dict[str, Any] = {
    "optimizer": {"type": "choice", "options": ["adam", "sgd"]},
    "momentum": {"type": "float", "low": 0.5, "high": 0.9, "when": {"optimizer": "sgd"}},
}


def test_a_study_file_has_conditions_and_overrides_change_them(tmp_path: Path) -> None:
    text = TEXT.replace("space:\n", "space:\n  optimizer: {type: choice, options: [adam, sgd]}\n")
    text = text.replace("high: 128}", "high: 128, when: {optimizer: sgd}}")
    space = load(tmp_path, text).study_kwargs()["space"]
    assert space["optim.width"] == hwt.Int(8, 128, when={"optimizer": "sgd"})
    space = load(tmp_path, text, "space.optim.width.when.optimizer=[adam,sgd]").study_kwargs()["space"]
    assert space["optim.width"] == hwt.Int(8, 128, when={"optimizer": ["adam", "sgd"]})
    space = load(tmp_path, text, "~space.optim.width.when").study_kwargs()["space"]
    assert space["optim.width"] == hwt.Int(8, 128)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        (
            {"space": CONDITIONAL | {"x": {"type": "int", "low": 0, "high": 1, "when": {"optimizer": "sdg"}}}},
            "space.x.when",
        ),
        ({"space": CONDITIONAL | {"x": {"type": "int", "low": 0, "high": 1, "when": {"x": 1}}}}, "space.x.when"),
        ({"space": CONDITIONAL | {"x": {"type": "int", "low": 0, "high": 1, "when": "sgd"}}}, "space.x.when"),
        (
            {"space": CONDITIONAL | {"n": {"type": "num_devices", "counts": [1], "when": {"optimizer": "sgd"}}}},
            "space.n.when",
        ),
        ({"space": CONDITIONAL, "enqueue": [{"optimizer": "adam", "momentum": 0.5}]}, "enqueue.0.momentum"),
        ({"space": CONDITIONAL, "enqueue": [{"optimizer": "sgd"}]}, "enqueue"),
    ],
)
def test_a_wrong_condition_is_refused_with_its_key(changes: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        settings(**changes)
    assert caught.value.argument.startswith(argument)
