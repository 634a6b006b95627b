"""The GPU check where there is no GPU: it says so, and its parts that need none work."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu_check
from benchmarks.gpu import device, packing
from benchmarks.gpu.checks import CHECKS, NEEDS_GPU, bit_equality, fork_server_before_cuda

SCRIPT = Path(gpu_check.__file__)


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environ})


@pytest.mark.parametrize("arguments", [(), ("--packing",)])
def test_a_machine_without_a_gpu_is_no_failure(arguments: tuple[str, ...]) -> None:
    done = run(*arguments, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0
    assert json.loads(done.stdout)["ran"] is False
    assert "no GPU is visible" in done.stderr


@pytest.mark.slow
def test_a_gpu_that_cannot_be_used_is_a_failure(tmp_path: Path) -> None:
    done = run("--out", str(tmp_path), CUDA_VISIBLE_DEVICES="GPU-00000000-0000-0000-0000-000000000000")
    assert done.returncode == 1
    assert json.loads(done.stdout)["ran"] is False
    assert "the GPU cannot be used" in done.stderr


@pytest.mark.slow
def test_a_check_that_ends_its_worker_costs_only_itself() -> None:
    lines = list(gpu_check._lines({"first": 5.0, "second": 5.0}, "cpu", time.monotonic() + 300))
    assert [(line["check"], line["ok"]) for line in lines] == [("first", False), ("second", False)]
    assert "no check is called 'second'" in lines[1]["error"]


def test_what_would_begin_after_the_end_is_reported_as_not_run() -> None:
    (line,) = gpu_check._lines({"masks": 5.0}, "cpu", time.monotonic() - 1)
    assert not line["ok"]
    assert "not run" in line["error"]


def test_the_summary_counts_and_names_what_was_not_checked() -> None:
    seen = {"gpu": {"start_to_first_batch_s": 0.4}, "cpu": {}}
    lines = [{"check": "digits_study", "ok": True, "seen": seen}, {"check": "masks", "ok": False, "error": "x"}]
    document = gpu_check.summary(lines, {"name": "a GPU", "torch": "2.11"}, 100.04)
    assert document["figures"] == {"checks": 2, "passed": 1, "start_to_first_batch_s": 0.4, "seconds": 100.0}
    assert document["machine"]["device"] == "a GPU"
    assert "NCCL" in document["not_checked"]


@pytest.mark.parametrize(("reads", "excess"), [([5, 5], 0), ([900, 300, 100], 0), ([900], 800)])
def test_memory_counts_as_given_back_once_it_is(reads: list[int], excess: int) -> None:
    stream = itertools.chain(reads, itertools.repeat(reads[-1]))
    assert device.returns_to(100, lambda: next(stream), slack=10, limit_s=1.0) == excess


def test_the_limits_leave_room_for_every_check() -> None:
    assert set(CHECKS) == set(gpu_check.CLAIMS) > NEEDS_GPU
    assert all(5 <= limit_s <= 90 for _, limit_s in CHECKS.values())
    assert set(packing.CHECKS) == set(packing.CLAIMS)
    assert packing.LIMIT_S < 180 - 10


@pytest.mark.training
@pytest.mark.parametrize("name", ["strategy_on_one_device", "energy_and_memory"])
def test_checks_of_meters_and_strategies_pass_on_the_cpu(name: str, tmp_path: Path) -> None:
    assert packing.CHECKS[name][0]("cpu", tmp_path)


@pytest.mark.training
def test_packing_is_counted_on_the_cpu(tmp_path: Path) -> None:
    seen = packing.packed_throughput("cpu", tmp_path, counts=(1, 2), n_trials=2)
    assert seen["compared_with_one"]["1"] == 1.0


@pytest.mark.training
@pytest.mark.parametrize("check", [fork_server_before_cuda, bit_equality])
def test_what_needs_no_gpu_passes_on_the_cpu(check: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    assert callable(check)
    assert check("cpu", tmp_path)
