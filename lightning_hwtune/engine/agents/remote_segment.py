"""A segment that agents train, as the study sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.agents.messages import Said
from lightning_hwtune.engine.rank_group import is_echo
from lightning_hwtune.training.channel import Ended, SegmentOrder

__all__ = ["RemoteSegment"]


@final
@dataclass(slots=True)
class RemoteSegment:
    """A segment. Its nodes are numbered by their rank in the segment.

    Attributes:
        ordered_at: when it was ordered, on the monotonic clock.
        started: the nodes that have got the order. killed: those on which the study has ended it.
        ends: the last message of each node.
        held: messages of a node whose checkpoint, which comes before them, is still being sent.
        verdict: outcome and cause, set if the study itself ended it.
        deadline: when the nodes that are left must have ended.
    """

    order: SegmentOrder
    ordered_at: float
    started: set[int] = field(default_factory=set)
    ends: dict[int, Ended] = field(default_factory=dict)
    killed: set[int] = field(default_factory=set)
    held: dict[str, list[Said]] = field(default_factory=dict)
    verdict: tuple[Outcome, str] | None = None
    deadline: float | None = None
    world_size: int = 0

    @property
    def is_over(self) -> bool:
        """True if its ranks on all nodes have ended."""
        return len(self.ends) == self.order.num_nodes

    def summary(self) -> Ended:
        """Returns one last message for all nodes, with the root cause if anything went wrong."""
        if self.verdict is not None:
            return Ended(0, *self.verdict, 0, False)
        own = [ended for rank, ended in sorted(self.ends.items()) if rank not in self.killed]
        late = [ended for rank, ended in sorted(self.ends.items()) if rank in self.killed]
        bad = [ended for ended in own if ended.outcome != Outcome.DONE]
        roots = [ended for ended in bad if ended.outcome == Outcome.OUT_OF_MEMORY]
        roots += [ended for ended in bad if not is_echo(ended.error)]
        return [*roots, *bad, *late, *own][0]
