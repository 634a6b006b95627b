"""Each notebook runs from top to bottom in its own kernel and keeps no outputs; an interrupted cell loses nothing."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel
from nbclient import NotebookClient

import lightning_hwtune as hwt

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIMIT_S = 200
# what a notebook has shown by its end
SHOWN = {
    "deadline_and_budget": "in half an hour: ",
    "existing_trainer": "Result(trial_id=",
    "first_study": "fully trained",
    "prior_from_earlier_study": "weight of the prior, from 0 to 1",
    "reading_a_study": "paused",
}


def read(notebook: Path) -> Any:
    return nbformat.read(notebook, as_version=4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that looks like the repository's root; programs of this environment are found."""
    for name in ("datamodules", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_every_notebook_is_known() -> None:
    assert {notebook.stem for notebook in NOTEBOOKS} == SHOWN.keys()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_no_outputs_and_is_listed(notebook: Path) -> None:
    nbformat.validate(read(notebook))
    code = [cell for cell in read(notebook).cells if cell.cell_type == "code"]
    assert [cell for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert notebook.name in (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_page_in_the_guide_has_its_cells(notebook: Path) -> None:
    page = (ROOT / "docs" / "notebooks" / f"{notebook.stem}.md").read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.*?)\n```$", page, re.M | re.S)
    assert code == [cell.source for cell in read(notebook).cells if cell.cell_type == "code"]
    for cell in read(notebook).cells:
        if cell.cell_type == "markdown":
            assert cell.source.replace("](../docs/", "](../").partition("\n")[0] in page
    assert SHOWN[notebook.stem] in page  # and its outputs


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, folder: Path) -> None:
    ran = read(notebook)
    NotebookClient(ran, timeout=LIMIT_S, resources={"metadata": {"path": str(folder)}}).execute()
    shown = [output for cell in ran.cells if cell.cell_type == "code" for output in cell.outputs]
    assert SHOWN[notebook.stem] in str(shown)
    assert [output for output in shown if output.output_type == "error"] == []


# ---------------------------------------------------------------------- interrupted cells

STUDY = """
import time
import lightning_hwtune as hwt

def train(trial):
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        if not trial.report(epoch, error=trial["x"] / epoch).kind == "continue":
            trial.save(epoch)
            return
        trial.save(epoch)
        wait()

def wait():
    if delay_s:
        open("waiting", "w").close()
        time.sleep(delay_s)

study = hwt.Study(
    NAME, hwt.SearchSpace(x=hwt.Float(0.0, 1.0)), [hwt.Metric("error", "min")],
    scheduler=hwt.RunToEnd(max_epochs=3), pool=hwt.Pool("cpu", devices=1),
)
"""
LOOP = """
import lightning.pytorch as L, torch

class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch, batch_idx):
        self.log("error", 1.0, on_step=False, on_epoch=True)
        if self.current_epoch == 1:
            wait()
        return self.layer(batch).mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

def loop():
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    try:
        while (trial := study.ask(max_trials=1)) is not None:
            trainer = L.Trainer(max_epochs=3, accelerator="cpu", callbacks=[hwt.RungCallback()], **quiet)
            trainer.fit(Net(), torch.utils.data.DataLoader(torch.zeros(2, 1)), ckpt_path=trial.ckpt_path)
            study.tell(trial)
    finally:
        study.close()
"""
CELLS = {
    "run": ("study.run(train, max_trials=1, check=False)", "KeyboardInterrupt"),
    "ask": ("loop()", "SystemExit"),  # what Lightning makes of it
}


@pytest.fixture
def kernel(folder: Path) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(folder), startup_timeout=LIMIT_S)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run_cell(client: BlockingKernelClient, code: str) -> tuple[str, str]:
    """Runs a cell to its end; returns its status and everything that it showed."""
    return collect(client, client.execute(code))


def collect(client: BlockingKernelClient, request: str) -> tuple[str, str]:
    shown = []
    while True:
        message = client.get_iopub_msg(timeout=LIMIT_S)
        if message["parent_header"].get("msg_id") != request:
            continue
        content = message["content"]
        if message["msg_type"] == "status" and content["execution_state"] == "idle":
            break
        shown.append(content.get("text") or str(content.get("data") or content.get("traceback") or ""))
    while (reply := client.get_shell_msg(timeout=LIMIT_S))["parent_header"].get("msg_id") != request:
        pass
    return str(reply["content"]["status"]), "".join(shown)


def wait_for_file(path: Path, client: BlockingKernelClient) -> None:
    """Waits until the running cell has made a file; takes the file away."""
    deadline = time.monotonic() + LIMIT_S
    while not path.exists():
        assert time.monotonic() < deadline
        with contextlib.suppress(queue.Empty):
            pytest.fail(f"the cell has ended by itself: {client.get_shell_msg(timeout=0.05)['content']}")
    path.unlink()


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_interrupted_cell_leaves_the_kernel_alive_and_the_study_goes_on(
    kernel: tuple[KernelManager, BlockingKernelClient], folder: Path
) -> None:
    manager, client = kernel
    for name, (cell, error) in CELLS.items():
        assert run_cell(client, f"NAME, delay_s = {name!r}, 600.0\n{STUDY}{LOOP}")[0] == "ok"
        for _ in range(2):  # the second time the kernel must still react
            request = client.execute(cell)
            wait_for_file(folder / "waiting", client)
            manager.interrupt_kernel()
            status, shown = collect(client, request)
            assert status == "error"
            assert error in shown
            assert manager.is_alive()
            state = hwt.Study.load(name, folder / "hwtune").state()
            assert not state.running
            assert state.trials[0].measurements
        assert run_cell(client, "delay_s = 0.0")[0] == "ok"
        assert run_cell(client, cell)[0] == "ok"
        assert "['completed']" in run_cell(client, "study.trials().state.tolist()")[1]
        [trial] = hwt.Study.load(name, folder / "hwtune").state().trials
        assert [m.resource for m in trial.measurements] == [1, 2, 3]
