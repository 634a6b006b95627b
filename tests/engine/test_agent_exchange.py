"""Files between a study and an agent that share no folder: whole, in pieces, or not at all."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from lightning_hwtune.engine.agents.exchange import Exchange
from lightning_hwtune.engine.agents.messages import Piece
from lightning_hwtune.host.file_trees import digest_of

PIECE = 1 << 20


class Pair:
    """Two ends; what they send is delivered by `run`, and the most pieces on their way at any time are counted."""

    def __init__(self, folder: Path) -> None:
        self.roots = folder / "one", folder / "other"
        self.queues = deque[object](), deque[object]()
        self.sent, self.done, self.most = list[str](), list[str](), 0
        for root in self.roots:
            root.mkdir()
        self.one = Exchange(self.roots[0], self.queues[1].append, self.sent.append)
        self.other = Exchange(self.roots[1], self.queues[0].append)

    def run(self, steps: int = 1000) -> None:
        for _ in range(steps):
            for end, queue in ((self.one, self.queues[0]), (self.other, self.queues[1])):
                if queue:
                    assert end.take(queue.popleft())
                self.most = max(self.most, sum(isinstance(message, Piece) for message in self.queues[1]))

    def fetch(self, path: str) -> None:
        self.other.fetch(path, self.done.append)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 9 * PIECE])
def test_a_file_arrives_as_it_is_and_never_more_than_four_pieces_are_on_their_way(pair: Pair, size: int) -> None:
    source, target = (root / "trials" / "a.ckpt" for root in pair.roots)
    source.parent.mkdir()
    source.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    for _ in range(2):  # two segments need it
        pair.fetch("trials/a.ckpt")
    pair.run()
    assert (pair.done, pair.sent) == (["", ""], ["trials/a.ckpt"])
    assert digest_of(target) == digest_of(source)
    assert [file.name for file in target.parent.iterdir()] == ["a.ckpt"]
    assert pair.most == min(max(-(-size // PIECE), 1), 4)


def test_a_folder_arrives_with_all_its_files(pair: Pair) -> None:
    source, target = (root / "a.ckpt" for root in pair.roots)
    for name, n_bytes in (("0/shard", 3 * PIECE), ("1/shard", 7), ("empty", 0)):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"y" * n_bytes)
    target.mkdir()
    (target / "old").touch()  # is replaced as a whole
    pair.fetch("a.ckpt")
    pair.run()
    assert pair.done == [""]
    assert digest_of(target) == digest_of(source)


@pytest.mark.parametrize("path", ["gone.ckpt", "../secret", "/etc/passwd", "//etc/passwd", "empty", "a\0b"])
def test_what_cannot_be_read_is_said_and_nothing_is_written(pair: Pair, path: str) -> None:
    (pair.roots[0].parent / "secret").touch()
    (pair.roots[0] / "empty").mkdir()
    pair.fetch(path)
    pair.run()
    assert len(pair.done) == 1
    assert path in pair.done[0] or repr(path) in pair.done[0]
    assert not list(pair.roots[1].iterdir())


def test_a_file_that_does_not_fit_is_said_and_leaves_no_part(pair: Pair, small_disk: Path) -> None:
    (pair.roots[0] / "a.ckpt").write_bytes(bytes(20 * PIECE))
    other = Exchange(small_disk, pair.queues[0].append)
    pair.other = other
    pair.fetch("a.ckpt")
    pair.run()
    assert "a.ckpt could not be written: [Errno 28] No space left on device" in pair.done[0]
    assert not list(small_disk.iterdir())


def test_what_is_dropped_leaves_no_part(pair: Pair) -> None:
    (pair.roots[0] / "a.ckpt").write_bytes(bytes(9 * PIECE))
    pair.fetch("a.ckpt")
    pair.run(3)
    assert [file.name for file in pair.roots[1].iterdir()] == ["a.ckpt.part"]
    pair.other.drop()
    pair.run()
    assert not list(pair.roots[1].iterdir())
    assert not pair.done


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_a_killed_process_has_left_of_a_transfer_is_not_part_of_the_next(pair: Pair, is_folder: bool) -> None:
    (pair.roots[0] / "a.ckpt").mkdir()
    (pair.roots[0] / "a.ckpt" / "0").write_bytes(b"y")
    part = pair.roots[1] / "a.ckpt.part"
    if is_folder:
        part.mkdir()
        (part / "1").write_bytes(b"old")
    else:
        part.write_bytes(b"old")
    pair.fetch("a.ckpt")
    pair.run()
    assert pair.done == [""]
    assert digest_of(pair.roots[1] / "a.ckpt") == digest_of(pair.roots[0] / "a.ckpt")
