"""A template app whose metric is the best value so far, with presets and a strategy that starts processes itself.

In all ways in, paused and killed: every trial's values are those of a training without a pause, to the last digit.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import lightning_hwtune as hwt

sys.path += [str(Path(__file__).parent / "apps" / "hydra"), str(Path(__file__).parent / "apps" / "template")]
from sweeps import TEMPLATE, begin, load, start, sweep, wait_for_events

pytestmark = [pytest.mark.training, pytest.mark.slow]
BEST = ["model=best", "callbacks=accuracy", "trainer.max_epochs=4", "data.n_samples=300", "test=false", "seed=null"]
PRESETS = [*BEST, "preset=small,large", "optimized_metric=val/acc_best", "hydra.sweeper.hwtune.searcher=grid",
           "hydra.sweeper.n_trials=2", "hydra.sweeper.hwtune.finishers=2", "hydra.sweeper.n_jobs=1",
           "hydra.sweeper.hwtune.objectives=[{metric: val/acc_best, mode: max}]"]  # fmt: skip
SCHEDULERS = {"whole": "run_to_end", "paused": "{name: asha, first_rung: 1, eta: 2}"}
Values = dict[str, dict[str, float]]


def command(name: str, *more: str) -> list[str]:
    scheduler = f"hydra.sweeper.hwtune.scheduler={SCHEDULERS[name]}"
    return [*PRESETS, *more, scheduler, f"hydra.sweeper.study_name={name}", f"hydra.sweep.dir={name}"]


def values(study: hwt.Study) -> Values:
    trials = study.state().trials
    assert {trial.state.value for trial in trials} == {"completed"}, [trial.error for trial in trials]
    return {str(trial.config): dict(trial.last.values) for trial in trials if trial.last}


def n_resumed(study: hwt.Study) -> int:
    return sum(segment.number > 1 for segment in study.state().segments)


# ---------------------------------------------------------------------- as a sweep


@pytest.mark.parametrize(("trainer", "n_ranks"), [("cpu", 1), ("ddp_spawn", 2)])
def test_a_sweep_of_presets_that_pauses_and_on_one_rank_is_killed(trainer: str, n_ranks: int, tmp_path: Path) -> None:
    more = [f"trainer={trainer}", f"hydra.sweeper.hwtune.pool={{accelerator: cpu, devices: {n_ranks}}}"]
    said = sweep(TEMPLATE, command("whole", *more), tmp_path)
    if n_ranks == 1:
        with begin(TEMPLATE, command("paused", *more), tmp_path) as process:
            wait_for_events("paused", tmp_path, 10, process)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    said += sweep(TEMPLATE, command("paused", *more), tmp_path)
    whole, paused = load("whole", tmp_path), load("paused", tmp_path)
    assert (n_resumed(whole), n_resumed(paused) >= 2) == (0, True)
    assert values(paused) == values(whole)
    assert {segment.num_devices for segment in paused.state().segments} == {n_ranks}
    assert "but the last logged value" not in said, "main returns what was logged, however often the trial has paused"
    notes = [note.text for note in paused.state().notes]
    assert sum("acts like plain ddp in a study" in text for text in notes) == (n_ranks > 1)
    for trial in paused.state().trials:
        kept = tmp_path / "paused" / f"trial_{trial.trial_id:03d}" / ".hydra"
        sizes = {OmegaConf.load(path).data.batch_size for path in kept.rglob("config.yaml")}
        assert sizes == {{"small": 32, "large": 64}[trial.config["preset"]]}, "of the trial's own preset"


def test_a_preset_with_another_horizon_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    overrides = [text for text in BEST if "max_epochs" not in text]
    done = start(TEMPLATE, [*overrides, "preset=small,long"], tmp_path)
    assert done.returncode == 1
    assert "`trainer.max_epochs` is '12 with preset=long, 9 with preset=small'" in done.stdout
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- as a function


def train(trial: hwt.Trial) -> None:
    """Call the app's own function on a configuration that is composed for the trial."""
    spec = importlib.util.spec_from_file_location("template_train", TEMPLATE)
    assert spec is not None
    assert spec.loader is not None
    app = importlib.util.module_from_spec(spec)  # not by its name: the repository has a train.py, too
    spec.loader.exec_module(app)
    with initialize_config_dir(str(TEMPLATE.parent / "configs"), version_base="1.3"):
        overrides = [*BEST, f"preset={trial['preset']}", f"paths.output_dir={trial.dir}"]
        app.train(compose("train", overrides))


def study(name: str, folder: Path) -> hwt.Study:
    scheduler = {"whole": hwt.RunToEnd(max_epochs=4), "paused": hwt.ASHA(4, first_rung=1, eta=2)}[name]
    return hwt.Study(
        name, {"preset": hwt.Choice(["small", "large"])}, [hwt.Metric("val/acc_best", "max")], scheduler=scheduler,
        searcher=hwt.Grid(), pool=hwt.Pool("cpu", devices=1), dir=folder,
    )  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Values:
    whole = study("whole", tmp_path_factory.mktemp("function"))
    whole.run(train, max_trials=2, executor="inline", progress=False)
    return values(whole)


def test_inline(uninterrupted: Values, tmp_path: Path) -> None:
    paused = study("paused", tmp_path)
    paused.run(train, max_trials=2, finishers=2, executor="inline", progress=False)
    assert n_resumed(paused) >= 2
    assert values(paused) == uninterrupted


def test_ask_and_tell(uninterrupted: Values, tmp_path: Path) -> None:
    paused = study("paused", tmp_path)
    while (trial := paused.ask(max_trials=2, finishers=2)) is not None:
        train(trial)
        paused.tell(trial)
    assert n_resumed(paused) >= 2
    assert values(paused) == uninterrupted


def test_processes(uninterrupted: Values, tmp_path: Path) -> None:
    paused = study("paused", tmp_path)
    paused.run(train, max_trials=2, finishers=2, max_parallel=1, progress=False)
    assert values(paused) == uninterrupted
