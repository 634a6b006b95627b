"""How a segment on several nodes ends, as the study sees it."""

from __future__ import annotations

import pytest
from local_bench import Bench

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.agents.remote_segment import RemoteSegment
from lightning_hwtune.training.channel import Ended, NodePart

DONE = Ended(0, Outcome.DONE, "", 3, True)
ECHO = Ended(0, Outcome.ERROR, "RuntimeError: [gloo/tcp.cc] Connection closed by peer", 1, False)
ERROR = Ended(1, Outcome.ERROR, "ValueError: boom", 1, False)
MEMORY = Ended(1, Outcome.OUT_OF_MEMORY, "CUDA out of memory", 1, False)
KILLED = Ended(1, Outcome.LOST, "rank 1 was killed by SIGKILL", 0, False)
ENDED = Ended(0, Outcome.LOST, "the ranks of the segment on another node have ended", 0, False)


@pytest.mark.parametrize(
    ("ends", "killed", "expected"),
    [
        ((DONE, DONE), set(), DONE),
        ((ECHO, ERROR), set(), ERROR),
        ((ECHO, KILLED), set(), KILLED),
        ((KILLED, MEMORY), set(), MEMORY),
        ((ENDED, KILLED), {0}, KILLED),
        ((ENDED, DONE), {0}, ENDED),
        ((ECHO, ECHO), set(), ECHO),
    ],
)
def test_the_cause_is_the_first_error_that_does_not_follow_from_another(
    bench: Bench, ends: tuple[Ended, Ended], killed: set[int], expected: Ended
) -> None:
    segment = RemoteSegment(bench.order(0, devices=2, nodes=(NodePart("a", (0,)), NodePart("b", (0,)))), 0.0)
    segment.ends, segment.killed = {0: ends[0]}, killed
    assert not segment.is_over
    segment.ends[1] = ends[1]
    assert segment.is_over
    assert segment.summary() is expected
    segment.verdict = (Outcome.NODE_LOST, "its node a was lost")
    assert (segment.summary().outcome, segment.summary().error) == segment.verdict
