from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
from table_files import write_table

from lightning_hwtune.cli.commands import app
from lightning_hwtune.cli.replay import part
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.ranking.hypervolume import hypervolume
from lightning_hwtune.core.schedulers import ASHA, RunToEnd, Scheduler
from lightning_hwtune.core.searchers import Listed, Random
from lightning_hwtune.core.space import Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.accounting import Replay, Yardstick, replay_study
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.tables import Table, table_folder


def replay(table: Table, scheduler: Scheduler, *, workers: int = 2, objectives: list[str] | None = None,
           **options: Any) -> Replay:  # fmt: skip
    spec = StudySpec(
        name="replay", space=table.space, objectives=table.chosen(objectives), scheduler=scheduler,
        searcher=Listed(table.configs), pool=Pool("cpu", workers), seed=options.pop("seed", 0),
    )  # fmt: skip
    curves = table.curves("a")
    limits = Limits(max_trials=len(table.configs))
    return replay_study(spec, curves, limits, Yardstick.of(table.objectives, curves.losses), **options)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table.load(write_table(tmp_path / "small"))


def test_training_everything_finds_the_whole_reference_front(table: Table) -> None:
    found = replay(table, RunToEnd(3))
    assert found.partial[-1] == pytest.approx(1.0)
    assert found.full[-1] == pytest.approx(1.0)
    assert len(found.at_s) == 12
    assert found.usd[-1] == pytest.approx(sum(3 * (i + 1) * price for i, price in enumerate([0.02, 0.01] * 2)))
    assert (np.diff(found.usd) >= 0).all()
    assert (np.diff(found.partial) >= 0).all()


def test_the_yardstick_scales_seconds_and_money_in_their_logarithm(table: Table) -> None:
    losses = table.curves("a").losses
    yardstick = Yardstick.of(table.objectives, losses)
    by_hand = losses.copy()
    by_hand[..., 1:] = np.log10(by_hand[..., 1:])
    low, high = by_hand.min(axis=(0, 1)), by_hand.max(axis=(0, 1))
    unit = (by_hand - low) / (high - low)
    assert yardstick.unit(losses) == pytest.approx(unit)
    assert yardstick.partial == pytest.approx(hypervolume(unit.reshape(-1, 3), np.ones(3)))
    assert yardstick.full == pytest.approx(hypervolume(unit[:, -1], np.ones(3)))
    assert 0 < yardstick.full < yardstick.partial < 1


def test_only_full_trainings_count_as_full(table: Table) -> None:
    found = replay(table, ASHA(3, first_rung=1, eta=3), workers=1)
    is_full = found.resources == 3
    before = found.full[: int(np.flatnonzero(is_full)[0])]
    assert (before == 0).all()
    assert found.partial[0] > 0
    assert set(found.resources[found.front].tolist()) == {3}


def test_points_hold_all_objectives_whatever_the_study_looked_at(table: Table) -> None:
    assert replay(table, RunToEnd(3), objectives=["accuracy"]).losses == pytest.approx(
        replay(table, RunToEnd(3)).losses
    )


def test_first_and_at_read_the_curve_from_both_sides(table: Table) -> None:
    found = replay(table, RunToEnd(3))
    arrival = found.first(0.9)
    assert found.at(arrival) >= 0.9 > found.at(arrival - 1e-6)
    assert found.first(0.9, by="usd") == found.usd[np.flatnonzero(found.partial >= 0.9)[0]]
    assert np.isnan(found.first(1.5))
    assert found.at(0.0) == 0.0


def test_start_ups_cost_money(table: Table) -> None:
    plain, slow = replay(table, RunToEnd(3)), replay(table, RunToEnd(3), start_s=10.0)
    assert slow.usd[-1] - plain.usd[-1] == pytest.approx(10 * (0.02 + 0.01) * 2)


def test_a_diverged_configuration_adds_nothing(tmp_path: Path) -> None:
    table = Table.load(write_table(tmp_path / "t", diverged=(3,)))
    found = replay(table, RunToEnd(3))
    assert found.partial[-1] == pytest.approx(1.0)
    diverged = next(t.trial_id for t in found.state.trials if t.config == table.configs[3])
    assert diverged not in found.trial_ids[found.front]


