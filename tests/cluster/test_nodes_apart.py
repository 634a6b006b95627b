"""Nodes that share no folder with the study: agents send the files. One has a full disk, one is killed."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from agent_bench import Cluster, epochs, study_text, until

from lightning_hwtune import Study
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.record import Checkpoint
from lightning_hwtune.engine.agents.door import noted_address
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog

pytestmark = [pytest.mark.training, pytest.mark.slow]

KEY = {"HWTUNE_AGENTS_KEY": "a secret of the tests", "HWTUNE_AGENTS_LOST_AFTER": "6"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    yield found
    found.close()


def elsewhere(folder: Path) -> list[str]:
    """Return what begins the command of a process for which another file system is mounted over a folder."""
    return ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs tmpfs "{folder}" && exec "$@"', "sh"]


def test_a_study_trains_on_nodes_that_do_not_see_its_folder(cluster: Cluster, small_disk: Path) -> None:
    """Two trials on one node each, one of which changes its node, then a trial on both nodes."""
    studies = cluster.folder / "studies"
    folder, roots = studies / "digits", {"a": small_disk / "a", "b": cluster.folder / "b"}
    folder.mkdir(parents=True)
    script = study_text(studies)
    script = script.replace("max_retries=0", "max_retries=2")
    (cluster.folder / "run.py").write_text(script)
    for root in roots.values():
        root.mkdir()
        (root / "hold").touch()
    temporary = cluster.folder / "temporary"
    temporary.mkdir()
    study = cluster.start("run", "run.py", **KEY)
    until(lambda: noted_address(folder), "the study listens")
    host, port = noted_address(folder) or ("", 0)

    def start(name: str, *options: str) -> subprocess.Popen[bytes]:
        return cluster.start(
            name, "-m", "lightning_hwtune", "agent", "--connect", f"{host}:{port}", "--name", name, *options,
            before=elsewhere(studies), TMPDIR=str(temporary), **KEY,
        )  # fmt: skip

    def begun(root: Path) -> set[tuple[int, ...]]:
        return {(trial, *at[:2]) for trial in (0, 1) for at in epochs(root, trial)}

    def events() -> list[ev.Event]:
        return [event for _, event in EventLog.open(StudyFiles(studies, "digits"), create=False).read()]

    def saved_paths() -> list[str]:
        return [event.path for event in events() if isinstance(event, ev.CheckpointSaved)]

    agents = {name: start(name, "--root", str(root)) for name, root in roots.items()}
    until(lambda: all({at[2] for at in begun(root)} == {1, 2} for root in roots.values()), "two trials train")
    until(lambda: len(saved_paths()) >= 2, "two checkpoints are with the study")
    assert sorted(saved_paths()) == [f"trials/00{trial}/checkpoints/segment_01_epochs_1.ckpt" for trial in (0, 1)]
    (lost,) = {at[0] for at in begun(roots["b"])}

    agents.pop("b").send_signal(signal.SIGKILL)
    agents["c"] = start("c")
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    (roots["a"] / "hold").unlink()
    until(lambda: any(isinstance(at, ev.SegmentEnded) and at.outcome == "error" for at in events()), "a disk is full")
    (small_disk / "filler").unlink()
    for name, process in {"run": study, **agents}.items():
        assert process.wait(90) == 0, cluster.said("run") + cluster.said(name)

    state = Study.load("digits", dir=studies).state()
    assert {(str(trial.state), trial.resource) for trial in state.trials} == {("completed", 3)}
    full = [event.error for event in events() if isinstance(event, ev.SegmentEnded) and event.outcome == "error"]
    assert all("No space left on device" in error for error in full), full
    (moved,) = [at for at in state.segments if at.trial_id == lost and at.outcome == "node-lost"]
    (again,) = [at for at in state.segments if at.trial_id == lost and at.number == moved.number + 1]
    assert (moved.resource, again.resource) == (0, 1)  # its checkpoint was sent to the study, and from there to c
    assert [at.world_size for at in state.segments if at.trial_id == 2 and at.outcome == "done"] == [2]
    files = StudyFiles(studies, "digits")
    for trial in state.trials:
        assert isinstance(trial.checkpoint, Checkpoint)
        assert files.verify(trial.checkpoint).is_file()
    shown = subprocess.run(
        [sys.executable, "-m", "lightning_hwtune", "logs", "2", "--study", "digits", "--dir", str(studies)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert all(shown.count(f"rank {rank} of segment 1 trains on the digits") == 1 for rank in (0, 1))
    assert not list(temporary.glob("hwtune-agent-*"))
    assert not list(roots["a"].glob("trials/*/checkpoints/*"))  # what the study has takes no space elsewhere
