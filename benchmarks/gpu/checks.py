"""The checks, fastest first. Each returns its measurements; a broken promise raises `AssertionError` with the numbers.

`accelerator` is "gpu", or "cpu" for a check that also works without a GPU.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning_hwtune as hwt
from benchmarks.gpu import device
from benchmarks.gpu import trainings as t
from lightning_hwtune.core.events import SegmentStarted

__all__ = ["CHECKS", "NEEDS_GPU"]

ROOT = Path(__file__).resolve().parents[2]
Facts = dict[str, Any]
_STUDY_FILE = """
study: check
train: benchmarks.gpu.trainings:train_digits
space:
  lr: {{type: float, low: 1.0e-3, high: 3.0e-2, log: true}}
  width: {{type: choice, options: [8, 16]}}
objectives: [{{metric: val_error, mode: min}}]
scheduler: {{name: asha, max_epochs: 4}}
pool: {{accelerator: {accelerator}, devices: 1}}
max_trials: 4
"""
_DETERMINISTIC = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


def fork_server_before_cuda(accelerator: str, folder: Path) -> Facts:
    """The fork server opens no GPU, and CUDA works in the ranks that it forks."""
    study = _study("look", folder, accelerator)
    study.run(t.look, max_trials=2, check=False, progress=False)
    for seen in t.facts_of(study):
        _require(not seen["initialized_at_start"], "CUDA was initialised before user code", seen)
        _require(seen["server_files"] == [], "the fork server has opened a GPU", seen)
        _require(accelerator == "cpu" or seen["sum"] == 8, "the rank cannot compute on the GPU", seen)
    return {"segments": len(t.facts_of(study))}


def masks(accelerator: str, folder: Path) -> Facts:
    """A segment sees only its own GPU, whether `CUDA_VISIBLE_DEVICES` names it by number or by UUID."""
    seen = []
    for mask in ("0", device.uuid()):
        os.environ["CUDA_VISIBLE_DEVICES"] = mask
        study = _study(f"mask-{len(seen)}", folder, accelerator)
        study.run(t.look, max_trials=1, check=False, progress=False)
        (facts,) = t.facts_of(study)
        _require((facts["mask"], facts["devices"]) == (mask, 1), f"expected the mask {mask!r} and 1 device", facts)
        seen.append(facts["mask"])
    return {"masks": len(seen)}


def check_command(accelerator: str, folder: Path) -> Facts:
    """`hwtune check` prints the GPU memory of one training."""
    study = folder / "check.yaml"
    study.write_text(_STUDY_FILE.format(accelerator=accelerator))
    command = [sys.executable, "-c", "from lightning_hwtune.cli.commands import main; main()"]
    command += ["check", str(study), f"--dir={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    _require(done.returncode == 0, "the command failed", done.stdout + done.stderr)
    found = re.search(r"([\d.]+ [kMG]B) of GPU memory", done.stdout)
    _require(accelerator == "cpu" or found is not None, "no memory figure in the output", done.stdout)
    return {"gpu_memory": found[1] if found else None}


def out_of_memory(accelerator: str, folder: Path) -> Facts:
    """Running out of GPU memory ends a trial as out-of-memory; the others complete, and the memory is freed."""
    base = device.memory_used_bytes()
    study = _study("memory", folder, accelerator, is_huge=hwt.Choice([False, True]), max_epochs=2)
    study.enqueue({"lr": 0.01, "is_huge": True}, {"lr": 0.01, "is_huge": False})
    study.run(t.out_of_memory, max_trials=2, finishers=2, max_parallel=1, check=False, progress=False)
    states = [str(trial.state) for trial in study.state().trials]
    _require(states == ["out-of-memory", "completed"], "expected out-of-memory and completed", states)
    excess = device.returns_to(base)
    _require(excess == 0, f"{excess} bytes of GPU memory are still in use", None)
    return {"states": states}


def memory_given_back(accelerator: str, folder: Path) -> Facts:
    """GPU memory is free again after each segment, even if a rank was killed by SIGKILL."""
    base = device.memory_used_bytes()
    study = _study("killed", folder, accelerator, dies=hwt.Choice([False, True]))
    study.enqueue({"lr": 0.01, "dies": False}, {"lr": 0.01, "dies": True})
    study.run(t.take_memory, max_trials=2, max_parallel=1, check=False, progress=False)
    facts = t.facts_of(study)
    _require(len(facts) == 3, "expected one segment, and two of the trial whose rank was killed", facts)
    for seen in facts:
        own = seen["used"] - base
        _require(seen["taken"] <= own < 2 * seen["taken"], "memory of an earlier segment is still in use", seen)
    excess = device.returns_to(base)
    _require(excess == 0, f"{excess} bytes of GPU memory are still in use", None)
    return {"segments": len(facts), "excess_bytes": excess}


def digits_study(accelerator: str, folder: Path) -> Facts:
    """A study with pauses finds the same on the GPU as on the CPU; prints the time to start a segment."""
    found: Facts = {}
    for where in dict.fromkeys((accelerator, "cpu")):
        study = _study(f"digits-{where}", folder, where, width=hwt.Choice([8, 16]), max_epochs=4, judged_by="val_error")
        study.run(t.train_digits, max_trials=4, finishers=4, check=False, progress=False)
        events, trials = study.events(), study.state().trials
        started = {(e.trial_id, e.segment): e.at for e in events if isinstance(e, SegmentStarted)}
        waits = [seen["first_batch_at"] - started[seen["trial"], seen["segment"]] for seen in t.facts_of(study)]
        found[where] = {
            "val_error": round(study.best.values["val_error"], 4),
            "resumed_segments": len(started) - len(trials),
            "start_to_first_batch_s": round(sorted(waits)[len(waits) // 2], 3),
            "first_segment_s": round(waits[0], 3),
        }
        _require(len(started) > len(trials), "no trial was resumed", found)
        _require(
            not any(trial.n_retries for trial in trials), "a segment failed", [trial.n_retries for trial in trials]
        )
    errors = [seen["val_error"] for seen in found.values()]
    _require(max(errors) - min(errors) <= 0.1, "the errors differ by more than 0.1", found)
    return found


def bit_equality(accelerator: str, folder: Path) -> Facts:
    """In deterministic mode a trial that was paused and resumed ends with the values of an uninterrupted one."""
    return _compare_with_pauses(accelerator, folder, ["32-true"])


def mixed_precision(accelerator: str, folder: Path) -> Facts:
    """The same in bf16 and fp16, whose gradient scaler has its own state."""
    names = ["bf16-mixed", "16-mixed"] if accelerator == "gpu" else ["bf16-mixed"]
    facts = _compare_with_pauses(accelerator, folder, names)
    if accelerator == "gpu":
        scales = [seen["scale"] for seen in facts.pop("facts") if seen["scale"] is not None]
        _require(bool(scales) and all(math.isfinite(scale) for scale in scales), "no gradient scaler was found", scales)
        facts["scale"] = scales[-1]
    return facts


def _compare_with_pauses(accelerator: str, folder: Path, precisions: list[str]) -> Facts:
    os.environ.update(_DETERMINISTIC)
    configs = [{"lr": lr, "precision": name} for name in precisions for lr in (0.01, 0.003)]
    found = {}
    schedulers = {
        "whole": hwt.RunToEnd(max_epochs=4),
        "paused": hwt.ASHA(max_epochs=4, first_rung=1, eta=2),
    }
    for name, scheduler in schedulers.items():
        choice = hwt.Choice(precisions) if len(precisions) > 1 else hwt.Choice([*precisions, "64-true"])
        study = _study(name, folder, accelerator, precision=choice, scheduler=scheduler)
        study.enqueue(*configs)
        study.run(t.precise, max_trials=len(configs), finishers=len(configs), check=False, progress=False)
        found[name] = study
    values = {name: [trial.last.values for trial in study.state().trials] for name, study in found.items()}
    starts = [event for event in found["paused"].events() if isinstance(event, SegmentStarted)]
    _require(len(starts) > len(configs), "no trial was resumed", len(starts))
    _require(values["whole"] == values["paused"], "the values differ", values)
    facts: Facts = {"trials": len(configs), "resumed_segments": len(starts) - len(configs)}
    return {**facts, "facts": t.facts_of(found["paused"])} if len(precisions) > 1 else facts


def checkpoint_on_cpu(accelerator: str, folder: Path) -> Facts:
    """A checkpoint from the GPU loads without a GPU, and training continues from it on the CPU."""
    study = _study("portable", folder, accelerator, max_epochs=1)
    study.run(_plain, max_trials=1, check=False, progress=False)
    path = study.best.checkpoint
    code = f"""