def test_an_objective_that_never_differs_takes_no_part() -> None:
    losses = np.zeros((3, 2, 2))
    losses[:, :, 0] = [[3.0, 2.0], [2.0, 1.0], [4.0, 3.0]]
    yardstick = Yardstick.of(Objectives([Metric("error", "min"), Metric("same", "min")]), losses)
    assert yardstick.unit(losses)[..., 1].tolist() == [[0.0, 0.0]] * 3
    assert (yardstick.partial, yardstick.full) == pytest.approx((1.0, 1.0))


def test_synthetic_curves_are_measured_alike() -> None:
    space = SearchSpace(x=Float(0, 1), devices=NumDevices(1, 2))
    curves = SyntheticCurves(space, 9)
    configs = [{"x": x / 20, "devices": 1 + x % 2} for x in range(20)]
    objectives = Objectives([Metric("error", "min"), TrainSeconds(), Metric("usd", "min", "USD")])
    yardstick = Yardstick.sampled(objectives, curves, space, configs)
    study = Objectives([Metric("error", "min"), TrainSeconds(), Cost()])
    spec = StudySpec("s", space, study, RunToEnd(9), Listed(configs), Pool("cpu", 4, 1.0))
    found = replay_study(spec, curves, Limits(20), yardstick)
    assert found.partial[-1] == pytest.approx(1.0)
    assert found.losses[:, 2].max() == pytest.approx(
        max(t.last.values["cost_usd"] for t in found.state.trials if t.last)
    )


@pytest.mark.data
def test_the_command_prints_every_seed_with_its_accounting() -> None:
    try:
        table_folder("trimtuner")
    except ArgumentError:
        pytest.skip("the table trimtuner is not there: set HWTUNE_DATA")
    words = ["replay", "trimtuner", "--task", "cnn-6000", "--trials", "30", "--seeds", "2", "--format", "json"]
    first, second = (json.loads(CliRunner().invoke(app, words).stdout) for _ in range(2))
    for document in (first, second):
        for seed in document["seeds"]:
            assert seed.pop("decisions_per_s") > 0
    assert first == second
    assert [seed["seed"] for seed in first["seeds"]] == [0, 1]
    assert "reference point is 1" in first["reference"]["accounting"]
    assert first["seeds"][0]["hypervolume"] != first["seeds"][1]["hypervolume"]


