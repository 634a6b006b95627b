"""The stream between a study and an agent, its door, and who may come in."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import AuthenticationError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_bench import Bench

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.engine.agents.call import Call
from lightning_hwtune.engine.agents.door import KEY, KEY_FILE, LISTEN, Door, address_of, key_of, noted_address
from lightning_hwtune.engine.agents.executor import AgentsExecutor
from lightning_hwtune.engine.agents.launcher import Invitation, Launcher
from lightning_hwtune.engine.agents.link import Link, proved_client, receive_json, send_json
from lightning_hwtune.engine.agents.messages import Goodbye, Left, Ready, Setup, absolute, relative
from lightning_hwtune.engine.agents.roster import Roster, software
from lightning_hwtune.engine.executor import RunSetup
from lightning_hwtune.engine.executors import EXECUTOR_REGISTRY, create_executor
from lightning_hwtune.engine.provider import NodeChange, Provider
from lightning_hwtune.errors import ArgumentError, TrialError
from lightning_hwtune.training.channel import Saved

SECRET = b"a secret of the tests"
[KIND] = Pool("gpu", 2, nodes=2).kinds
SETUP = Setup("/study", "payload-0.pkl", (), (), "", 1, (), None)


# ---------------------------------------------------------------------- the stream


@given(st.lists(st.sampled_from(["send", "answer", "read", "beat", "cut", "late", "half"]), max_size=60))
@settings(max_examples=60, deadline=None)
def test_each_message_arrives_once_and_in_order_however_often_the_connection_is_cut(steps: list[str]) -> None:
    ends, sent, got = (Link(), Link()), ([], []), ([], [])  # type: ignore[var-annotated]

    def connect(late: int = 0) -> None:
        """Connects the sides; each knows what the other has received, or what it had received a little earlier."""
        for link, other, connection in zip(ends, ends[::-1], socket.socketpair(), strict=True):
            link.attach(connection, max(other.received - late, 0))

    def read(*which: int) -> None:
        for index in which:
            got[1 - index].extend(ends[index].messages())

    connect()
    for number, step in enumerate([*steps, "cut"]):
        if step in ("send", "answer"):
            index = step == "answer"
            sent[index].append(number)
            ends[index].send(number)
        elif step == "read":
            read(0, 1)
        elif step == "beat":
            ends[number % 2].beat()
        elif step == "half":  # one side has not noticed that the connection is gone
            ends[number % 2].detach()
        else:
            for link in ends:
                link.detach()
            connect(late=step == "late")
        if any(link.socket is None for link in ends):
            connect()
    read(0, 1)
    assert got == sent
    for _ in range(2):
        for link in ends:
            link.beat()
        read(0, 1)
    assert not any(vars(link)["_unconfirmed"] for link in ends)
    for link in ends:
        link.detach()


def test_a_side_knows_up_to_when_the_other_has_heard_of_it() -> None:
    study, agent = Link(), Link()
    for link, connection in zip((study, agent), socket.socketpair(), strict=True):
        link.attach(connection, 0)
    began = agent.known_at
    for _ in range(3):  # nothing of the agent arrives, so these heartbeats do not count
        study.beat()
        assert not list(agent.messages())
    assert agent.known_at == began < agent.heard_at
    agent.beat()
    assert not list(study.messages())
    study.beat()
    assert not list(agent.messages())
    assert agent.known_at > began
    study.detach()
    agent.detach()


def test_paths_are_those_of_each_host() -> None:
    saved = Saved("/study/trials/001/checkpoints/a.ckpt", "00", 1, 1, 1.0)
    inside = relative(saved, Path("/study"))
    assert inside.path == "trials/001/checkpoints/a.ckpt"
    assert absolute(inside, Path("/mnt/elsewhere")).path == "/mnt/elsewhere/trials/001/checkpoints/a.ckpt"


def test_the_files_of_an_order_are_those_of_each_host(tmp_path: Path) -> None:
    order = dataclasses.replace(
        Bench(tmp_path).order(0), trial_dir="/study/trials/000", checkpoint="/study/a.ckpt", weights="/study/b.ckpt"
    )
    there = absolute(relative(order, Path("/study")), Path("/mnt"))
    assert (there.trial_dir, there.checkpoint, there.weights) == ("/mnt/trials/000", "/mnt/a.ckpt", "/mnt/b.ckpt")


# ---------------------------------------------------------------------- the door


@pytest.fixture
def roster(tmp_path: Path) -> Iterator[Roster]:
    found = Roster(Door(("127.0.0.1", 0), SECRET), SETUP, Pool("gpu", 2, nodes=2), tmp_path, 5.0)
    yield found
    found.close()


def call(roster: Roster, key: bytes = SECRET, **hello: Any) -> tuple[socket.socket, dict[str, Any]]:
    """Arrives as an agent would; returns the connection and the answer."""
    connection = socket.create_connection(roster.door.address)
    proved_client(connection, key)
    about = {"name": "n", "incarnation": "1", "session": "", "received": 0, "n_gpus": 2, "software": software()}
    send_json(connection, {**about, **hello})
    found: dict[str, Any] = {}
    thread = threading.Thread(target=lambda: found.update(receive_json(connection)))
    thread.start()
    while thread.is_alive():
        roster.attend()
        thread.join(0.01)
    return connection, found


def soon(condition: Callable[[], object], roster: Roster) -> None:
    give_up_at = time.monotonic() + 10
    while not condition():
        roster.attend()
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_an_agent_joins_is_rented_and_leaves_with_its_node(roster: Roster) -> None:
    assert isinstance(roster, Provider)
    connection, answer = call(roster)
    assert (answer["resumed"], answer["refused"], answer["name"]) == (False, "", "n")
    link = Link()
    link.attach(connection, 0)
    assert not roster.is_available(KIND)
    soon(lambda: list(link.messages()) == [SETUP], roster)
    link.send(Ready())
    agent = roster.agents["n"]
    soon(lambda: list(agent.link.messages()) == [Ready()], roster)
    roster.arrived(agent)
    assert roster.is_available(KIND)
    assert roster.request(KIND, is_spot=False) == "n"
    assert [(change.rented_as, change.lost) for change in roster.poll()] == [("n", "")]
    assert not roster.is_available(KIND)
    link.detach()
    again, answer = call(roster, session=answer["session"], received=1)
    assert answer["resumed"]
    link.attach(again, answer["received"])
    agent.link.send(Goodbye())
    soon(lambda: list(link.messages()) == [Goodbye()], roster)
    assert roster.poll() == []  # the node is not lost with its connection
    roster.lose(agent, "it left")
    roster.attend()
    assert [(change.rented_as, change.lost) for change in roster.poll()] == [("n", "it left")]
    link.detach()


def test_an_agent_that_lost_its_session_is_a_new_node_and_its_old_one_is_lost(roster: Roster) -> None:
    first, answer = call(roster)
    roster.arrived(roster.agents["n"])
    roster.request(KIND, is_spot=False)
    roster.poll()
    second, answer = call(roster, session="")
    assert (answer["resumed"], answer["name"]) == (False, "n-2")
    soon(lambda: list(roster.agents) == ["n-2"], roster)
    assert [(change.rented_as, bool(change.lost)) for change in roster.poll()] == [("n", True)]
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        ({"n_gpus": 1}, "each node of the study has 2 GPUs, but the agent sees 1"),
        ({"software": {"python": "2.7"}}, "2.7"),
    ],
)
def test_an_agent_that_cannot_train_the_study_is_refused(roster: Roster, hello: dict[str, Any], why: str) -> None:
    connection, answer = call(roster, **hello)
    assert why in answer["refused"]
    assert not roster.agents
    connection.close()


def test_an_agent_with_another_secret_says_where_the_right_one_is(roster: Roster) -> None:
    tried, until = Call(roster.door.address, b"another secret of the tests", {}), time.monotonic() + 20
    while not tried.is_over and time.monotonic() < until:
        time.sleep(0.01)
    assert re.search(r"another secret.*--key-file the file agents\.key.*or set HWTUNE_AGENTS_KEY", tried.failure)


def test_without_the_secret_no_agent_comes_in_and_silent_ones_delay_no_other(roster: Roster) -> None:
    silent = [socket.create_connection(roster.door.address) for _ in range(3)]
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        call(roster, b"another secret of the tests")
    assert not roster.agents
    connection, answer = call(roster)
    assert answer["refused"] == ""
    for end in (*silent, connection):
        end.close()


def test_a_new_session_waits_for_the_agents_of_a_killed_one(tmp_path: Path) -> None:
    killed = Roster(Door(("127.0.0.1", 0), SECRET), SETUP, Pool("gpu", 2, nodes=2), tmp_path, 5.0)
    connection, _ = call(killed)
    killed.door.close()  # nothing else: it is killed
    assert noted_address(tmp_path) == killed.door.address
    roster = Roster(Door(("127.0.0.1", 0), SECRET), SETUP, Pool("gpu", 2, nodes=2), tmp_path, 60.0)
    other, _ = call(roster, name="other", incarnation="2")
    roster.arrived(roster.agents["other"])
    assert roster.ready() == []
    again, _ = call(roster)
    roster.arrived(roster.agents["n"])
    assert [agent.name for agent in roster.ready()] == ["other", "n"]
    roster.close()
    assert not (tmp_path / "agents.json").exists()
    for end in (connection, other, again):
        end.close()


def test_an_agent_that_arrives_while_a_session_closes_is_sent_away(tmp_path: Path) -> None:
    """A silent agent holds the closing up until it counts as lost; meanwhile another one arrives."""
    pool = Pool("cpu", 1, nodes=2)
    setup = RunSetup(train=print, pool=pool, n_ranks=1, payload=tmp_path / "payload-0.pkl", folder=tmp_path)
    executor = AgentsExecutor(setup, Door(("127.0.0.1", 0), SECRET), lost_after_s=3.0)
    silent, _ = call(executor.provider)
    closing = threading.Thread(target=executor.close, daemon=True)
    closing.start()
    late = socket.create_connection(executor.provider.door.address)
    proved_client(late, SECRET)
    send_json(late, {"name": "late", "incarnation": "2", "software": software()})
    assert receive_json(late)["refused"] == ""
    link, got = Link(), list[Any]()
    link.attach(late, 0)
    give_up_at = time.monotonic() + 10
    while Goodbye() not in got and time.monotonic() < give_up_at:
        got += link.messages()
        time.sleep(0.01)
    assert [type(message) for message in got] == [Setup, Goodbye]
    link.send(Left())
    closing.join(20)
    assert not closing.is_alive()
    link.detach()
    silent.close()


@pytest.mark.parametrize("devices", [1, 2])
def test_a_check_says_once_for_how_many_agents_it_waits(tmp_path: Path, devices: int) -> None:
    said, pool = list[str](), Pool("cpu", 1, nodes=2)
    setup = RunSetup(train=print, pool=pool, n_ranks=1, payload=tmp_path / "p.pkl", folder=tmp_path, say=said.append)
    executor = AgentsExecutor(setup, Door(("127.0.0.1", 0), SECRET), 3.0)
    sink: Any = None
    executor.start(Bench(tmp_path).order(0, devices))
    for _ in range(2):
        executor.wait(sink, 0.0)
    which = "the first agent" if devices == 1 else "agents: 0 of 2 are ready"
    limit = "it fails if too few are ready within 10 minutes"
    assert said == [f"the check waits for {which}; {limit}"]
    end, _ = call(executor.provider)
    executor.provider.arrived(executor.provider.agents["n"])
    executor.wait(sink, 0.0)
    assert said[1:] == ([] if devices == 1 else [f"the check waits for agents: 1 of 2 are ready; {limit}"])
    executor.provider.lose(executor.provider.agents["n"], "it left")
    executor.provider.attend()
    executor.close()
    end.close()


def test_a_study_without_agents_says_that_it_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup = RunSetup(train=print, pool=Pool("cpu", 1, nodes=2), n_ranks=1, payload=tmp_path / "p.pkl", folder=tmp_path)
    executor = AgentsExecutor(setup, Door(("127.0.0.1", 0), SECRET), 3.0, "Agents join with: hwtune agent")
    ends = [call(executor.provider, name=name, incarnation=name)[0] for name in ("a", "b")]
    sink: Any = None
    for name in ("a", "b"):
        assert "no agent is left" not in capsys.readouterr().out
        executor.provider.lose(executor.provider.agents[name], "it left")
        executor.wait(sink, 0.0)
    assert capsys.readouterr().out == (
        "no agent is left: the study waits for 10 minutes. Agents join with: hwtune agent\n"
    )
    executor.close()
    for end in ends:
        end.close()


class Named(Launcher):
    """Starts nothing, but says what has happened to the agents."""

    listen, timeout_s = "127.0.0.1:0", 7.0

    def __init__(self, failure: str = "") -> None:
        self.failure, self.news, self.calls = failure, list[NodeChange](), list[Any]()

    def start(self, invitation: Invitation) -> None:
        self.calls.append(invitation)
        if self.failure:
            raise TrialError(self.failure)

    def poll(self) -> list[NodeChange]:
        if self.failure:
            raise TrialError(self.failure)
        news, self.news = self.news, []
        return news

    def missing(self) -> str:
        return "The queue is full."

    def stop(self) -> None:
        self.calls.append("stop")


def test_a_launcher_starts_the_agents_says_which_have_ended_and_ends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (KEY, KEY_FILE, LISTEN):
        monkeypatch.delenv(name, raising=False)
    pool, launcher = Pool("cpu", 1, nodes=2), Named()

    class Launched(AgentsExecutor):
        @classmethod
        def launcher(cls, setup: RunSetup) -> Launcher:
            return launcher

    setup = RunSetup(train=print, pool=pool, n_ranks=1, payload=tmp_path / "p.pkl", folder=tmp_path)
    executor = create_executor(Launched, setup)
    assert isinstance(executor, Launched)
    assert isinstance(launcher, Launcher)
    (invitation,) = launcher.calls
    assert invitation.connect == executor.provider.door.reached_at
    assert invitation.command("--name", "n1")[1:] == [
        "-m", "lightning_hwtune", "agent", "--connect", invitation.connect, "--name", "n1"
    ]  # fmt: skip
    assert key_of(Path(invitation.environ()[KEY_FILE])) == invitation.key
    assert invitation.key.decode() not in repr(invitation)
    monkeypatch.setenv(KEY, SECRET.decode())
    assert invitation.environ() == {}
    assert executor.provider.timeout_s == 7.0

    end, _ = call(executor.provider, invitation.key, name="n1")
    sink: Any = None
    launcher.news = [NodeChange("n1", "its actor died"), NodeChange("n2", "it was never there")]
    executor.wait(sink, 0.0)
    assert not executor.provider.agents
    assert capsys.readouterr().out.startswith("no agent is left: ")
    launcher.failure = "the allocation is over"
    with pytest.raises(TrialError, match="the allocation is over"):
        executor.wait(sink, 0.0)
    executor.close()
    executor.close()
    assert launcher.calls[1:] == ["stop"]
    end.close()

    launcher = Named("there is no queue")
    with pytest.raises(TrialError, match="there is no queue"):
        create_executor(Launched, setup)
    assert launcher.calls[1:] == ["stop"]
    assert not (tmp_path / "agents.json").exists()


def test_the_secret_is_made_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (KEY, LISTEN):
        monkeypatch.delenv(name, raising=False)
    door = Door.of_environment(tmp_path)
    door.close()
    key = tmp_path / "agents.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert door.address[0] == "127.0.0.1"
    assert len(key_of(key)) > 30
    key.chmod(0o644)
    with pytest.raises(ArgumentError, match=r"`--key-file` is .*only its owner.*Run chmod 600 /"):
        Door.of_environment(tmp_path)
    with pytest.raises(ArgumentError, match="Set HWTUNE_AGENTS_KEY"):
        key_of(None)
    monkeypatch.setenv(KEY, "short")
    with pytest.raises(ArgumentError, match=r"a secret of 5 characters.*at least 16"):
        Door.of_environment(tmp_path)


@pytest.mark.parametrize("text", ["7077", ":7077", "host", "host:", "host:seven", "host:70777"])
def test_an_address_needs_host_and_port(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"127\.0\.0\.1:7077"):
        address_of("--connect", text)
    assert address_of("--connect", "[::1]:80") == ("::1", 80)


def test_agents_need_a_pool_of_nodes(tmp_path: Path) -> None:
    setup = RunSetup(train=print, pool=Pool("cpu", 1), n_ranks=1, payload=tmp_path / "payload-0.pkl", folder=tmp_path)
    with pytest.raises(ArgumentError, match=r"Pool.nodes.*at least 2, or an instance type"):
        create_executor(EXECUTOR_REGISTRY.find("agents"), setup)
    assert not os.listdir(tmp_path)
