"""Nodes that fall silent without a sign: their network is cut, their agent is stopped, or all of it is frozen."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from agent_bench import Cluster, Network, descendants, epochs, hour_ahead, is_alive, started_earlier, study_text, until

from lightning_hwtune import Study
from lightning_hwtune.core import events as ev
from lightning_hwtune.engine.agents.door import noted_address
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog

pytestmark = [pytest.mark.training, pytest.mark.slow]

LOST_AFTER_S = 12  # an agent ends its ranks after 8 s, or its watchdog does after 10 s
NODES = "abcd"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    yield found
    send(signal.SIGCONT, {pid for process in found.processes for pid in descendants(process.pid)})  # if the test fails
    found.close()


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def test_the_ranks_of_a_silent_node_end_before_it_is_lost_and_nothing_that_they_do_counts(cluster: Cluster) -> None:
    """One trial trains on each of four nodes. Their clocks differ: by a week of uptime, and by an hour."""
    folder, begun_at = cluster.folder / "digits", time.time()
    folder.mkdir()
    script = study_text(cluster.folder)
    script = script.replace("nodes=2", "nodes=4").replace("max_trials=3", "max_trials=4, check=False")
    script = script.replace("((0.01, 1), (0.02, 1), (0.03, 2))", "((0.01, 1), (0.02, 1), (0.03, 1), (0.04, 1))")
    (cluster.folder / "run.py").write_text(script)
    hold = {trial: folder / f"hold_{trial:03d}" for trial in range(4)}
    for path in hold.values():
        path.touch()
    lost_after = {"HWTUNE_AGENTS_LOST_AFTER": str(LOST_AFTER_S)}
    study = cluster.start("run", "run.py", **lost_after)

    def port() -> int | None:
        found = noted_address(folder)
        return found[1] if found else None

    until(port, "the study listens")
    networks = {name: Network(port) for name in NODES}
    key = str(folder / "agents.key")
    agents = {
        name: cluster.start(
            name, "-m", "lightning_hwtune", "agent", "--connect", f"127.0.0.1:{networks[name].port}",
            "--key-file", key, "--name", name, "--wait", "120",
            before=started_earlier() if name == "a" else (), **(hour_ahead(cluster.folder) if name == "d" else {}),
        )
        for name in NODES
    }  # fmt: skip
    until(lambda: all({2} <= {at[1] for at in epochs(folder, trial)} for trial in hold), "four trials train")
    nodes = {name: descendants(agents[name].pid) for name in NODES}
    rank = {trial: next(iter({at[4] for at in epochs(folder, trial)})) for trial in hold}
    of = {name: next(pid for pid in rank.values() if pid in nodes[name]) for name in NODES}
    trial_of = {name: next(trial for trial, pid in rank.items() if pid == of[name]) for name in NODES}

    def segments(name: str) -> set[int]:
        return {at[0] for at in epochs(folder, trial_of[name])}

    networks["a"].stop()  # for 5 s: nothing is lost
    send(signal.SIGSTOP, [agents["b"].pid])  # its ranks are not stopped
    send(signal.SIGSTOP, nodes["c"])
    networks["d"].stop()
    time.sleep(5)
    networks["a"].flow()
    until(lambda: "connected again" in cluster.said("a"), "a is connected again")
    assert segments("a") == {1}
    until(lambda: not is_alive(of["b"]), "the watchdog of a stopped agent ends its rank", 12)
    until(lambda: not is_alive(of["d"]), "an agent without its network ends its rank", 12)
    ended_at = time.time()
    log = EventLog.open(StudyFiles(cluster.folder, "digits"), create=False)

    def lost() -> dict[str, str]:
        events = [event for _, event in EventLog.open(StudyFiles(cluster.folder, "digits"), create=False).read()]
        names = {event.node: event.rented_as for event in events if isinstance(event, ev.NodeRequested)}
        return {names[event.node]: event.reason for event in events if isinstance(event, ev.NodeLost)}

    until(lambda: set(lost()) == set("bcd"), "three nodes are lost", 15)
    hold[trial_of["c"]].unlink()
    send(signal.SIGCONT, nodes["c"] - {agents["c"].pid})  # its rank trains, saves and reports
    time.sleep(2)
    send(signal.SIGCONT, [agents["b"].pid, agents["c"].pid])
    networks["d"].flow()
    until(lambda: all(segments(name) == {1, 2} for name in "bcd"), "their trials continue", 40)
    assert not is_alive(of["c"])
    networks["a"].stop()  # until its ranks end, which is too short for it to be lost
    until(lambda: "no heartbeat of the study" in cluster.said("a"), "a ends its rank")
    networks["a"].flow()
    until(lambda: segments("a") == {1, 2}, "the trial of a continues there", 20)
    for path in hold.values():
        path.unlink(missing_ok=True)
    for name, process in {"run": study, **agents}.items():
        assert process.wait(60) == 0, cluster.said(name)
    for network in networks.values():
        network.close()

    events = [event for _, event in log.read()]
    log.close()
    assert all(event.at > ended_at for event in events if isinstance(event, ev.NodeLost))
    reasons, silent = lost(), f"it gave no heartbeat for {LOST_AFTER_S} s"
    assert {reasons[name] for name in "bcd"} == {silent}
    assert reasons["a"] in (silent, "it had lost the connection to the study for too long")
    ended = sorted(event.outcome for event in events if isinstance(event, ev.SegmentEnded))
    assert ended == ["done"] * 4 + ["node-lost"] * 4
    for trial in hold:
        reported = [(at.segment, at.resource) for at in events if isinstance(at, ev.Reported) and at.trial_id == trial]
        assert reported == [(1, 1), (2, 2), (2, 3)]
        kept = [at.path for at in events if isinstance(at, ev.CheckpointSaved) and at.trial_id == trial]
        assert [path.rpartition("/")[2] for path in kept] == [
            "segment_01_epochs_1.ckpt", "segment_02_epochs_2.ckpt", "segment_02_epochs_3.ckpt"
        ]  # fmt: skip
    state = Study.load("digits", dir=cluster.folder).state()
    assert {(str(trial.state), trial.resource, trial.n_retries) for trial in state.trials} == {("completed", 3, 0)}
    assert all(begun_at <= event.at <= time.time() for event in events)  # the clock of the study
    assert all(at.train_s < 120 for at in events if isinstance(at, ev.Reported))
