"""A study on two agents: real processes, real ranks, and what dies or is cut while they train."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from agent_bench import HERE, LOST_AFTER_S, STUDY, Cluster, Network, epochs, is_alive, until

from lightning_hwtune import Study
from lightning_hwtune.core import events as ev
from lightning_hwtune.engine.agents.door import noted_address
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog

pytestmark = [pytest.mark.training, pytest.mark.slow]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    yield found
    found.close()


def test_a_study_continues_after_a_cut_a_killed_agent_and_a_killed_controller(cluster: Cluster) -> None:
    """Two trials on one node each, then one on both; no trial is retried, and none trains twice at the same time."""
    folder = cluster.folder / "digits"
    folder.mkdir()
    script = cluster.folder / "run.py"
    script.write_text(textwrap.dedent(STUDY.format(here=str(HERE), folder=str(cluster.folder))))
    (folder / "hold").touch()

    def port() -> int | None:
        found = noted_address(folder)
        return found[1] if found else None

    controller = cluster.start("run", "run.py")
    until(port, "the study listens")
    network = Network(port)
    key = str(folder / "agents.key")
    agent = ("-m", "lightning_hwtune", "agent")
    a = cluster.start("a", *agent, "--connect", f"127.0.0.1:{network.port}", "--key-file", key, "--name", "a")
    b = cluster.start("b", *agent, "digits", "--name", "b")
    until(lambda: all({2} <= {at[1] for at in epochs(folder, trial)} for trial in (0, 1)), "two trials train")

    network.cut(5.0)  # less than after which the agent ends its ranks
    until(lambda: "connected again" in cluster.said("a"), "a is connected again")

    b.send_signal(signal.SIGKILL)
    lost = {pid for trial in (0, 1) for *_, pid in epochs(folder, trial)}
    until(lambda: sum(map(is_alive, lost)) == 1, "the rank of a killed agent ends with it", 10)
    c = cluster.start("c", *agent, "digits", "--name", "c")
    until(lambda: {at[0] for trial in (0, 1) for at in epochs(folder, trial)} == {1, 2}, "its trial continues on c")

    before = {pid for trial in (0, 1) for *_, pid in epochs(folder, trial)}
    assert sum(map(is_alive, before)) == 2
    controller.send_signal(signal.SIGKILL)
    again = cluster.start("run", "run.py")
    until(lambda: not any(map(is_alive, before)), "the ranks of the killed session end", 30)
    (folder / "hold").unlink()
    for process, name in ((again, "run"), (a, "a"), (c, "c")):
        assert process.wait(90) == 0, cluster.said(name)
    network.close()

    log = [event for _, event in EventLog.open(StudyFiles(cluster.folder, "digits"), create=False).read()]
    ended = [event for event in log if isinstance(event, ev.SegmentEnded)]
    assert sorted(event.outcome for event in ended) == ["done"] * 3 + ["interrupted"] * 2 + ["node-lost"]
    lost_nodes = [event for event in log if isinstance(event, ev.NodeLost)]
    names = {event.node: event.rented_as for event in log if isinstance(event, ev.NodeRequested)}
    assert [(names[event.node], event.reason) for event in lost_nodes] == [
        ("b", f"it gave no heartbeat for {LOST_AFTER_S} s")
    ]
    state = Study.load("digits", dir=cluster.folder).state()
    assert {(str(trial.state), trial.resource, trial.n_retries) for trial in state.trials} == {("completed", 3, 0)}
    assert all(segment.resource == 1 for segment in state.segments if segment.number > 1)  # no epoch is lost
    assert [segment.world_size for segment in state.segments if segment.outcome == "done"] == [1, 1, 2]
    assert {(rank, node) for _, _, rank, node, _ in epochs(folder, 2)} == {(0, 0), (1, 1)}
    shown = subprocess.run(
        [sys.executable, "-m", "lightning_hwtune", "logs", "2", "--study", "digits", "--dir", str(cluster.folder)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(f"rank {rank} of segment 1 trains on the digits" in shown.stdout for rank in (0, 1))
    assert not (folder / "agents.json").exists()  # the next session waits for no agent


def test_an_agent_says_what_it_waits_for(cluster: Cluster) -> None:
    process = cluster.start("early", "-m", "lightning_hwtune", "agent", "no_folder", "--wait", "5")
    assert process.wait(90) != 0
    said = cluster.said("early")
    assert "there is no folder 'no_folder' yet: is this the study's folder?" in said
    assert "no session of the study is open; waiting for one, for at most 5 s" in said
    assert "the study could not be reached for 5 s" in said
