"""The node `hydra.sweeper`: its schema, what it refuses, and the study that it describes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra_plugins.hwtune_sweeper import HwtuneConf, HwtuneSweeperConf
from omegaconf import DictConfig, OmegaConf

sys.path.insert(0, str(Path(__file__).parents[2] / "stored_logs"))
from stored import Stored

from lightning_hwtune.apps.hydra.directions import directions
from lightning_hwtune.apps.hydra.jobs import monitors_of
from lightning_hwtune.apps.hydra.node import HWTUNE_KEYS, NOT_IN_HWTUNE, SWEEPER_KEYS
from lightning_hwtune.apps.hydra.settings import SweepSettings
from lightning_hwtune.apps.hydra.study_name import default_name, keep_digest, n_trials_begun
from lightning_hwtune.apps.monitors import Monitor
from lightning_hwtune.apps.trainer_settings import Horizon
from lightning_hwtune.core.objectives import Metric
from lightning_hwtune.core.parameters import Float
from lightning_hwtune.core.schedulers import RunToEnd
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.engine.check_segment_orders import check_segment_order
from lightning_hwtune.engine.session import Session
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.names.keywords import FILE_KEYWORDS
from lightning_hwtune.settings import StudySettings
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.study import Study

SPACE = SearchSpace(x=Float(0.0, 1.0))
OF_THE_APP = {"ckpt_path_key", "devices_key", "batch_size_key", "max_epochs_key"}


def node(**changes: Any) -> DictConfig:
    config = OmegaConf.structured(HwtuneSweeperConf)
    OmegaConf.set_struct(config, False)
    OmegaConf.set_struct(config.hwtune, False)
    config.merge_with(changes)
    return config


def study(n_begun: int = 0, **changes: Any) -> StudySettings:
    judged = ([{"metric": "loss", "mode": "min"}], {"name": "run_to_end", "max_epochs": 1})
    return SweepSettings.of(node(**changes)).study("train", SPACE, *judged, n_begun=n_begun)


def test_the_schema_has_the_keys_of_study_files_with_their_defaults() -> None:
    own = OmegaConf.to_container(OmegaConf.structured(HwtuneConf))
    elsewhere = {"study", "train", "space", "max_trials", "max_parallel", "storage"}
    assert set(own) == set(FILE_KEYS) - elsewhere | OF_THE_APP
    for name in set(own) - OF_THE_APP - {"objectives", "scheduler", "preload", "callbacks"}:
        assert own[name] == FILE_KEYS[name].default, name
    assert (own["objectives"], own["scheduler"], own["preload"], own["callbacks"]) == (None, None, [], [])


def test_totals_and_caps_become_limits() -> None:
    settings = study(n_trials=40, n_jobs=3, study_name="mine", hwtune={"max_time": "8h", "pool": {"devices": 4}})
    assert (settings.run["max_trials"], settings.run["max_parallel"], settings.study) == (40, 3, "mine")
    assert settings.limits().max_time_s == 8 * 3600
    assert settings.pool == {"devices": 4}


@pytest.mark.parametrize(("rate", "n"), [(None, 3), (0.0, 1), (0.1, 3), (1.0, 21)])
def test_a_failure_rate_is_a_number_of_failed_trials(rate: float | None, n: int) -> None:
    assert study(max_failure_rate=rate, n_trials=20).max_failures == n


@pytest.mark.parametrize("rate", [None, 0.0, 1.0])
def test_a_given_number_of_failed_trials_takes_precedence_over_the_rate(rate: float | None) -> None:
    assert study(max_failure_rate=rate, hwtune={"max_failures": 6}).max_failures == 6


@pytest.mark.parametrize(
    ("rate", "n_trials", "n_begun", "n"),
    [
        (0.1, 20, 20, 3),
        (0.1, 10, 20, 3),  # a lower limit does not fail a sweep of 20 trials, of which 2 failed
        (0.1, 1, 100, 11),
        (0.1, 40, 20, 5),  # a higher one continues it, as a higher `max_failures` does
        (0.0, 1, 100, 1),
    ],
)
def test_a_failure_rate_counts_the_trials_that_the_study_has(rate: float, n_trials: int, n_begun: int, n: int) -> None:
    assert study(n_begun, max_failure_rate=rate, n_trials=n_trials).max_failures == n
    assert study(n_begun, n_trials=n_trials).max_failures == 3


def test_the_trials_of_a_stored_study_are_counted(tmp_path: Path) -> None:
    stored = Stored("0.2.0.dev0", "asha_one_device")
    assert n_trials_begun(tmp_path, stored.name, None) == 0
    stored.put(tmp_path)
    assert n_trials_begun(tmp_path, stored.name, None) == len(stored.state(len(stored.events)).trials)


def test_a_study_without_a_name_is_named_by_what_is_searched(tmp_path: Path) -> None:
    given = SweepSettings.of(node())
    judged: tuple[Any, ...] = ([{"metric": "loss", "mode": "min"}], {"name": "run_to_end", "max_epochs": 1})
    spaces, fixed = (SPACE, SearchSpace(x=Float(0.0, 2.0))), ([], ["data.batch_size=8"], ["--config-name", "small"])
    digests = [given.digest(space, *judged, texts) for space in spaces for texts in fixed]
    assert len(set(digests)) == 6
    names = []
    for digest in digests:
        names.append(default_name(tmp_path, "train", ["model.opt.lr", "trainer.devices"], digest))
        keep_digest(tmp_path / names[-1], digest)
    assert names == ["train-lr-devices", *(f"train-lr-devices-{number}" for number in range(2, 7))]
    again = [default_name(tmp_path, "train", ["model.opt.lr", "trainer.devices"], digest) for digest in digests]
    assert again == names


def test_a_misspelt_key_of_the_sweeper_is_refused() -> None:
    for key, near in {"n_trial": "n_trials", "n_job": "n_jobs", "direktion": "direction"}.items():
        with pytest.raises(ArgumentError, match=f"hydra.sweeper.{key}.*did you mean '{near}'"):
            SweepSettings.of(node(**{key: 2}))


def test_a_default_name_is_short_and_spares_other_folders(tmp_path: Path) -> None:
    assert default_name(tmp_path, "app", ["a.w", "b.x", "c/d@e", "y", "z"], "0") == "app-w-x-d_e-2_more"
    (tmp_path / "app-w").mkdir()  # a study that the user named so
    assert default_name(tmp_path, "app", ["w"], "0") == "app-w-2"
    (tmp_path / "app-0").mkdir()  # a study of the time when names had no words
    assert default_name(tmp_path, "app", ["w"], "0") == "app-0"


def test_a_study_that_ended_before_its_first_trial_takes_no_name(tmp_path: Path) -> None:
    def named(digest: str) -> str:
        return default_name(tmp_path, "app", ["lr"], digest)

    def begun(name: str, digest: str, n_trials: int) -> None:
        keep_digest(tmp_path / name, digest)
        objectives, scheduler = [Metric("loss", "min")], RunToEnd(max_epochs=1)
        study = Study(name, {"lr": Float(0.0, 1.0)}, objectives, scheduler=scheduler, dir=tmp_path)
        if n_trials:
            assert study.ask(progress=False) is not None
        else:
            study.enqueue({"lr": 0.5})
        study.close()

    begun("app-lr", "wrong", 0)  # what a failed check leaves, too: a log without a trial
    assert [named("wrong"), named("right")] == ["app-lr", "app-lr"]
    begun("app-lr-2", "other", 1)
    assert [named("right"), named("other")] == ["app-lr", "app-lr-2"]  # a study that has begun keeps its own
    begun("app-lr", "right", 1)
    assert [named("right"), named("wrong")] == ["app-lr", "app-lr-3"]


def test_a_study_that_is_just_beginning_keeps_its_name(tmp_path: Path) -> None:
    keep_digest(tmp_path / "app-lr", "first")  # no log yet
    assert default_name(tmp_path, "app", ["lr"], "second") == "app-lr-2"
    spec = described({}).spec()
    with Session(spec, StudyFiles(tmp_path, "app-lr"), Limits()):  # its check takes some time
        assert default_name(tmp_path, "app", ["lr"], "second") == "app-lr-2"
    assert default_name(tmp_path, "app", ["lr"], "second") == "app-lr"


def described(changes: dict[str, Any]) -> StudySettings:
    given = SweepSettings.of(node(**changes))
    return given.study("train", SPACE, [{"metric": "loss", "mode": "min"}], given.scheduler(Horizon(9, None)) or {})


@pytest.mark.parametrize(
    "changes",
    [
        {"n_trials": 0},
        {"n_jobs": 0},
        {"max_failure_rate": 1.5},
        {"storage": {"_target_": "optuna.storages.JournalStorage"}},
        {"hwtune": {"scheduler": {"name": "ash"}}},
        {"hwtune": {"objectivs": []}},
        {"hwtune": {"pool": {"device": 2}}},
    ],
)
def test_bad_values_are_refused_with_their_key(changes: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        described(changes)


@pytest.mark.parametrize("changes", [{"hwtune": None}, {"hwtune": {}}, {"hwtune": {"scheduler": "asha"}}])
@pytest.mark.parametrize("without", [(), ("n_trials",), ("direction", "n_jobs")])
def test_a_key_that_is_not_there_has_its_default(changes: dict[str, Any], without: tuple[str, ...]) -> None:
    config = OmegaConf.create(OmegaConf.to_container(node()))  # as in a configuration that only names the class
    for key, value in changes.items():
        config[key] = value
    for key in without:
        del config[key]
    found, usual = SweepSettings.of(config), SweepSettings.of(node())
    assert (found.modes, found.n_jobs, found.defaults) == (usual.modes, usual.n_jobs, usual.defaults)
    assert {**found.own, "scheduler": None} == {**usual.own, "scheduler": None}
    assert found.scheduler(Horizon(epochs=9, steps=None)) == {"name": "asha", "max_epochs": 9}


def test_another_tools_name_gets_an_answer() -> None:
    with pytest.raises(UnknownArgumentError, match="max_time"):
        SweepSettings.of(node(hwtune={"timeout": 3}))


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("study", "hydra.sweeper.study_name"),
        ("study_name", "hydra.sweeper.study_name"),
        ("project_name", "hydra.sweeper.study_name"),
        ("max_trials", "hydra.sweeper.n_trials"),
        ("num_samples", "hydra.sweeper.n_trials"),
        ("n_jobs", "hydra.sweeper.n_jobs"),
        ("storage", "hydra.sweeper.storage"),
        ("parameters", "hydra.sweeper.params"),
        ("trainable", "the app itself"),
        ("sampler", "use `searcher`"),
    ],
)
def test_keys_of_hwtune_that_are_set_elsewhere(key: str, instead: str) -> None:
    with pytest.raises(
        UnknownArgumentError, match=re.escape(f"unknown argument `hydra.sweeper.hwtune.{key}`")
    ) as refused:
        SweepSettings.of(node(hwtune={key: "x"}))
    assert instead in refused.value.here


def test_each_answer_names_a_key_that_exists() -> None:
    for key in {*FILE_KEYS, *FILE_KEYWORDS} - {*HWTUNE_KEYS}:
        with pytest.raises(UnknownArgumentError) as refused:
            SweepSettings.of(node(hwtune={key: "x"}))
        if ours := re.match(r"use `(\w+)`", refused.value.here):
            assert ours[1] not in NOT_IN_HWTUNE, key
        if ours := re.match(r"set `hydra.sweeper.(\w+)`", refused.value.here):
            assert ours[1] in SWEEPER_KEYS, key


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("searcher", "hwtune.searcher"),
        ("max_time", "hwtune.max_time"),
        ("max_trials", "n_trials"),
        ("study", "study_name"),
    ],
)
def test_keys_of_hwtune_beside_it_are_refused(key: str, instead: str) -> None:
    with pytest.raises(UnknownArgumentError, match=f"`hydra.sweeper.{key}`: set `hydra.sweeper.{instead}`"):
        SweepSettings.of(node(**{key: "1h"}))


def test_keys_without_an_effect_are_told_and_do_not_fail() -> None:
    notes = SweepSettings.of(node(sampler={"name": "tpe"}, search_space={"x": 1}, n_warmup=3)).notes
    assert [note.split(" ")[0] for note in sorted(notes)] == [
        "hydra.sweeper.n_warmup", "hydra.sweeper.sampler", "hydra.sweeper.search_space",
    ]  # fmt: skip
    assert not SweepSettings.of(node(search_space={})).notes


# ---------------------------------------------------------------------- what decides at the rungs

APP = OmegaConf.create(
    {
        "metric": "val/acc",
        "callbacks": {
            "stop": {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/loss"},
            "save": {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "monitor": "${metric}", "mode": "max"},
            "last": {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "monitor": None},
        },
        "trainer": {"callbacks": [{"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "${hydra:x}"}]},
    }
)


def test_the_apps_callbacks_say_what_they_watch() -> None:
    assert monitors_of(APP) == [
        Monitor("val/acc", "max", "callbacks.save"),
        Monitor("val/loss", "min", "callbacks.stop"),
    ]


@pytest.mark.parametrize(
    ("direction", "objective"),
    [
        ("maximize", {"metric": "val/acc", "mode": "max"}),
        ("minimize", {"metric": "val/loss", "mode": "min"}),
        (["minimize"], {"metric": "val/loss", "mode": "min"}),
        (None, {"metric": "val/acc", "mode": "max"}),
    ],
)
def test_the_monitor_that_agrees_with_the_direction_decides(direction: Any, objective: dict[str, str]) -> None:
    given = SweepSettings.of(node(direction=direction))
    objectives, reason = given.objectives(monitors_of(APP))
    assert objectives == [objective]
    assert "callbacks." in reason


@pytest.mark.parametrize(
    ("direction", "mode"), [("maximize", "min"), ("minimize", "max"), (["maximize"], "min"), ("max", "min")]
)
def test_a_direction_unlike_the_monitors_is_refused(direction: Any, mode: str) -> None:
    given = SweepSettings.of(node(direction=direction))
    with pytest.raises(
        ArgumentError, match=f"{mode}imize, since the app's callbacks.stop monitors val/loss"
    ) as refused:
        given.objectives([Monitor("val/loss", mode, "callbacks.stop")])
    assert refused.value.argument == "hydra.sweeper.direction"
    assert "hwtune.objectives=returned" in str(refused.value)


@pytest.mark.parametrize(
    ("direction", "watched", "mode"),
    [("maximize", [], "max"), (None, [], "min"), (None, [Monitor("acc", "max", "stop")], "max"),
     ("minimize", [Monitor("acc", "max", "stop")], "min")],
)  # fmt: skip
def test_the_returned_value_alone_counts_where_that_is_said(
    direction: str | None, watched: list[Monitor], mode: str
) -> None:
    given = SweepSettings.of(node(direction=direction, hwtune={"objectives": "returned"}))
    assert given.objectives(watched)[0] == []
    assert given.value_objectives(watched) == [{"metric": "value", "mode": mode}]


def test_several_directions_are_several_values() -> None:
    given = SweepSettings.of(node(direction=["minimize", "maximize"]))
    assert given.objectives(monitors_of(APP))[0] == []
    assert [item["mode"] for item in given.value_objectives()] == ["min", "max"]


def test_objectives_of_the_users_win() -> None:
    given = SweepSettings.of(node(hwtune={"objectives": [{"metric": "x", "mode": "max"}, "train_s"]}))
    assert given.objectives(monitors_of(APP))[0] == [{"metric": "x", "mode": "max"}, "train_s"]


@pytest.mark.parametrize("direction", ["down", [], ["minimize", "sideways"], 3])
def test_what_is_no_direction_is_refused(direction: Any) -> None:
    with pytest.raises(ArgumentError, match="minimize"):
        directions(direction)


def test_the_horizon_is_the_apps() -> None:
    assert SweepSettings.of(node()).scheduler(Horizon(9, None)) == {"name": "asha", "max_epochs": 9}
    assert SweepSettings.of(node()).scheduler(Horizon(None, None)) is None
    given = SweepSettings.of(node(hwtune={"scheduler": {"name": "asha", "eta": 2, "max_epochs": 27}}))
    assert given.scheduler(Horizon(None, None)) == {"name": "asha", "eta": 2, "max_epochs": 27}
    with pytest.raises(ArgumentError, match=r"trainer\.max_epochs=27"):
        given.scheduler(Horizon(9, None))


@pytest.mark.parametrize("rule", ["mean", "max", "min", "sum", "rank0"])
def test_the_rule_across_ranks_of_an_objective_reaches_the_ranks(rule: str, tmp_path: Path) -> None:
    form = {"metric": "loss", "mode": "min", "across_ranks": rule}
    given = SweepSettings.of(node(hwtune={"objectives": [form], "dir": str(tmp_path)}))
    objectives, _ = given.objectives([])
    settings = given.study("train", SPACE, objectives, {"name": "run_to_end", "max_epochs": 1})
    spec = Study(**settings.study_kwargs()).spec
    assert dict(check_segment_order(spec, {"x": 0.5}, tmp_path).across_ranks) == {"loss": rule}


@pytest.mark.parametrize("rule", ["maxx", "median", 0, ["max"]])
def test_another_rule_across_ranks_is_refused(rule: Any) -> None:
    form = {"metric": "loss", "mode": "min", "across_ranks": rule}
    config = node(hwtune={"objectives": [form]})
    with pytest.raises(ArgumentError, match=r"across_ranks.*allowed: 'mean', 'max', 'min', 'sum' or 'rank0'"):
        SweepSettings.of(config).study("train", SPACE, [form], {"name": "run_to_end", "max_epochs": 1})
