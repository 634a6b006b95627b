"""A fork waits for threads that Python did not start to be out of Python."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lightning_hwtune.host import forks

_SCRIPT = """
import ctypes, os, sys
if sys.argv[1] == "quiet":
    from lightning_hwtune.host.forks import quieten_forks
    quieten_forks()
came = bytearray(1)
enter = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: came.__setitem__(0, 1))
create = ctypes.PyDLL(None).pthread_create  # keeps the interpreter lock, so that the thread comes in only later
thread, n_out = ctypes.c_ulong(), 0
for _ in range(20):
    came[0] = 0
    create(ctypes.byref(thread), None, enter, None)
    child = os.fork()
    if not child:
        os._exit(came[0])
    ctypes.CDLL(None).pthread_join(thread, None)
    n_out += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(n_out)
"""


@pytest.mark.skipif(sys.version_info >= forks._FIXED_IN, reason="this CPython needs no wait")
def test_a_thread_that_is_about_to_enter_python_is_through_before_a_fork() -> None:
    def n_out(how: str) -> int:
        return int(subprocess.run([sys.executable, "-c", _SCRIPT, how], check=True, capture_output=True).stdout)

    assert n_out("quiet") > n_out("plain")
