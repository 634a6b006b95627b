"""What `hwtune cli-tune` makes of a configuration and a space, before anything trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import lightning_hwtune as hwt
from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.apps.lightning_cli.study import CliStudy
from lightning_hwtune.errors import ArgumentError, HwTuneError, StudyMismatchError

CONFIG: dict[str, Any] = {
    "trainer": {
        "max_epochs": 9,
        "accelerator": "cpu",
        "devices": 1,
        "callbacks": [
            {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "val_loss"}},
            {"class_path": "my.ModelCheckpoint", "init_args": {"monitor": "val_acc", "mode": "max"}},
        ],
    },
    "model": {"init_args": {"lr": 0.1, "width": 8}},
    "data": {"init_args": {"batch_size": 32}},
}
LR = {"model.init_args.lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}}
DEVICES = {"trainer.devices": {"type": "num_devices", "counts": [1, 2]}}
BATCH = {"data.init_args.batch_size": {"type": "choice", "options": [32, 64]}}


def changed(**values: Any) -> dict[str, Any]:
    """The configuration with other values; a name's dots are written as two underlines."""
    text = ConfigTree(yaml.safe_dump(CONFIG)).replaced({k.replace("__", "."): v for k, v in values.items()}).text
    plain: dict[str, Any] = yaml.safe_load(text)
    return plain


@pytest.fixture
def prepare(tmp_path: Path) -> Any:
    def prepared(space: Any, *overrides: str, config: Any = CONFIG, **given: Any) -> CliStudy:
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(config))
        (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
        return CliStudy.read(
            tmp_path / "base.yaml", tmp_path / "space.yaml", overrides, given={"dir": str(tmp_path / "out"), **given}
        )

    return prepared


def trial_config(study: CliStudy, config: dict[str, Any], num_devices: int = 1, seed: int = 5) -> dict[str, Any]:
    plain: dict[str, Any] = yaml.safe_load(study.segment.trial.config(config, num_devices, seed).text)
    return plain


def test_what_is_not_said_is_taken_from_the_configuration(prepare: Any) -> None:
    study = prepare(LR, max_trials=3)
    built = study.settings.study_kwargs()
    assert study.settings.study == "base"
    assert built["objectives"].names == ("val_acc", "train_s")
    assert [objective.mode for objective in built["objectives"]] == ["max", "min"]
    assert repr(study.settings.spec().scheduler) == repr(hwt.ASHA(9))
    assert built["pool"].accelerator == "cpu"
    assert study.settings.run["max_trials"] == 3
    assert any("ModelCheckpoint" in note for note in study.notes)


def test_what_is_said_comes_first(prepare: Any) -> None:
    whole = {
        "study": "mine",
        "space": LR,
        "objectives": [{"metric": "f1", "mode": "max"}],
        "scheduler": {"name": "asha", "max_epochs": 27, "eta": 3},
        "pool": {"accelerator": "gpu", "devices": 1},
    }
    study = prepare(whole, "scheduler.eta=4", "space.model.init_args.lr.high=0.01")
    built = study.settings.study_kwargs()
    assert study.settings.study == "mine"
    assert built["objectives"].names == ("f1",)
    assert repr(built["scheduler"]) == repr(hwt.ASHA(27, eta=4))
    assert built["space"]["model.init_args.lr"].high == 0.01
    assert built["pool"].accelerator == "gpu"
    assert study.notes == ()
    assert trial_config(study, {})["trainer"]["max_epochs"] == 27
    assert repr(prepare(LR, "scheduler.eta=4").settings.study_kwargs()["scheduler"]) == repr(hwt.ASHA(9, eta=4))
    ladder = prepare(LR, "scheduler.first_rung=1", "scheduler.eta=4").settings.study_kwargs()["scheduler"]
    assert repr(ladder) == repr(hwt.ASHA(9, first_rung=1, eta=4))


def test_a_trial_is_the_configuration_with_its_values(prepare: Any) -> None:
    study = prepare({**LR, **BATCH, **DEVICES}, config=changed(seed_everything=True))
    config = {"model.init_args.lr": 0.003, "data.init_args.batch_size": 64, "trainer.devices": 2}
    expected = changed(
        seed_everything=5,
        model__init_args__lr=0.003,
        data__init_args__batch_size=32,  # each device takes its share
        trainer__devices=2,
    )
    assert trial_config(study, config, num_devices=2) == expected
    assert trial_config(study, config | {"trainer.devices": 1}, num_devices=1)["data"]["init_args"]["batch_size"] == 64


WIDE = {"class_path": "nets.Wide", "init_args": {"width": 64}}
ADAM = [{"class_path": "torch.optim.Adam"}, None]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("model", [{"class_path": "nets.Deep"}, WIDE]),
        ("model.init_args", [{"lr": 0.1, "width": 4}, {"lr": 0.2, "width": 8}]),
        ("model.init_args.width", [[8, 8], [16], None]),
        ("trainer.callbacks", [None, [], [{"class_path": "my.EarlyStopping"}]]),
        ("data.init_args.batch_size", [32, None]),
    ],
)
def test_an_option_may_be_a_section_a_list_or_nothing(prepare: Any, name: str, options: list[Any]) -> None:
    study = prepare({name: {"type": "choice", "options": options}}, "objectives=[{metric: a, mode: min}]")
    for option in options:
        found: Any = trial_config(study, {name: option})
        for part in name.split("."):
            found = found[part]
        assert found == option


