"""A process that the system does not start: the error names the limit that is reached, and what to do."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
from typing import Any

import pytest

from lightning_hwtune.engine.fork_server import ForkServer
from lightning_hwtune.engine.rank_process import Rank
from lightning_hwtune.errors import TrialError
from lightning_hwtune.host.process_limit import why_no_process
from lightning_hwtune.training.process.fork_server import STATUS


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EAGAIN, ["Resource temporarily unavailable", "`ulimit -u`", "raise the limit", "`max_parallel`"]),
        (errno.ENOMEM, ["Cannot allocate memory", "End other programs", "`max_parallel`"]),
        (errno.EPERM, ["Operation not permitted"]),
    ],
)
def test_a_rank_without_a_process_says_what_to_do(number: int, words: list[str]) -> None:
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    os.write(writing, STATUS.pack(-number))
    with ours, theirs:
        rank = Rank(ours, reading, None)  # type: ignore[arg-type]
        rank.look()
        assert rank.is_gone
        assert rank.fault.startswith("could not be started: ")
        assert [word for word in words if word not in rank.fault] == []
    os.close(reading)
    os.close(writing)


def test_the_limit_of_this_user_is_named() -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    assert f"({'no limit' if limit == resource.RLIM_INFINITY else limit})" in why_no_process(errno.EAGAIN)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_a_fork_server_without_a_process_says_what_to_do(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refuse)  # root has no limit of processes
    with pytest.raises(TrialError, match=r"cannot be started: .*`max_parallel`"):
        ForkServer().require(())
