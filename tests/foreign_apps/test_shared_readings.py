"""A Hydra app and a LightningCLI script with the same content are read in the same way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from lightning_hwtune.apps.batch_share import batch_share, check_batch_sizes
from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.apps.hydra.jobs import monitors_of
from lightning_hwtune.apps.hydra.settings import SweepSettings
from lightning_hwtune.apps.lightning_cli.study import CliStudy
from lightning_hwtune.apps.monitors import Monitor, monitors
from lightning_hwtune.apps.script_call import ended_by_exit, run_as_main
from lightning_hwtune.apps.seen_configs import Facts, Seen, SeenConfigs
from lightning_hwtune.apps.trainer_settings import Horizon, shared_devices, shared_horizon
from lightning_hwtune.errors import ArgumentError, TrialError

LR = {"model.lr": {"type": "float", "low": 1e-4, "high": 0.1}}
DEVICES = {"trainer.devices": {"type": "num_devices", "counts": [1, 2]}}


def seen(*values: dict[str, Any]) -> SeenConfigs:
    return SeenConfigs(tuple(Seen({"preset": index}, Facts(value, ())) for index, value in enumerate(values)))


def callback(name: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    return f"lightning.pytorch.callbacks.{name}", arguments


def in_both(*callbacks: tuple[str, dict[str, Any]], **more: Any) -> list[list[tuple[str, str, str]]]:
    """The monitors as each way in reads them: metric, mode and class."""
    hydra = OmegaConf.create({**more, "callbacks": [{"_target_": name, **given} for name, given in callbacks]})
    items = [{"class_path": name, "init_args": given} for name, given in callbacks]
    tree = ConfigTree(yaml.safe_dump({**more, "trainer": {"callbacks": items}}))
    read = monitors_of(hydra), monitors(tree.plain(), tree.get)
    return [[(found.metric, found.mode, found.callback) for found in each] for each in read]


@pytest.mark.parametrize(
    ("callbacks", "expected"),
    [
        ([], []),
        ([callback("ModelCheckpoint")], []),
        ([callback("ModelCheckpoint", monitor="a")], [("a", "min", "ModelCheckpoint")]),
        ([callback("ModelCheckpoint", monitor="a", mode=None)], [("a", "min", "ModelCheckpoint")]),
        ([callback("ModelCheckpoint", monitor="a", mode="lower")], []),
        ([callback("ModelCheckpoint", monitor="a", mode="${oc.env:NO_SUCH_NAME}")], []),
        ([callback("EarlyStopping", monitor="${target}", mode="${how}")], [("acc", "max", "EarlyStopping")]),
        ([callback("LearningRateMonitor", monitor="a"), callback("ReduceLROnPlateau", monitor="a")], []),
        (
            [callback("EarlyStopping", monitor="a"), callback("my.BestModelCheckpoint", monitor="b", mode="max")],
            [("b", "max", "BestModelCheckpoint"), ("a", "min", "EarlyStopping")],
        ),
        (
            [callback("ModelCheckpoint", monitor="a"), callback("ModelCheckpoint", monitor="b", mode="max")],
            [("a", "min", "ModelCheckpoint"), ("b", "max", "ModelCheckpoint")],
        ),
    ],
)
def test_monitors_are_the_same_in_both(callbacks: Any, expected: list[tuple[str, str, str]]) -> None:
    assert in_both(*callbacks, target="acc", how="max") == [expected, expected]


def test_a_monitor_says_where_it_is() -> None:
    tree = ConfigTree("trainer: {callbacks: [{class_path: ModelCheckpoint, init_args: {monitor: a}}]}")
    assert monitors(tree.plain(), tree.get) == [Monitor("a", "min", "trainer.callbacks[0]")]
    hydra = OmegaConf.create({"callbacks": {"save": {"_target_": "x.ModelCheckpoint", "monitor": "a"}}})
    assert monitors_of(hydra) == [Monitor("a", "min", "callbacks.save")]


@pytest.mark.parametrize(
    ("given", "number"), [(None, 1), ("auto", 1), (-1, 1), ("-1", 1), (1, 1), ("1", 1), (2, 2), ("2", 2), (8, 8)]
)
def test_a_number_of_devices(given: Any, number: int) -> None:
    assert shared_devices(seen({"d": given}, {"d": given}), "d", "") == number


@pytest.mark.parametrize("given", [True, False, 0, -2, "0", [0], [0, 1], "0,1", 1.0, "two", {}])
def test_what_is_no_number_of_devices_is_refused(given: Any) -> None:
    with pytest.raises(ArgumentError, match="a number of devices"):
        shared_devices(seen({"d": given}), "d", "")


@pytest.mark.parametrize(
    ("epochs", "steps", "scheduler"),
    [
        (9, None, {"max_epochs": 9}),
        ("9", -1, {"max_epochs": 9}),
        (-1, 90, {"max_steps": 90}),
        (None, 90, {"max_steps": 90}),
        (None, None, None),
        (-1, -1, None),
    ],
)
def test_a_horizon(epochs: Any, steps: Any, scheduler: dict[str, int] | None) -> None:
    horizon = shared_horizon(seen({"e": epochs, "s": steps}), "e", "s", "")
    assert horizon.scheduler({}, "e", "s") == scheduler
    assert horizon.scheduler({"max_samples": 100}, "e", "s") == {"max_samples": 100}


@pytest.mark.parametrize("given", [True, 0, -2, 9.0, 9.5, "nine", [9], "${n}"])
@pytest.mark.parametrize("key", ["e", "s"])
def test_what_is_no_horizon_is_refused(given: Any, key: str) -> None:
    with pytest.raises(ArgumentError, match="a positive integer, or -1 for no limit") as refused:
        shared_horizon(seen({"e": None, "s": None, key: given}), "e", "s", "")
    assert refused.value.argument == key


def test_two_limits_are_not_one_horizon() -> None:
    with pytest.raises(ArgumentError, match="-1, because e=9 is the horizon") as refused:
        Horizon(9, 50).scheduler({}, "e", "s")
    assert (refused.value.argument, refused.value.received) == ("s", 50)


@pytest.mark.parametrize(
    ("horizon", "hwtune", "argument"),
    [
        (Horizon(9, None), {"max_epochs": 8}, "hydra.sweeper.hwtune.scheduler.max_epochs"),
        (Horizon(None, 90), {"max_steps": 80}, "hydra.sweeper.hwtune.scheduler.max_steps"),
        (Horizon(9, None), {"max_steps": 80}, "trainer.max_epochs"),
        (Horizon(None, 90), {"max_epochs": 9}, "trainer.max_steps"),
        (Horizon(9, 90), {"max_epochs": 9}, "trainer.max_steps"),
        (Horizon(9, 90), {}, "trainer.max_steps"),
    ],
)
def test_a_sweep_refuses_a_horizon_that_the_app_does_not_have(
    horizon: Horizon, hwtune: dict[str, int], argument: str
) -> None:
    keys = {"max_epochs_key": "trainer.max_epochs", "devices_key": "trainer.devices"}
    given = SweepSettings.of(OmegaConf.create({"n_trials": 1, "hwtune": {**keys, **hwtune}}))
    with pytest.raises(ArgumentError) as refused:
        given.scheduler(horizon)
    assert refused.value.argument == argument


@pytest.mark.parametrize("size", [0, -4, True, "16", 16.0, 15, "${n}"])
def test_a_batch_size_that_cannot_be_divided_is_refused(size: Any) -> None:
    with pytest.raises(ArgumentError, match="a positive multiple of 2"):
        batch_share("b", size, 2)
    with pytest.raises(ArgumentError, match="a positive multiple of 1 and of 2"):
        check_batch_sizes(seen({"b": 16}, {"b": size}), "b", (1, 2))


def test_a_batch_size_is_divided() -> None:
    assert [batch_share("b", 16, count) for count in (1, 2, 4)] == [16, 8, 4]
    check_batch_sizes(seen({"b": 16}, {"b": None}), "b", (1, 2, 4))


# ---------------------------------------------------------------- a LightningCLI configuration

BASE: dict[str, Any] = {
    "trainer": {
        "max_epochs": 9,
        "callbacks": [{"class_path": "ModelCheckpoint", "init_args": {"monitor": "loss"}}],
    },
    "model": {"lr": 0.1},
    "data": {"batch_size": 16},
}


@pytest.fixture
def prepare(tmp_path: Path) -> Any:
    def prepared(space: Any, *overrides: str, **changes: Any) -> CliStudy:
        values = {name.replace("__", "."): value for name, value in changes.items()}
        (tmp_path / "base.yaml").write_text(ConfigTree(yaml.safe_dump(BASE)).replaced(values).text)
        (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
        return CliStudy.read(tmp_path / "base.yaml", tmp_path / "space.yaml", overrides, given={"dir": str(tmp_path)})

    return prepared


def trial(study: CliStudy, config: dict[str, Any], num_devices: int = 1) -> dict[str, Any]:
    plain: dict[str, Any] = yaml.safe_load(study.segment.trial.config(config, num_devices, 5).text)
    return plain


def test_a_limit_in_steps_is_not_dropped(prepare: Any) -> None:
    with pytest.raises(ArgumentError, match=r"trainer\.max_steps"):
        prepare(LR, trainer__max_steps=50)
    study = prepare(LR, trainer__max_steps=50, trainer__max_epochs=-1)
    scheduler = study.settings.spec().scheduler
    assert (scheduler.max_resource, scheduler.unit) == (50, "steps")
    assert trial(study, {})["trainer"]["max_steps"] == 50


@pytest.mark.parametrize("size", ["16", 0, -2, "${no.such.name}", 16.0])
def test_a_batch_size_that_is_no_number_is_not_left_whole(prepare: Any, size: Any) -> None:
    with pytest.raises(ArgumentError, match=r"data\.batch_size"):
        prepare({**LR, **DEVICES}, data__batch_size=size)


def test_an_interpolated_batch_size_and_horizon_are_read(prepare: Any) -> None:
    study = prepare({**LR, **DEVICES}, size=16, n=6, data__batch_size="${size}", trainer__max_epochs="${n}")
    assert trial(study, {}, 2)["data"]["batch_size"] == 8
    assert study.settings.spec().scheduler.max_resource == 6


def test_the_batch_size_of_the_data_is_divided_although_another_one_is_searched(prepare: Any) -> None:
    space = {**DEVICES, "model.batch_size": {"type": "choice", "options": [32, 64]}}
    study = prepare(space, model__batch_size=32)
    config = trial(study, {"model.batch_size": 64}, 2)
    assert (config["data"]["batch_size"], config["model"]["batch_size"]) == (8, 32)
    assert any("data.batch_size=16 is the global batch" in note for note in study.notes)


def test_a_batch_size_that_only_an_option_of_a_section_has_is_divided(prepare: Any) -> None:
    options = [{"class_path": "a.A", "init_args": {"batch_size": size}} for size in (8, 32)]
    study = prepare({**DEVICES, "data": {"type": "choice", "options": options}})
    assert [trial(study, {"data": option}, 2)["data"]["init_args"]["batch_size"] for option in options] == [4, 16]


def section(**values: Any) -> dict[str, Any]:
    return {"trainer": {"type": "choice", "options": [BASE["trainer"], BASE["trainer"] | values]}}


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"max_epochs": 6}, "trainer.max_epochs"),
        ({"max_steps": 6}, "trainer.max_steps"),
        ({"devices": 2}, "trainer.devices"),
        ({"callbacks": None}, "objectives"),
        (
            {"callbacks": [{"class_path": "EarlyStopping", "init_args": {"monitor": "acc", "mode": "max"}}]},
            "objectives",
        ),
    ],
)
def test_sections_that_would_not_be_comparable_are_refused(prepare: Any, changes: Any, argument: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        prepare(section(**changes))
    assert refused.value.argument.endswith(argument)


def test_a_searched_section_does_not_replace_the_studys_own_values(prepare: Any) -> None:
    study = prepare(section(gradient_clip_val=1.0), "scheduler.max_epochs=27")
    option = {**BASE["trainer"], "gradient_clip_val": 1.0}
    trainer = trial(study, {"trainer": option}, 2)["trainer"]
    assert (trainer["max_epochs"], trainer["devices"], trainer["gradient_clip_val"]) == (27, 2, 1.0)


def test_devices_as_text_and_unknown_tags(prepare: Any) -> None:
    assert prepare(LR, trainer__devices="2").settings.study_kwargs()["space"].device_counts == (2,)
    tree = ConfigTree("a: !mine {b: 1}\ncallbacks: [{class_path: ModelCheckpoint, init_args: {monitor: x}}]")
    assert [found.metric for found in monitors(tree.plain(), tree.get)] == ["x"]


# ---------------------------------------------------------------- how a script ends


def parse() -> None:
    print("usage: train.py\ntrain.py: error: no such option: --lr", file=sys.stderr)
    sys.exit(2)


def complain() -> None:
    print("loading\nthe data set is not there", file=sys.stderr)
    sys.exit(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (parse, "the app called sys.exit(2): no such option: --lr"),
        (complain, "the app called sys.exit(1): the data set is not there"),
        (lambda: sys.exit("no data"), "the app called sys.exit('no data')"),
        (lambda: sys.exit(True), "the app called sys.exit(True)"),
    ],
)
def test_an_exit_with_an_error_says_why(call: Any, message: str) -> None:
    with pytest.raises(TrialError) as raised:
        ended_by_exit("the app", call)
    assert str(raised.value) == message


def test_other_ends_of_a_script() -> None:
    assert not ended_by_exit("the app", lambda: None)
    assert ended_by_exit("the app", lambda: sys.exit(0))
    assert ended_by_exit("the app", sys.exit)
    for signal in (KeyboardInterrupt(), SystemExit(143)):

        def interrupted(signal: BaseException = signal) -> None:
            raise signal

        with pytest.raises(type(signal)):
            ended_by_exit("the app", interrupted)


def test_a_script_finds_its_neighbours_and_gets_no_input(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_script.py").write_text("VALUE = 3")
    (tmp_path / "train.py").write_text(
        "import sys\nfrom pathlib import Path\nfrom neighbour_of_script import VALUE\n"
        "Path(sys.argv[1]).write_text(f'{VALUE} {sys.stdin.read()!r}')"
    )
    before = list(sys.path), sys.argv, sys.stdin
    run_as_main(str(tmp_path / "train.py"), [str(tmp_path / "out")])
    assert (tmp_path / "out").read_text() == "3 ''"
    assert (list(sys.path), sys.argv, sys.stdin) == before