def test_a_batch_size_in_a_section_that_is_searched_is_shared(prepare: Any) -> None:
    sections = [{"init_args": {"batch_size": size}} for size in (16, 64)]
    space = {"data": {"type": "choice", "options": sections}, **DEVICES}
    study = prepare(space)
    shares = [trial_config(study, {"data": option}, 2)["data"]["init_args"]["batch_size"] for option in sections]
    assert shares == [8, 32]
    space["data"]["options"] = [*sections, {"init_args": {"batch_size": 7}}]
    with pytest.raises(ArgumentError, match=r"batch_size.* is 7; allowed: a positive multiple of 1 and of 2"):
        prepare(space)


def test_a_name_inside_another_one_is_refused(prepare: Any) -> None:
    with pytest.raises(ArgumentError, match="a name outside of model"):
        prepare({**LR, "model": {"type": "choice", "options": [WIDE, {}]}})


def test_a_seed_of_the_users_stays(prepare: Any) -> None:
    for seed in (42, False):
        assert trial_config(prepare(LR, config=changed(seed_everything=seed)), {})["seed_everything"] is seed
    assert trial_config(prepare(LR), {})["seed_everything"] == 5


def test_a_fixed_batch_size_is_shared_too(prepare: Any) -> None:
    study = prepare({**LR, **DEVICES})
    assert "32 is the global batch" in "".join(study.notes)
    assert trial_config(study, {}, num_devices=2)["data"]["init_args"]["batch_size"] == 16
    each = prepare({**LR, **DEVICES}, "batch=per_device")
    assert trial_config(each, {}, num_devices=2)["data"]["init_args"]["batch_size"] == 32
    with pytest.raises(ArgumentError, match=r"batch_size.*33.*multiple of 1 and of 2"):
        prepare({**LR, **DEVICES}, config=changed(data__init_args__batch_size=33))


def test_devices_that_the_configuration_fixes_stay(prepare: Any) -> None:
    study = prepare(LR, config=changed(trainer__devices=2))
    assert study.settings.study_kwargs()["space"]["trainer.devices"] == hwt.NumDevices(2)
    for devices in ("auto", -1):
        assert "trainer.devices" not in prepare(LR, config=changed(trainer__devices=devices)).settings.space
    with pytest.raises(ArgumentError, match="give only their number"):
        prepare(LR, config=changed(trainer__devices=[0, 1]))


