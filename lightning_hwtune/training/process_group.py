"""Communication between the ranks of a segment; without a process group there is one rank."""

from __future__ import annotations

import io
from typing import TypeVar

__all__ = ["broadcast", "gather", "gather_state", "group_size"]

_T = TypeVar("_T")


def group_size() -> int:
    """Returns the actual size of the process group; 1 without one."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


def gather(mine: _T) -> list[_T]:
    """Returns the objects of all ranks, in the order of ranks, on every rank. All ranks must call it."""
    if group_size() == 1:
        return [mine]
    import torch.distributed

    all_of_them: list[_T] = [mine] * group_size()
    torch.distributed.all_gather_object(all_of_them, mine)
    return all_of_them


def gather_state(mine: _T) -> list[_T]:
    """Returns the states of all ranks like `gather`, for states with tensors, some types of which cannot be pickled."""
    if group_size() == 1:
        return [mine]
    import torch

    packed = io.BytesIO()
    torch.save(mine, packed)
    return [torch.load(io.BytesIO(state), weights_only=False) for state in gather(packed.getvalue())]


def broadcast(mine: _T) -> _T:
    """Returns rank 0's object on every rank. All ranks must call it."""
    if group_size() == 1:
        return mine
    import torch.distributed

    box = [mine]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]