def test_the_command_reads_a_table_of_ones_own(tmp_path: Path) -> None:
    folder = str(write_table(tmp_path / "small"))
    words = ["replay", folder, "--task", "b", "--scheduler", "run-to-end", "--workers", "2", "--format", "json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    [seed] = json.loads(result.stdout)["seeds"]
    assert seed["spent"]["resource"] == 12
    assert seed["hypervolume"][-1]["partial"] == 1.0


def test_the_command_replays_a_study_with_bounds(tmp_path: Path) -> None:
    folder = str(write_table(tmp_path / "small"))
    words = ["replay", folder, "--task", "b", "--scheduler", "run-to-end", "--workers", "1", "--format", "json"]
    result = CliRunner().invoke(app, [*words, "--at-most", "train_s=1.5,usd=0.05", "--at-least", "accuracy=0.2"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["settings"]["bounds"]["accuracy"] == {"at_most": None, "at_least": 0.2}
    spent = document["seeds"][0]["spent"]
    assert spent["resource"] < 12  # trials end where their seconds exceed the bound
    assert spent["feasible"] <= spent["full_trainings"] < spent["trials"]
    for wrong in ("accuracy", "accuracy=high", "acuracy=0.1"):
        assert CliRunner().invoke(app, [*words, "--at-most", wrong]).exit_code != 0


def test_the_command_draws_by_a_prior_from_other_tasks(tmp_path: Path) -> None:
    folder = str(write_table(tmp_path / "small"))
    words = ["replay", folder, "--task", "b", "--prior-tasks", "a", "--workers", "1", "--format", "json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["settings"]["searcher"] == "prior from a"
    assert document["seeds"][0]["spent"]["trials"] == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "c"], "one of a, b"),
        (["--task", "a", "--scheduler", "ash"], "asha"),
        (["--task", "a", "--searcher", "tabel"], "table"),
        (["--task", "a", "--objectives", "acc"], "accuracy"),
        (["--task", "a", "--scheduler", "asha:max_epochs=4"], "at most 3"),
        (["--task", "a", "--scheduler", "asha:eta"], "key=value"),
        (["--task", "a", "--prior-tasks", "a,b"], "tasks other than a"),
        (["--task", "a", "--prior-tasks", "c"], "one of a, b"),
        (["--task", "a", "--prior-tasks", "b", "--searcher", "random"], "table or prior"),
    ],
)
def test_what_cannot_be_replayed_is_told(tmp_path: Path, words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["replay", str(write_table(tmp_path / "small")), *words])
    assert result.exit_code == 1
    assert message in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--searcher", "table:x=1"], "table takes no arguments"),
        (["--searcher", "table:configs=[]"], "table takes no arguments"),
        (["--searcher", "table:uniform=0.5", "--prior-tasks", "b"], "table takes no arguments"),
        (["--searcher", "random:zz=1"], "Random takes no arguments"),
        (["--searcher", "random:name=tpe"], "'name' is repeated"),
        (["--searcher", "prior:configs=1", "--prior-tasks", "b"], "prior takes resource, uniform"),
        (["--searcher", "prior:tasks=b", "--prior-tasks", "b"], "prior takes resource, uniform"),
        (["--scheduler", "asha:name=pasha"], "'name' is repeated"),
        (["--scheduler", "asha:eta=3,eta=4"], "'eta' is repeated"),
        (["--scheduler", "asha:max_steps=3"], "the unit of the table (epoch)"),
        (["--scheduler", "run-to-end:max_samples=3"], "max_epochs, from 1 to 3"),
        (["--scheduler", "median-stopping:max_steps=null"], "max_epochs, from 1 to 3"),
        (["--scheduler", "hyperband:max_epochs=3,max_samples=3"], "`scheduler: max_samples` is 3"),
        (["--prior-tasks", "b,b"], "each task once"),
        (["--prior-tasks", ""], "one of a, b"),
        (["--objectives", ""], "one of accuracy, train_s"),
        (["--start-s", "1e308"], "from 0 to 1e9"),
        (["--restore-s", "nan"], "from 0 to 1e9"),
        (["--mean-failure-s", "inf"], "at most 1e9"),
        (["--mean-failure-s", "0"], "above 0"),
    ],
)
def test_surplus_options_and_absurd_numbers_are_refused(tmp_path: Path, words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["replay", str(write_table(tmp_path / "small")), "--task", "a", *words])
    assert result.exit_code == 1, result.output
    assert message in result.output


@pytest.mark.parametrize("number", ["10000000", "9" * 15, "9" * 500])
@pytest.mark.parametrize("option", ["--seeds", "--trials", "--workers"])
def test_numbers_without_an_end_are_refused(tmp_path: Path, option: str, number: str) -> None:
    result = CliRunner().invoke(app, ["replay", str(write_table(tmp_path / "small")), "--task", "a", option, number])
    assert result.exit_code == 2
    assert option in result.output
    assert "allowed: an integer from 1 to" in " ".join(result.output.split())


def test_a_prior_takes_its_options(tmp_path: Path) -> None:
    words = ["--task", "b", "--prior-tasks", "a", "--searcher", "prior:uniform=0.5,resource=2", "--format", "json"]
    result = CliRunner().invoke(app, ["replay", str(write_table(tmp_path / "small")), *words])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["seeds"][0]["spent"]["trials"] == 4


def test_a_part_is_a_name_with_options() -> None:
    assert part("asha:eta=5/2,brackets=2") == ("asha", {"eta": "5/2", "brackets": 2})
    assert part("random") == ("random", {})


def test_random_draws_of_the_space_take_the_nearest_curves(table: Table) -> None:
    spec = StudySpec("s", table.space, table.objectives, RunToEnd(3), Random(), Pool("cpu", 2), seed=1)
    curves = table.curves("a")
    found = replay_study(spec, curves, Limits(4), Yardstick.of(table.objectives, curves.losses))
    assert found.partial[-1] == pytest.approx(1.0)  # the four are the whole space