def test_a_choice_of_devices_is_a_number_of_devices(prepare: Any) -> None:
    study = prepare({"trainer.devices": {"type": "choice", "options": [1, 2]}})
    assert study.settings.study_kwargs()["space"]["trainer.devices"] == hwt.NumDevices(1, 2)


def test_a_horizon_in_steps(prepare: Any) -> None:
    study = prepare(LR, "scheduler.max_steps=90")
    trainer = trial_config(study, {})["trainer"]
    assert (trainer["max_epochs"], trainer["max_steps"]) == (-1, 90)


@pytest.mark.parametrize(
    ("space", "overrides", "config", "said"),
    [
        ({}, (), CONFIG, "at least one parameter"),
        ({"model.lr": LR["model.init_args.lr"]}, (), CONFIG, r"did you mean 'model\.init_args\.lr'"),
        ({"model": LR["model.init_args.lr"]}, (), CONFIG, "a value in this section"),
        ({"model.init_args.lr": 0.1}, (), CONFIG, r"space\..*model\.init_args\.lr"),
        ({"trainer.max_epochs": {"type": "int", "low": 1, "high": 9}}, (), CONFIG, r"The scheduler's max_epochs"),
        ({"trainer.devices": {"type": "int", "low": 1, "high": 2}}, (), CONFIG, "num_devices"),
        ({"model.init_args.width": DEVICES["trainer.devices"]}, (), CONFIG, "a type other than num_devices"),
        ({"space": LR, "train": "a:b"}, (), CONFIG, "the script trains"),
        (LR, ("max_trails=3",), CONFIG, "Did you mean 'max_trials'"),
        (LR, (), {"fit": CONFIG}, "Move the content of `fit`"),
        (LR, (), changed(ckpt_path="a.ckpt"), "resumes from its own checkpoint"),
        (LR, (), changed(trainer__callbacks=None), "No ModelCheckpoint or EarlyStopping"),
        (LR, (), changed(trainer__max_epochs=None), r"trainer\.max_epochs into the configuration"),
    ],
)
def test_bad_input_is_told_before_anything_begins(
    prepare: Any, tmp_path: Path, space: Any, overrides: tuple[str, ...], config: Any, said: str
) -> None:
    with pytest.raises(HwTuneError, match=said):
        prepare(space, *overrides, config=config)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("space", "config", "said"),
    [
        (LR, {"fit": CONFIG}, r"base\.yaml: config` is 'fit'"),
        (LR, changed(ckpt_path="a.ckpt"), r"base\.yaml: ckpt_path`"),
        (LR, changed(trainer__devices=[0, 1]), r"base\.yaml: trainer\.devices`"),
        ({**LR, **DEVICES}, changed(data__init_args__batch_size=33), r"base\.yaml: data\.init_args\.batch_size`"),
        ({"model.lr": LR["model.init_args.lr"]}, CONFIG, r"space\.yaml: space` is 'model\.lr'"),
        ({"space": LR, "train": "a:b"}, CONFIG, r"space\.yaml: train`"),
        (LR, changed(trainer__callbacks=None), r"space\.yaml: objectives`"),
        (LR, changed(trainer__max_epochs=None), r"space\.yaml: scheduler`"),
        ({"space": LR, "save_every": 0}, CONFIG, r"space\.yaml: save_every`"),
    ],
)
def test_bad_input_is_told_with_its_file_and_key(prepare: Any, space: Any, config: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        prepare(space, config=config)


def test_a_study_goes_on_with_the_configuration_that_it_began_with(prepare: Any) -> None:
    first = prepare(LR)
    study = hwt.Study(**first.settings.study_kwargs())
    first.check_stored(study)
    second = prepare(LR, config=changed(model__init_args__width=9))
    second.check_stored(study)  # nothing has been trained with the other one
    trial = study.ask(max_trials=1)
    assert trial is not None
    trial.report(1, val_acc=0.5)
    study.close()
    second.check_stored(study)
    prepare(LR, config=changed(model__init_args__width=9, model__init_args__lr=0.2)).check_stored(study)
    with pytest.raises(StudyMismatchError) as caught:
        first.check_stored(study)
    assert caught.value.differences == {"model.init_args.width": ("9", "8")}


def test_what_is_in_a_section_that_is_searched_may_differ(prepare: Any) -> None:
    space = {"model": {"type": "choice", "options": [WIDE, {"class_path": "nets.Deep"}]}}
    first = prepare(space)
    study = hwt.Study(**first.settings.study_kwargs())
    first.check_stored(study)
    trial = study.ask(max_trials=1)
    assert trial is not None
    trial.report(1, val_acc=0.5)
    study.close()
    prepare(space, config=changed(model__init_args__width=9)).check_stored(study)
    with pytest.raises(StudyMismatchError, match="data"):
        prepare(space, config=changed(data__init_args__batch_size=16)).check_stored(study)


OPTIMIZER: dict[str, Any] = {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.1}}
CONDITIONAL = {
    "optimizer.class_path": {"type": "choice", "options": ["torch.optim.Adam", "torch.optim.SGD"]},
    "optimizer.init_args.momentum": {
        "type": "float", "low": 0.5, "high": 0.9, "when": {"optimizer.class_path": "torch.optim.SGD"}
    },
    "model.init_args.width": {"type": "int", "low": 4, "high": 6, "when": {"optimizer.class_path": "torch.optim.Adam"}},
}  # fmt: skip


