"""A rank process from its first instruction to its last word, and the pieces it is made of."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digits_training import DigitsData, DigitsNet, train_plainly
from rank_bench import Bench, ScriptedChannel, differences

from lightning_hwtune.errors import StudyLockedError
from lightning_hwtune.host.file_trees import digest_of
from lightning_hwtune.training import rng
from lightning_hwtune.training.channel import RankPlace, Saved, Started, VerdictMessage
from lightning_hwtune.training.context import current_segment, segment_context
from lightning_hwtune.training.process.rendezvous import adopt_environment, rank_environment, scrub_environment
from lightning_hwtune.training.segment_end import log_path
from lightning_hwtune.training.train_clock import TrainClock
from lightning_hwtune.training.trial import Trial


@pytest.mark.training
def test_a_rank_is_a_process_of_its_own(bench: Bench, tmp_path: Path) -> None:
    def train(trial: Trial) -> None:
        print("to the log")
        os.system("echo from a child")
        facts = {
            "session": os.getsid(0) == os.getpid(),
            "ignores": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
            "method": multiprocessing.get_start_method(),
            "threads": torch.get_num_threads(),
            "mask": os.environ["HWTUNE_TEST_MASK"],
            "seed": torch.initial_seed(),
            "main": sys.modules["__main__"].__dict__.get("__file__"),
        }
        torch.save(facts, trial.dir / "facts")

    said = bench.segment(train, {}, env={"HWTUNE_TEST_MASK": "0,1"}, threads_per_device=2)
    assert said.ended[0].error == ""
    assert torch.load(tmp_path / "facts") == {
        "session": True, "ignores": True, "method": multiprocessing.get_all_start_methods()[0], "threads": 2,
        "mask": "0,1", "seed": bench.order.seed, "main": None,
    }  # fmt: skip
    assert log_path(bench.order, 0).name == "segment_01_rank_0.log"
    assert log_path(bench.order, 0).read_text().splitlines()[-2:] == ["to the log", "from a child"]
    assert said.of(Started)[0].pid not in (0, os.getpid())


def _raise(trial: Trial) -> None:
    raise KeyError("no such thing")


def _exit_badly(trial: Trial) -> None:
    sys.exit(3)


def _exit_well(trial: Trial) -> None:
    sys.exit(0)


def _use_all_memory(trial: Trial) -> None:
    torch.empty(1 << 50)


@pytest.mark.training
@pytest.mark.parametrize(
    ("train", "outcome", "text"),
    [
        (_raise, "error", "KeyError: 'no such thing'"),
        (_exit_badly, "error", "SystemExit: 3"),
        (_exit_well, "done", ""),
        (_use_all_memory, "out-of-memory", "can't allocate memory"),
    ],
)
def test_the_last_word_tells_how_it_ended(bench: Bench, train: Any, outcome: str, text: str) -> None:
    (ended,) = bench.segment(train, {}).ended
    assert ended.outcome == outcome
    assert text in ended.error
    assert bool(ended.error) == bool(text)


@pytest.mark.training
@pytest.mark.parametrize("num_devices", [1, 2])
def test_a_full_disk_leaves_the_old_checkpoint_and_is_named(bench: Bench, num_devices: int) -> None:
    def train_with_a_full_disk(trial: Trial) -> None:
        model = DigitsNet()
        trainer = trial.trainer()
        if os.environ["RANK"] == "0":  # no file may grow beyond this from here on
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        trainer.fit(model, DigitsData(32), ckpt_path=trial.ckpt_path)

    first = bench.segment(train_plainly, {1: "pause"}, num_devices=num_devices)
    second = bench.segment(train_with_a_full_disk, {2: "pause"}, num_devices=num_devices, **bench.resume(first, 2))
    assert second.of(Saved) == []
    assert len(second.ended) == num_devices
    for ended in second.ended:
        assert ended.outcome == "error"
        assert "could not be written to the disk" in ended.error
    assert digest_of(Path(first.saved.path)) == first.saved.digest
    assert list(Path(first.saved.path).parent.iterdir()) == [Path(first.saved.path)]


def test_the_digest_is_blake2b_of_the_whole_file(tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    (tmp_path / "file").write_bytes(data)
    assert digest_of(tmp_path / "file") == hashlib.blake2b(data, digest_size=32).hexdigest()


def test_a_context_is_one_at_a_time_and_ends(bench: Bench) -> None:
    assert current_segment() is None
    with segment_context(bench.order, ScriptedChannel({})) as segment:
        assert current_segment() is segment
        again = segment_context(bench.order, segment.channel)
        said = r"is already training trial 17 of study 'study'.*study\.close\(\)"
        with pytest.raises(StudyLockedError, match=said), again:
            pass
        assert current_segment() is segment
    assert current_segment() is None


def test_a_segment_is_over_only_before_its_horizon(bench: Bench) -> None:
    with segment_context(bench.order, ScriptedChannel({})) as segment:
        assert not segment.is_over
        segment.resource, segment.verdict = 2, VerdictMessage("pause", "")
        assert segment.is_over
        segment.resource = 4
        assert not segment.is_over


def test_inline_leaves_the_environment_as_it_was(bench: Bench) -> None:
    before = dict(os.environ)
    bench.inline(lambda trial: os.environ.update(KEPT="by the user"), {}, env={"HWTUNE_TEST_MASK": "1"})
    assert os.environ.pop("KEPT") == "by the user"
    assert dict(os.environ) == before


def test_the_clock_stands_still_while_it_is_stopped() -> None:
    clock = TrainClock()
    clock.stop()
    assert clock.seconds == 0.0
    clock.start()
    clock.start()
    clock.stop()
    first = clock.seconds
    assert clock.seconds == first > 0
    clock.start()
    assert clock.seconds > first


def test_inherited_ranks_and_seeds_are_removed() -> None:
    environ = {
        "RANK": "3", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "x", "SLURM_NTASKS": "8", "SLURM_PROCID": "3",
        "PL_GLOBAL_SEED": "1", "SLURM_JOB_ID": "77", "CUDA_VISIBLE_DEVICES": "1", "PATH": "/bin",
    }  # fmt: skip
    scrub_environment(environ)
    assert environ == {"SLURM_JOB_ID": "77", "CUDA_VISIBLE_DEVICES": "1", "PATH": "/bin"}


def test_the_engines_environment_replaces_what_was_inherited_and_nothing_else() -> None:
    environ = {"OLD": "1", "CHANGED": "1", "OF_AN_IMPORT": "1"}
    adopt_environment(environ, ["OLD", "CHANGED"], {"CHANGED": "2", "NEW": "3"})
    assert environ == {"CHANGED": "2", "NEW": "3", "OF_AN_IMPORT": "1"}


def test_only_a_real_group_uses_the_hosted_store() -> None:
    assert rank_environment(RankPlace(1, 2, port=4711), "run")["TORCHELASTIC_USE_AGENT_STORE"] == "True"
    assert rank_environment(RankPlace(0, 1), "run")["TORCHELASTIC_USE_AGENT_STORE"] == "False"
    assert {rank_environment(RankPlace(r, 2, port=4711), "run")["MASTER_PORT"] for r in (0, 1)} == {"4711"}


def _draws() -> list[Any]:
    return [random.random(), float(np.random.rand()), torch.rand(2).tolist()]  # noqa: NPY002


def test_streams_come_back_where_they_were_and_load_safely(tmp_path: Path) -> None:
    random.gauss(0, 1)
    torch.save(rng.rng_state(), tmp_path / "state")
    expected = _draws()
    rng.set_rng_state(torch.load(tmp_path / "state", weights_only=True))
    assert _draws() == expected


def test_every_epoch_and_rank_has_a_stream_of_its_own() -> None:
    seen = []
    for key in [(1, 0, None), (1, 0, 0), (1, 0, 1), (1, 1, None), (1, 1, 0), (2, 0, 0)]:
        rng.seed_streams(*key)
        seen.append(_draws())
        rng.seed_streams(*key)
        assert _draws() == seen[-1]
    assert all(differences(a, b) for i, a in enumerate(seen) for b in seen[:i])
