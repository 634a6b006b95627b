"""The end of a segment where unchanged Hydra apps and LightningCLI scripts train: the rule is that of functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))
from rank_bench import Bench, Said

from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.apps.hydra.app import AppOverrides, HydraApp, JobDirs
from lightning_hwtune.apps.hydra.call_end import Ending
from lightning_hwtune.apps.hydra.command import Command
from lightning_hwtune.apps.hydra.search import Search
from lightning_hwtune.apps.lightning_cli.segment import CliSegment, CliTrial
from lightning_hwtune.training.channel import Note, Report, SegmentOrder
from lightning_hwtune.training.context import Hints

APP = """
import hydra
import lightning.pytorch as L
import torch
from broken_training import QUIET, Breaks, TinyNet, loader

def error():
    raise ValueError("broken")

def memory():
    raise torch.OutOfMemoryError("CUDA out of memory")

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    callbacks = eval(cfg.get("callbacks", "[]"))
    trainer, net = L.Trainer(max_epochs=4, accelerator="cpu", devices=1, callbacks=callbacks, **QUIET), TinyNet()
    BODY

if __name__ == "__main__":
    main()
"""
SCRIPT = """
import torch
from broken_training import Breaks, TinyNet, loader
from lightning.pytorch.cli import LightningCLI

def error():
    raise ValueError("broken")

def memory():
    raise torch.OutOfMemoryError("CUDA out of memory")

if __name__ == "__main__":
    cli = LightningCLI(TinyNet, run=False, save_config_callback=None)
    trainer, net = cli.trainer, cli.model
    BODY
"""
CONFIG = "trainer: {max_epochs: 4, logger: false, enable_checkpointing: false, enable_progress_bar: false}\n"
FIT = "trainer.fit(net, loader(), loader())\n    "
NEEDS_A_RESULT = {
    "predict": FIT + "torch.cat(trainer.predict(net, loader()))",
    "test": FIT + "trainer.test(net, loader())[0]['test_error']",
    "metrics": FIT + "trainer.test(net, loader()); trainer.callback_metrics['test_error'] + 0",
}
RAISES = {
    "raise": FIT + "error()",
    "exit": FIT + "import sys; sys.exit(3)",
    "finally": "try:\n        " + FIT + "finally:\n        error()",
}
BROKEN = "trainer.callbacks.append(Breaks('on_train_batch_end', ACTION, 3)); "
SWALLOWS = {
    "except": "try:\n        " + BROKEN + FIT + "except Exception as caught:\n        print(caught)",
    "again": "import contextlib\n    with contextlib.suppress(Exception):\n        "
    + BROKEN + FIT + "trainer.callbacks.pop(); " + FIT,
}  # fmt: skip

Way = Callable[[Path, str], Any]


def hydra_app(folder: Path, body: str) -> HydraApp:
    path = folder / "app.py"
    path.write_text(APP.replace("BODY", body))
    dirs = JobDirs(str(folder / "out"), False, None, "app")
    return HydraApp(
        Command(str(path), False, ()),
        (),
        AppOverrides(Search()),
        dirs,
        Ending(("val_error",), hints=Hints(after_a_pause="")),
    )


def lightning_cli(folder: Path, body: str) -> CliSegment:
    pytest.importorskip("jsonargparse")
    path = folder / "script.py"
    path.write_text(SCRIPT.replace("BODY", body))
    return CliSegment(str(path), (), CliTrial(ConfigTree(CONFIG), {}, {}, has_seed=False))


@pytest.fixture(params=[hydra_app, lightning_cli])
def segment(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Said]:
    """Trains one segment of an app with this body, in this process."""
    order = SegmentOrder(
        study="s", trial_id=0, segment=1, config={}, seed=0, num_devices=1, slots=(0,), accelerator="cpu",
        threads_per_device=1, trial_dir=str(tmp_path), resource=0, checkpoint=None, unit="epochs", max_resource=4,
        levels=(1, 2, 4), metrics=("val_error",),
    )  # fmt: skip

    def run(body: str, script: dict[int, str], **changes: Any) -> Said:
        return Bench(replace(order, **changes)).inline(request.param(tmp_path, body), script)

    return run


@pytest.mark.parametrize("body", [*NEEDS_A_RESULT.values(), *RAISES.values()], ids=[*NEEDS_A_RESULT, *RAISES])
def test_nothing_counts_once_a_segment_is_paused(segment: Callable[..., Said], body: str) -> None:
    for changes in ({}, {"probe_batches": 2}):  # and the check goes by the same rule
        said = segment(body, {1: "pause"}, **changes)
        assert (said.ended[0].outcome, said.ended[0].error) == ("done", "")
        [note] = said.of(Note)
        assert (note.once_per, "did not change the result: " in note.text) == ("study", True)
        assert "trial.is_paused_or_stopped" not in note.text


@pytest.mark.parametrize("body", RAISES.values(), ids=RAISES)
def test_a_complete_training_stays_complete(segment: Callable[..., Said], body: str) -> None:
    said = segment(body, {4: "stop"})
    assert (said.ended[0].outcome, said.saved.resource) == ("done", 4)
    [note] = said.of(Note)
    assert "after the complete training did not change the result: " in note.text


@pytest.mark.parametrize(("action", "outcome"), [("error", "error"), ("memory", "out-of-memory")])
@pytest.mark.parametrize("body", SWALLOWS.values(), ids=SWALLOWS)
@pytest.mark.slow
def test_an_error_in_the_fit_counts_also_when_it_is_swallowed(
    segment: Callable[..., Said], body: str, action: str, outcome: str
) -> None:
    said = segment(body.replace("ACTION", action), {4: "stop"})
    assert said.ended[0].outcome == outcome
    assert [report.resource for report in said.of(Report)] == [1, 2]


def test_what_to_do_about_another_horizon_is_said_without_a_trial(tmp_path: Path, segment: Callable[..., Said]) -> None:
    said = segment("trainer.fit_loop.max_epochs = 3; " + FIT, {}).ended[0].error
    assert "`Trainer(max_epochs=...)` is 3; allowed: 4, the full training" in said
    if (tmp_path / "script.py").exists():
        assert "Let the script's Trainer use `trainer.max_epochs` of the configuration" in said
        assert "trial." not in said.rpartition("`Trainer(max_epochs")[2]


def test_an_interrupt_that_the_script_raises_changes_nothing_after_the_end(segment: Callable[..., Said]) -> None:
    for script in ({1: "pause"}, {4: "stop"}):
        said = segment(FIT + "raise KeyboardInterrupt", script)
        assert said.ended[0].outcome == "done"
        assert "did not change the result: KeyboardInterrupt" in said.of(Note)[-1].text


def test_an_exit_before_the_training_is_an_error(segment: Callable[..., Said]) -> None:
    said = segment("import sys; sys.exit(3)", {})
    assert (said.ended[0].outcome, "sys.exit(3)" in said.ended[0].error) == ("error", True)
