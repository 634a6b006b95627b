"""Does every interface answer every input? Thousands of unusual values, names, files, commands and tables.

    python benchmarks/fuzz.py --seed 0

The inputs come from grammars with hostile values in every place: other types, huge and negative numbers, NaN and
infinity, True for 1, text and bytes, numpy scalars and arrays, Decimal, endless iterators, values that contain
themselves, characters that no file can store, names of other tools. Each input depends only on the seed and its number.

Prints one JSON object and exits with 1 if a promise was broken. `figures`:

- inputs: how many were tried. refused: by an error of this package (or a message and exit status of a command).
- bare_errors: any other error.
- hangs: inputs without an answer after 5 seconds.
- nonsense_accepted: inputs that were accepted although they are nonsense. An input is sensible if each value has the
  documented meaning of its argument (independent predicates in `benchmarks/fuzzing`): numbers are finite, in their
  range, at most 2**53 if they are integers, and never True or text; names are printable lines; options are values that
  JSON can store, no two the same; durations and sizes are positive; keywords, keys and attributes are known; ranges
  ascend; tables have each curve once, for configurations that they contain, in columns of numbers. Everything else is
  nonsense.
- sense_refused: sensible inputs that were refused.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import platform
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.fuzzing import commands, constructors, documents, study_calls  # noqa: E402 - found from the repository's root
from lightning_hwtune.errors import HwTuneError  # noqa: E402

__all__ = ["judged", "main"]

HANG_S = 5.0
IMPORTS_S = 300.0  # until a process has imported what an interface needs
GRACE_S = 20.0  # until a process that does not react to its own alarm is killed

SURFACES: Mapping[str, tuple[int, Callable[[random.Random, Path], constructors.Input]]] = {
    "constructors": (1500, constructors.constructor),
    "study": (600, study_calls.study_call),
    "files": (600, documents.study_file),
    "hydra": (350, documents.hydra_node),
    "commands": (120, commands.command_line),
    "tables": (80, commands.table),
}
"""Name -> how many inputs, and what draws one."""


class _Hang(BaseException):
    """No answer in time; not an `Exception`, so that no handler of the package catches it."""


def judged(call: Callable[[], Any], sensible: bool | None, seconds: float = HANG_S) -> tuple[str, str]:
    """Returns the outcome of an input ("accepted", "refused", ...) and details."""

    def ring(*_: object) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        call()
    except _Hang as hang:
        return "hang", _place(hang)
    except (HwTuneError, constructors.Refused) as error:
        return ("sense_refused" if sensible else "refused"), str(error)[:300]
    except BaseException as error:
        return "bare", "".join(traceback.format_exception_only(error))[-300:] + _place(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return ("nonsense_accepted" if sensible is False else "accepted"), ""


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "lightning_hwtune" in frame.filename]
    return f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""


def _work(surface: str, seed: int, first: int, n: int, hang_s: float, pipe: Connection) -> None:
    """Tries inputs number `first` to `n` and sends the outcome of each."""
    warnings.simplefilter("ignore")
    sink = io.StringIO()
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        os.chdir(name)
        with contextlib.suppress(Exception):  # imports at first use, from a disk that may be slow
            SURFACES[surface][1](random.Random(0), Path(name))[1]()
        for number in range(first, n):
            rng = random.Random(f"{seed}/{surface}/{number}")
            pipe.send((number, "begins", ""))
            what, call, sensible = SURFACES[surface][1](rng, Path(name))
            outcome, details = judged(call, sensible, hang_s)
            pipe.send((number, outcome, f"{what} -> {details}"))
    pipe.close()


def _tried(surface: str, seed: int, n: int, hang_s: float = HANG_S) -> Iterator[tuple[str, str]]:
    """Yields outcome and details of every input; if a process hangs it is killed, and a new one continues.

    Args:
        surface: the interface that is tried.
        seed: decides the inputs.
        n: how many.
        hang_s: how long an input may take, in seconds. On a machine that others use, a few seconds may pass before
            the process gets a processor at all.
    """
    first = 0
    while first < n:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        arguments = (surface, seed, first, n, hang_s, theirs)
        worker = multiprocessing.get_context("fork").Process(target=_work, args=arguments)
        worker.start()
        theirs.close()
        number, details, patience = first, "", IMPORTS_S
        try:
            while ours.poll(patience):
                patience = hang_s + GRACE_S
                number, outcome, details = ours.recv()
                if outcome != "begins":
                    first = number + 1
                    yield outcome, details
            worker.kill()
            yield "hang", f"{surface} {number}: the process is stuck"
        except EOFError:
            worker.join()
            if first < n:
                yield "bare", f"{surface} {number}: the process ended with {worker.exitcode}"
        first = max(first, number + 1)
        worker.join()


def main(arguments: list[str] | None = None) -> None:
    """Tries all inputs, and prints the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the inputs of each surface")
    parser.add_argument("--only", choices=list(SURFACES))
    parser.add_argument("--show", type=int, default=0, help="how many of each kind of failure go to standard error")
    given = parser.parse_args(arguments)
    began, counts, by_surface = time.monotonic(), Counter[str](), {}
    failures: list[dict[str, str]] = []
    for surface, (n, _) in SURFACES.items():
        if given.only not in (None, surface):
            continue
        found: Counter[str] = Counter()
        for outcome, details in _tried(surface, given.seed, max(int(n * given.share), 1)):
            found[outcome] += 1
            if outcome not in ("accepted", "refused"):
                failures.append({"surface": surface, "outcome": outcome, "input": details})
                if found[outcome] <= given.show:
                    print(f"{surface}: {outcome}: {details}", file=sys.stderr)
        by_surface[surface] = dict(found)
        counts += found
    figures = {
        "inputs": counts.total(),
        "refused": counts["refused"],
        "bare_errors": counts["bare"],
        "hangs": counts["hang"],
        "nonsense_accepted": counts["nonsense_accepted"],
        "sense_refused": counts["sense_refused"],
    }
    print(
        json.dumps(
            {
                "figures": figures,
                "surfaces": by_surface,
                "failures": failures[:50],
                "seeds": [given.seed],
                "settings": {"hang_s": HANG_S},
                "machine": f"{platform.machine()}, Python {platform.python_version()}",
                "took_s": round(time.monotonic() - began, 1),
            },
            indent=2,
        )
    )
    broken = sum(figures[name] for name in ("bare_errors", "hangs", "nonsense_accepted"))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
