"""Two real ranks under DDP: one configuration, one verdict, one end; and what changes of devices leave alone."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from digits_training import N_TRAIN, DigitsData, DigitsNet, train_plainly, train_with_averaging
from rank_bench import Bench, differences
from test_rung_callback import FinalizeLogger

from lightning_hwtune.training.channel import Report, Started
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training


class WitnessNet(DigitsNet):
    """Writes down what each rank trains on."""

    def __init__(self, folder: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        line = {"epoch": self.current_epoch, "samples": batch[2].tolist(), "draw": torch.rand(1).item()}
        with (self.folder / f"rank_{self.global_rank}_of_{self.trainer.world_size}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        return super().training_step(batch, batch_idx)


def _train_before_witnesses(trial: Trial) -> None:
    batch = trial.per_device_batch_size(64)
    (trial.dir / f"config_{os.environ['RANK']}").write_text(json.dumps(dict(trial.config)))
    trial.fit(WitnessNet(trial.dir), DigitsData(batch))


def _lines(bench: Bench, rank: int, n: int) -> list[dict[str, Any]]:
    path = Path(bench.order.trial_dir) / f"rank_{rank}_of_{n}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_configuration_and_one_stop_for_both_ranks(bench: Bench, tmp_path: Path) -> None:
    log = tmp_path / "finalized"

    def train(trial: Trial) -> None:
        (trial.dir / f"config_{os.environ['RANK']}").write_text(json.dumps(dict(trial.config)))
        trainer = trial.fit(DigitsNet(), DigitsData(32), logger=FinalizeLogger(log))
        (trial.dir / f"epochs_{os.environ['RANK']}").write_text(str(trainer.current_epoch))

    said = bench.segment(train, {2: "stop"}, num_devices=2, metrics=("val_error", "val_loss"))
    assert [ended.outcome for ended in said.ended] == ["done", "done"]
    assert not any(ended.reached_end for ended in said.ended)
    assert [report.resource for report in said.of(Report)] == [1, 2]
    assert all(set(report.metrics) == {"val_error", "val_loss"} for report in said.of(Report))
    assert max(started.world_size for started in said.of(Started)) == 2
    assert {(tmp_path / f"config_{rank}").read_text() for rank in (0, 1)} == {json.dumps({"lr": 0.003})}
    assert {(tmp_path / f"epochs_{rank}").read_text() for rank in (0, 1)} == {"2"}
    assert set(log.read_text().split()) == {"success"}


def test_changing_the_devices_keeps_the_optimiser_and_counts_every_sample(bench: Bench) -> None:
    first = bench.segment(_train_before_witnesses, {1: "pause"}, num_devices=1)
    second = bench.segment(_train_before_witnesses, {3: "pause"}, num_devices=2, **bench.resume(first, 2))
    third = bench.segment(_train_before_witnesses, {4: "stop"}, num_devices=1, **bench.resume(second, 3))
    assert [max(s.world_size for s in said.of(Started)) for said in (first, second, third)] == [1, 2, 1]
    lines = _lines(bench, 0, 1) + _lines(bench, 0, 2) + _lines(bench, 1, 2)
    for epoch in range(4):
        seen = Counter(sample for line in lines if line["epoch"] == epoch for sample in line["samples"])
        assert seen == Counter(range(N_TRAIN))
    # the model's hyperparameters hold a Path, which only loads whole: resuming has done that, too
    final = torch.load(third.saved.path, weights_only=False)
    steps = {float(state["step"]) for state in final["optimizer_states"][0]["state"].values()}
    assert steps == {4 * N_TRAIN / 64}
    assert final["global_step"] == 4 * N_TRAIN // 64


def test_ranks_draw_apart_but_agree_on_their_samples(bench: Bench) -> None:
    bench.segment(_train_before_witnesses, {2: "stop"}, num_devices=2)
    ours, theirs = _lines(bench, 0, 2), _lines(bench, 1, 2)
    draws = [line["draw"] for line in (*ours, *theirs)]
    assert len(set(draws)) == len(draws)


def test_a_dead_engine_ends_both_ranks(bench: Bench) -> None:
    said = bench.segment(train_plainly, {2: "hang up"}, num_devices=2)
    (ended,) = said.ended  # rank 0 has no process left to report to
    assert (ended.rank, ended.outcome) == (1, "error")
    # reported by rank 0; or by its end, if its next beat found the engine gone before the broadcast was through
    assert "rank 0 could not report" in ended.error or "gloo" in ended.error


@pytest.mark.parametrize("num_devices", [1, 2])
def test_work_lost_after_an_interval_save_is_repeated_bit_for_bit(bench: Bench, num_devices: int) -> None:
    whole = bench.segment(train_with_averaging, {4: "stop"}, num_devices=num_devices, save_every=1)
    assert [saved.resource for saved in whole.of(type(whole.saved))] == [1, 2, 3, 4]
    second = whole.of(type(whole.saved))[1]
    again = {"segment": 2, "resource": 2, "checkpoint": second.path, "num_devices": num_devices}
    resumed = bench.segment(train_with_averaging, {4: "stop"}, **again)
    states = [torch.load(said.saved.path, weights_only=False) for said in (whole, resumed)]
    assert differences(*states) == []


def test_an_own_loop_on_two_ranks_gets_one_answer(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        torch.distributed.init_process_group("gloo")
        for epoch in range(1, trial.max_epochs + 1):
            verdict = trial.report(epoch, val_error=1.0 / epoch)
            if verdict.kind != "continue":
                trial.save({"epoch": epoch})
                (trial.dir / f"verdict_{os.environ['RANK']}").write_text(verdict.kind)
                return

    said = bench.segment(train, {3: "pause"}, num_devices=2)
    assert [report.metrics["val_error"] for report in said.of(Report)] == [1.0, 1 / 2, 1 / 3]
    assert {(Path(bench.order.trial_dir) / f"verdict_{rank}").read_text() for rank in (0, 1)} == {"pause"}
    assert said.saved.resource == 3


def test_a_killed_rank_takes_its_children_with_it(bench: Bench, tmp_path: Path) -> None:
    def train(trial: Trial) -> None:
        child = os.fork()
        if child == 0:
            time.sleep(600)
        (trial.dir / "child").write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)

    said = bench.segment(train, {})
    assert said.ended == []
    child = int((tmp_path / "child").read_text())
    for _ in range(500):
        if not _is_alive(child):
            return
        time.sleep(0.01)
    pytest.fail(f"process {child} outlived its rank")


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_random_sampler_of_the_users_own_is_shared_out_without_repeats(bench: Bench) -> None:
    class Sampled(DigitsData):
        def train_dataloader(self) -> Any:
            sampler = torch.utils.data.SubsetRandomSampler(range(N_TRAIN))
            return torch.utils.data.DataLoader(self.train, self.batch_size, sampler=sampler)

    def train(trial: Trial) -> None:
        trial.fit(WitnessNet(trial.dir), Sampled(32))

    bench.segment(train, {3: "stop"}, num_devices=2)
    lines = _lines(bench, 0, 2) + _lines(bench, 1, 2)
    for epoch in range(3):
        seen = Counter(sample for line in lines if line["epoch"] == epoch for sample in line["samples"])
        assert seen == Counter(range(N_TRAIN))