def test_the_configurations_own_value_counts_where_a_condition_does_not_hold(prepare: Any) -> None:
    study = prepare(CONDITIONAL, config={**CONFIG, "optimizer": OPTIMIZER})
    sgd = {"optimizer.class_path": "torch.optim.SGD", "optimizer.init_args.momentum": 0.7}
    adam = {"optimizer.class_path": "torch.optim.Adam", "model.init_args.width": 5}
    space = study.settings.study_kwargs()["space"]
    assert [space.validate(config) for config in (sgd, adam)] == [sgd, adam]
    trial = trial_config(study, sgd)
    assert trial["optimizer"] == {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "momentum": 0.7}}
    assert trial["model"]["init_args"]["width"] == 8
    trial = trial_config(study, adam)
    assert trial["optimizer"] == OPTIMIZER
    assert trial["model"]["init_args"]["width"] == 5


def test_a_study_with_conditions_keeps_the_values_that_count_where_they_do_not_hold(prepare: Any) -> None:
    base = {**CONFIG, "optimizer": OPTIMIZER}
    first = prepare(CONDITIONAL, config=base)
    study = hwt.Study(**first.settings.study_kwargs())
    first.check_stored(study)
    trial = study.ask(max_trials=1)
    assert trial is not None
    trial.report(1, val_acc=0.5)
    study.close()
    first.check_stored(study)
    other = changed(model__init_args__width=9) | {"optimizer": OPTIMIZER}
    with pytest.raises(StudyMismatchError, match=r"model\.init_args\.width"):
        prepare(CONDITIONAL, config=other).check_stored(study)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            LR | {"optim.momentum": {"type": "float", "low": 0, "high": 1, "when": {"model.init_args.lr": 0.1}}},
            "optim.mom",
        ),
        (
            {"model.init_args.width": {"type": "int", "low": 4, "high": 6, "when": {"model.init_args.lr": 0.1}}, **LR},
            "model.init_args.width.when",
        ),
        (
            BATCH | {"trainer.devices": {**DEVICES["trainer.devices"], "when": {"data.init_args.batch_size": 32}}},
            "every trial",
        ),
        (
            BATCH
            | {"trainer.devices": {"type": "choice", "options": [1, 2], "when": {"data.init_args.batch_size": 32}}},
            "every trial",
        ),
    ],
)
def test_a_condition_that_cannot_hold_is_refused_with_its_key(prepare: Any, space: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        prepare(space)
