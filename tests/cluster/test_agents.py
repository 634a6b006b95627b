"""A study on two agents: real processes, real ranks, and what dies or is cut while they train."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from agent_bench import LOST_AFTER_S, Cluster, Network, epochs, is_alive, study_text, until

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
    script.write_text(study_text(cluster.folder))
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


KINDS = """hwt.Pool(nodes=[
            {"count": 1, "instance": {"name": "small", "usd_per_hour": 3.6, "vcpus": 1}},
            {"count": 1, "instance": {"name": "large", "usd_per_hour": 36.0, "vcpus": 2}},
        ])"""


def test_nodes_of_two_types_train_one_study_and_are_billed_by_their_prices(cluster: Cluster) -> None:
    """One agent has one device, the other has two: the trial with two devices is on the second."""
    folder = cluster.folder / "digits"
    folder.mkdir()
    (cluster.folder / "run.py").write_text(study_text(cluster.folder, KINDS))
    (folder / "hold").touch()
    controller = cluster.start("run", "run.py")
    until(lambda: noted_address(folder), "the study listens")
    agent = ("-m", "lightning_hwtune", "agent", "digits")
    untyped = cluster.start("untyped", *agent, "--name", "untyped")
    few = cluster.start("few", *agent, "--name", "few", "--instance", "large", "--devices", "1")
    assert untyped.wait(60) != 0
    assert "instance types 'large', 'small': start the agent with --instance" in cluster.said("untyped")
    assert few.wait(60) != 0
    assert "each node of the study has at least 2 devices, but the agent has 1" in cluster.said("few")
    small = cluster.start("small", *agent, "--name", "s", "--instance", "small", "--devices", "1")
    large = cluster.start("large", *agent, "--name", "l", "--instance", "large", "--devices", "2")
    until(lambda: all({2} <= {at[1] for at in epochs(folder, trial)} for trial in (0, 1)), "two trials train")
    (folder / "hold").unlink()
    for process, name in ((controller, "run"), (small, "small"), (large, "large")):
        assert process.wait(90) == 0, cluster.said(name)

    study = Study.load("digits", dir=cluster.folder)
    state = study.state()
    assert {(str(trial.state), trial.resource, trial.n_retries) for trial in state.trials} == {("completed", 3, 0)}
    of_trial = {segment.trial_id: segment for segment in state.segments}
    assert (of_trial[2].allocation.instance, of_trial[2].allocation.nodes, of_trial[2].world_size) == ("large", 1, 2)
    assert {(rank, node) for _, _, rank, node, _ in epochs(folder, 2)} == {(0, 0), (1, 0)}
    assert {(node.rented_as, node.instance.name, node.devices) for node in state.nodes} == {
        ("s", "small", 1), ("l", "large", 2)
    }  # fmt: skip
    for node in state.nodes:
        assert node.billed_usd == pytest.approx(node.ended_s * node.instance.usd_per_hour / 3600)
    for segment in state.segments:
        per_s = {"small": 3.6, "large": 18.0}[segment.allocation.instance] / 3600
        assert segment.billed_usd == pytest.approx(segment.wall_s * segment.num_devices * per_s)
    shown = subprocess.run(
        [sys.executable, "-m", "lightning_hwtune", "ledger", "--study", "digits", "--dir", str(cluster.folder)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "small" in shown.stdout
    assert "large" in shown.stdout
    assert "1 node with 2 devices (large), each at" in cluster.said("run")


def test_an_agent_says_what_it_waits_for(cluster: Cluster) -> None:
    process = cluster.start("early", "-m", "lightning_hwtune", "agent", "no_folder", "--wait", "5")
    assert process.wait(90) != 0
    said = cluster.said("early")
    assert "waiting for the study, which has not created its folder 'no_folder' yet" in said
    assert "no session of the study is open; waiting for one, for at most 5 s" in said
    assert "the study could not be reached for 5 s" in said