import json, torch
import lightning.pytorch as L
from benchmarks.gpu.trainings import Net
from datamodules import DigitsDataModule
assert not torch.cuda.is_available()
model = Net.load_from_checkpoint({str(path)!r}, map_location="cpu", weights_only=False)
trainer = L.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                    enable_progress_bar=False, enable_model_summary=False, default_root_dir={str(folder)!r})
trainer.fit(model, DigitsDataModule(batch_size=64), ckpt_path={str(path)!r}, weights_only=False)
print(json.dumps({{"epochs": trainer.current_epoch, "val_loss": trainer.callback_metrics["val_loss"].item()}}))
"""
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ)
    _require(done.returncode == 0, "the checkpoint cannot be used on the CPU", done.stderr[-800:])
    facts = json.loads(done.stdout.strip().splitlines()[-1])
    _require(facts["epochs"] == 2 and math.isfinite(facts["val_loss"]), "training did not continue", facts)
    return {"val_loss": round(facts["val_loss"], 4)}


def _plain(trial: hwt.Trial) -> None:
    trial.fit(t.Net(lr=trial["lr"]), t.DigitsDataModule(batch_size=64))


def two_studies(accelerator: str, folder: Path) -> Facts:
    """Two studies at the same time on one GPU find what each of them finds alone."""
    os.environ.update(_DETERMINISTIC)
    script = str(ROOT / "benchmarks" / "gpu_check.py")
    alone = _values(_begun(script, accelerator, folder / "alone", seed=1))
    pair = [_begun(script, accelerator, folder / f"pair-{seed}", seed) for seed in (1, 2)]
    together = [_values(process) for process in pair]
    _require(together[0] == alone, "the values differ", {"alone": alone, "together": together})
    _require(together[1] != alone, "both studies had one seed, so nothing was compared", alone)
    return {"trials": len(alone)}


def _begun(script: str, accelerator: str, folder: Path, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, script, "--study", str(folder), "--seed", str(seed), "--accelerator", accelerator]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _values(process: subprocess.Popen[str]) -> list[Mapping[str, float]]:
    text, _ = process.communicate()
    _require(process.returncode == 0, "a study failed", process.returncode)
    return list(json.loads(text.strip().splitlines()[-1]))


def one_of_two(accelerator: str, folder: Path, seed: int) -> list[Mapping[str, float]]:
    """Run the study of `two_studies` to its end; return the last values of its trials."""
    study = _study("pair", folder, accelerator, precision=hwt.Choice(["32-true", "64-true"]), max_epochs=3, seed=seed)
    study.run(t.precise, max_trials=3, check=False, progress=False)
    return [dict(trial.last.values) for trial in study.state().trials if trial.last is not None]


def _study(
    name: str,
    folder: Path,
    accelerator: str,
    *,
    max_epochs: int = 1,
    scheduler: Any = None,
    judged_by: str = "val_loss",
    seed: int = 0,
    **parameters: Any,
) -> hwt.Study:
    space = hwt.SearchSpace(lr=hwt.Float(1e-3, 3e-2, log=True), **parameters)
    pool = hwt.Pool(accelerator, devices=1 if accelerator == "gpu" else 2)
    chosen = scheduler or (
        hwt.ASHA(max_epochs=max_epochs, first_rung=1, eta=2) if max_epochs > 1 else hwt.RunToEnd(max_epochs=1)
    )
    objectives = [hwt.Metric(judged_by, "min")]
    return hwt.Study(name, space, objectives, scheduler=chosen, pool=pool, dir=folder, seed=seed)


def _require(holds: bool, what: str, seen: object) -> None:
    if not holds:
        raise AssertionError(f"{what}: {seen}" if seen is not None else what)


CHECKS: Mapping[str, tuple[Callable[[str, Path], Facts], float]] = {
    "fork_server_before_cuda": (fork_server_before_cuda, 20.0),
    "masks": (masks, 30.0),
    "checkpoint_on_cpu": (checkpoint_on_cpu, 40.0),
    "memory_given_back": (memory_given_back, 30.0),
    "out_of_memory": (out_of_memory, 40.0),
    "bit_equality": (bit_equality, 40.0),
    "mixed_precision": (mixed_precision, 60.0),
    "check_command": (check_command, 45.0),
    "digits_study": (digits_study, 60.0),
    "two_studies": (two_studies, 80.0),
}
"""Name -> the check, and the seconds it may take."""

NEEDS_GPU = frozenset({"masks", "memory_given_back", "out_of_memory"})
"""Those that cannot be rehearsed on the CPU."""
