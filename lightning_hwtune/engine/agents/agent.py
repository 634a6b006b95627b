"""The agent of one node: the local executor, driven by a study on another host.

An agent connects to the study, again and again, also if nothing arrives for some seconds. Segments continue while the
connection is lost, and what their ranks say waits. After two thirds of the time after which the study counts the agent
as lost, the agent ends all ranks; if it cannot, because it is stopped, its `Watchdog` does. It also ends them before it
joins another session. So no rank of a lost agent writes while its trial continues elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import connection as mp
from pathlib import Path
from typing import Any, final

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.agents.agent_folder import AgentFolder
from lightning_hwtune.engine.agents.call import Call
from lightning_hwtune.engine.agents.exchange import Exchange, inside
from lightning_hwtune.engine.agents.link import Link
from lightning_hwtune.engine.agents.messages import (
    Answer,
    End,
    Goodbye,
    Left,
    Meeting,
    Preload,
    Ready,
    Said,
    Setup,
    Start,
    Warned,
    absolute,
    relative,
)
from lightning_hwtune.engine.agents.roster import BEAT_S, software
from lightning_hwtune.engine.agents.watchdog import Watchdog
from lightning_hwtune.engine.devices import visible_gpus
from lightning_hwtune.engine.fork_server import PRELOAD, fork_server
from lightning_hwtune.engine.local import LATER, LocalExecutor
from lightning_hwtune.errors import HwTuneError, TrialError
from lightning_hwtune.host.cpus import n_cpus
from lightning_hwtune.host.file_trees import remove
from lightning_hwtune.host.import_path import import_path
from lightning_hwtune.training.channel import Ended, Note, Report, Saved, SegmentOrder, VerdictMessage

__all__ = ["Agent"]

_AGAIN_S = 0.5  # between two tries to connect
_LOOK_S = 0.2
_QUIET_S = 3.0  # without a connection, before it says that it waits
_FAREWELL_S = 5.0
_SHARDED = "a sharded checkpoint of a trial on several nodes needs a folder that all nodes share with the study"
_SILENT, _LEAST_SILENT_S = 1 / 6, 3.0
_ENDS, _WATCHDOG = 2 / 3, 5 / 6
"""After which part of the time until it is lost an agent connects again, ends its ranks, or has them ended."""

_MAX_SPARES = 8


@final
class Agent:
    """Trains segments of studies on this host.

    Args:
        connect: returns address and port of the study, which may change; None as long as they are unknown.
        key: returns the secret of the study.
        name: of this node, as in the log.
        root: where the study's folder is on this host; None: at the same path as on the host of the study.
        address: at which ranks on other nodes reach this host; None: the one that connects to the study.
        give_up_s: it ends after this time without a connection.
        devices: how many devices this node has for the study; None: its GPUs, or what its CPUs suffice for.
        instance: the instance type of this node; empty if the pool of the study says it.
        cpus: the number of CPUs; None: those that this process may use.
        say: prints a line for the user.
    """

    def __init__(
        self,
        connect: Callable[[], tuple[str, int] | None],
        key: Callable[[], bytes],
        *,
        name: str,
        root: Path | None = None,
        address: str | None = None,
        give_up_s: float = 600.0,
        devices: int | None = None,
        instance: str = "",
        cpus: int | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._connect, self._key, self._name, self._root = connect, key, name, root
        self._address, self._give_up_s, self._say = address, give_up_s, say
        self._has = {
            "n_gpus": len(visible_gpus()),
            "n_cpus": cpus or n_cpus(),
            "devices": devices,
            "instance": instance,
        }
        self._incarnation = secrets.token_hex(8)
        self._link, self._session, self._lost_after_s, self._watchdog = Link(), "", math.inf, Watchdog()
        self._call: Call | None = None
        self._connected_at = self._called_at = self._beaten_at = time.monotonic()
        self._local: LocalExecutor | None = None
        self._folder: AgentFolder | None = None
        self._exchange = Exchange(Path(), self._link.send)
        self._orders: dict[int, SegmentOrder] = {}
        self._unbegun, self._libraries = set[int](), tuple[str, ...]()  # trials that wait for files; see `Preload`
        self._has_joined = self._is_waiting = False
        self._is_ready, self._is_over, self._meets = False, False, set[int]()
        self._is_warned = self._has_passed_on = False

    def run(self) -> None:
        """Serves until the session of the study ends.

        Raises:
            TrialError: the study cannot be reached, refuses this agent, or its files are not here.
        """
        with self._watchdog, fork_server().run((PRELOAD,)):
            try:
                while not self._is_over:
                    self._step()
            except BaseException as error:
                text = str(error) if isinstance(error, HwTuneError) else "it was ended"
                self._end_ranks()
                self._leave(text.partition("\n")[0] or "it was ended")
                raise
            self._end_ranks()
            self._leave("")

    def warn(self) -> None:
        """Passes on to the study that all agents will be ended soon; without a connection, this one ends now.

        It may be called by a handler of a signal.
        """
        self._is_warned = True

    def _step(self) -> None:
        if self._is_warned and self._link.socket is None:
            self._is_over = True
            return
        if self._is_warned and not self._has_passed_on:
            self._has_passed_on = True
            self._link.send(Warned())
        self._keep_connected()
        connections = [] if self._link.socket is None else [self._link.socket]
        patience_s = _LOOK_S if self._link.socket is None or self._link.is_writing or not self._is_ready else BEAT_S
        if self._local is None:
            mp.wait(connections, patience_s) if connections else time.sleep(patience_s)
        else:
            self._local.wake_on = connections
            self._local.wait(self, patience_s)
            self._send_meetings(self._local)
            if not self._is_ready and fork_server().is_ready:
                self._is_ready = True
                self._link.send(Ready(self._files.is_apart))
        messages = list(self._link.messages())
        now = time.monotonic()
        ends_after_s = self._lost_after_s * _ENDS
        if now - self._link.known_at > ends_after_s:
            self._say(f"no heartbeat of the study for {ends_after_s:.3g} s: all segments are ended")
            self._end_session()
            return
        for message in messages:
            self._take(message)
        if now - self._beaten_at >= BEAT_S:
            self._beaten_at = now
            for order in self._orders.values():
                self._send_output(order)
            self._link.beat()
            self._watchdog.extend(self._link.known_at + self._lost_after_s * _WATCHDOG, fork_server().pid)
        self._link.flush()
        silent_s = now - max(self._link.known_at, self._link.attached_at)
        if silent_s > max(self._lost_after_s * _SILENT, _LEAST_SILENT_S):
            self._link.detach()  # a connection that is cut without a sign may stay so, but a new one may work

    # ------------------------------------------------------------------ connection

    def _keep_connected(self) -> None:
        """Begins a call if there is no connection, and takes the result of one."""
        now = time.monotonic()
        if self._link.socket is not None:
            self._connected_at, self._is_waiting = now, False
            return
        if self._call is None:
            if not self._is_waiting and now - self._connected_at > _QUIET_S:
                self._is_waiting = True
                what = "the connection to the study is lost" if self._session else "no session of the study is open"
                self._say(f"{what}; waiting for one, for at most {self._give_up_s:g} s")
            if now - self._connected_at > self._give_up_s:
                raise TrialError(
                    f"the study could not be reached for {self._give_up_s:g} s. Start the agent again when the study "
                    "runs, or give a higher --wait"
                )
            if now - self._called_at >= _AGAIN_S and (place := self._connect()) is not None:
                self._called_at = now
                self._call = Call(place, self._key(), self._hello())
            return
        if self._call.is_over:
            call, self._call = self._call, None
            if call.failure and not self._has_joined:  # later, the port may be that of another program for a while
                raise TrialError(call.failure)
            if call.connection is not None:
                self._connected(call.connection, call.welcome, call.began_at)

    def _hello(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "incarnation": self._incarnation,
            "session": self._session,
            "received": self._link.received,
            **self._has,
            "software": software(),
        }

    def _connected(self, connection: socket.socket, welcome: Mapping[str, Any], called_at: float) -> None:
        if welcome["refused"]:
            connection.close()
            self._is_over = True
            raise TrialError(f"the study refuses this agent: {welcome['refused']}")
        if welcome["resumed"] and self._session == welcome["session"]:
            self._link.attach(connection, int(welcome["received"]))
            self._link.known_at = called_at  # the answer may have waited here for long
            self._say("connected again")
            return
        if welcome["resumed"]:  # the ranks were ended while the call was made
            connection.close()
            return
        self._end_ranks()
        self._link, self._session, self._has_joined = Link(), str(welcome["session"]), True
        self._lost_after_s = float(welcome["lost_after_s"])
        self._address = self._address or connection.getsockname()[0]
        self._link.attach(connection, 0)
        host, port = connection.getpeername()[:2]
        self._say(f"joined the study at {host}:{port} as {welcome['name']}")

    def _end_ranks(self) -> None:
        """Ends all ranks, and waits for their end."""
        local, self._local, self._is_ready = self._local, None, False
        self._orders.clear()
        self._meets.clear()
        self._unbegun.clear()
        if local is not None:
            local.close()
        self._exchange.drop()
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _end_session(self) -> None:
        """Ends all ranks of a session that counts this agent as lost, or will soon. The next call begins a new one."""
        self._end_ranks()
        self._link.detach()
        self._session, self._lost_after_s = "", math.inf

    def _leave(self, why: str) -> None:
        """Reports to the study that nothing runs here any more."""
        self._link.send(Left(why))
        give_up_at = time.monotonic() + _FAREWELL_S
        while self._link.is_writing and time.monotonic() < give_up_at:
            self._link.flush()
            time.sleep(0.01)
        self._link.detach()

    # ------------------------------------------------------------------ messages of the study

    def _take(self, message: Any) -> None:
        local = self._local
        if self._exchange.take(message):
            return
        if isinstance(message, Setup):
            self._set_up(message)
        elif isinstance(message, Goodbye):
            self._is_over = True
        elif isinstance(message, Preload):
            self._libraries = message.libraries
            if local is not None:
                local.preload(message.libraries)
        elif local is None:
            return
        elif isinstance(message, Start):
            order = absolute(message.order, self._files.path)
            self._orders[order.trial_id] = order
            if order.num_nodes > 1 and message.node_rank == 0:
                self._meets.add(order.trial_id)
            self._unbegun.add(order.trial_id)
            needed = (message.order.checkpoint, message.order.weights) if self._files.is_apart else ()
            self._begin(message, order, [path for path in needed if path is not None])
        elif isinstance(message, Answer):
            local.answer(message.trial_id, message.segment, message.verdict)
        elif isinstance(message, End):
            running = self._orders.get(message.trial_id)
            if running is None or running.segment != message.segment:
                return
            if running.trial_id in self._unbegun:
                self.ended(running.trial_id, running.segment, Ended(0, message.outcome, message.why, 0, False), 0)
            else:
                local.end(message.trial_id, message.outcome, message.why)

    def _begin(self, message: Start, order: SegmentOrder, missing: list[str], error: str = "") -> None:
        """Starts the ranks of a segment, after the files that it needs have arrived."""
        if self._local is None or self._orders.get(order.trial_id) is not order:  # it was ended meanwhile
            return
        if error:
            self.ended(order.trial_id, order.segment, Ended(0, Outcome.ERROR, error, 0, False), 0)
        elif missing:
            self._exchange.fetch(missing[0], partial(self._begin, message, order, missing[1:]))
        else:
            try:
                self._files.prepare(order)
            except OSError as failed:
                self._begin(message, order, [], f"the folder of the trial cannot be created: {failed}")
                return
            self._unbegun.discard(order.trial_id)
            self._local.start(order, message.node_rank, message.meeting)

    @property
    def _files(self) -> AgentFolder:
        assert self._folder is not None
        return self._folder

    def _set_up(self, setup: Setup) -> None:
        """Makes the executor of a session, after its training function has arrived.

        Raises:
            TrialError: the folder that the user gave cannot be used.
        """
        self._folder = AgentFolder(setup, self._session, self._root)
        self._exchange = Exchange(self._folder.path, self._link.send, self._sent)
        if not self._folder.is_apart:
            self._make_executor(setup)
            return
        self._say(
            f"this host does not share the study's folder: trials use {self._folder.path}, and their checkpoints and "
            "output are sent to the study"
        )
        self._exchange.fetch(setup.payload, partial(self._make_executor, setup))

    def _make_executor(self, setup: Setup, error: str = "") -> None:
        """Makes the executor of a session.

        Raises:
            TrialError: the training function is not there.
        """
        payload = self._files.path / setup.payload
        try:
            if error:
                raise OSError(error)
            found = hashlib.blake2b(payload.read_bytes(), digest_size=8).hexdigest()
        except OSError as failed:
            raise TrialError(f"the training function of the study cannot be read here: {failed}") from failed
        if payload.name != f"payload-{found}.pkl":
            raise TrialError(
                f"{str(payload)!r} has changed since the study began this session. Run the study again, and start the "
                "agent again"
            )
        sys.path[:] = dict.fromkeys([*setup.sys_path, *import_path()])
        sys.argv[:] = setup.argv
        if setup.cwd and Path(setup.cwd).is_dir():
            os.chdir(setup.cwd)
        self._local = LocalExecutor(
            payload,
            hang_timeout_s=setup.hang_timeout,
            preload=setup.preload,
            n_spares=min(setup.n_ranks, _MAX_SPARES),
            address=self._address or "127.0.0.1",
        )
        if self._libraries:
            self._local.preload(self._libraries)

    def _send_meetings(self, local: LocalExecutor) -> None:
        for trial_id in list(self._meets):
            if (meeting := local.meeting(trial_id)) is not None:
                self._meets.discard(trial_id)
                self._link.send(Meeting(trial_id, self._orders[trial_id].segment, *meeting))

    # ------------------------------------------------------------------ sink of the local executor

    def reported(self, trial_id: int, segment: int, report: Report) -> VerdictMessage:
        """Passes a report on; the answer follows."""
        self._link.send(Said(trial_id, segment, report))
        return LATER

    def saved(self, trial_id: int, segment: int, saved: Saved) -> None:
        """Passes a checkpoint on."""
        order = self._orders.get(trial_id)
        if self._files.is_apart and order is not None and order.num_nodes > 1 and Path(saved.path).is_dir():
            if self._local is not None:
                self._local.end(trial_id, Outcome.ERROR, _SHARDED)
            return
        self._link.send(Said(trial_id, segment, relative(saved, self._files.path)))

    def _sent(self, path: str) -> None:
        """Deletes a checkpoint that the study has got."""
        remove(inside(self._files.path, path))

    def _send_output(self, order: SegmentOrder, *, is_end: bool = False) -> None:
        with contextlib.suppress(OSError):
            for output in self._files.output(order, is_end=is_end):
                self._link.send(output)

    def noted(self, trial_id: int, segment: int, note: Note) -> None:
        """Passes a line on."""
        self._link.send(Said(trial_id, segment, note))

    def ended(self, trial_id: int, segment: int, ended: Ended, world_size: int) -> None:
        """Passes the end of the ranks on."""
        order = self._orders.pop(trial_id, None)
        self._meets.discard(trial_id)
        self._unbegun.discard(trial_id)
        if order is not None:
            self._send_output(order, is_end=True)
            self._files.tidy(order, iter(self._orders.values()))
        self._link.send(Said(trial_id, segment, ended, world_size))
