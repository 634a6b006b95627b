from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from lightning_hwtune.host import process_family
from lightning_hwtune.host.process_family import children_of

linux = pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs the files of Linux")


@linux
@pytest.mark.parametrize("has_lists", [True, False])
def test_children_of_every_thread_are_found_also_after_their_end(
    monkeypatch: pytest.MonkeyPatch, has_lists: bool
) -> None:
    if not has_lists:  # as in a kernel that does not list children
        monkeypatch.setattr(process_family, "_own_children", lambda: None)
    before = set(children_of(os.getpid()))
    mine = [subprocess.Popen(["sleep", "60"]), subprocess.Popen(["true"])]
    os.waitid(os.P_PID, mine[1].pid, os.WEXITED | os.WNOWAIT)  # it has ended, and still waits for its parent
    theirs, may_end, is_begun = list[subprocess.Popen[bytes]](), threading.Event(), threading.Event()

    def begin() -> None:
        theirs.append(subprocess.Popen(["sleep", "60"]))
        is_begun.set()
        may_end.wait(30.0)

    thread = threading.Thread(target=begin)
    thread.start()
    is_begun.wait(30.0)
    try:
        found = set(children_of(os.getpid())) - before
        assert found == {child.pid for child in (*mine, *theirs)}
        may_end.set()
        thread.join()
        assert set(children_of(os.getpid())) - before == found
    finally:
        may_end.set()
        for child in (*mine, *theirs):
            child.kill()
            child.wait()
    assert set(children_of(os.getpid())) == before


_ADOPTS = """
import os, subprocess, time
from lightning_hwtune.host.process_family import adopt_orphans, children_of, end_children

adopt_orphans()
shell = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE, text=True)
orphan = int(shell.stdout.readline())
shell.wait()
assert list(children_of(os.getpid())) == [orphan], (list(children_of(os.getpid())), orphan)
end_children(grace_s=0.1)
assert list(children_of(os.getpid())) == []
print("adopted")
"""


@linux
def test_an_orphan_of_a_child_is_found_as_soon_as_it_is_adopted() -> None:
    done = subprocess.run([sys.executable, "-c", _ADOPTS], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "adopted", done.stderr
