"""`python -m lightning_hwtune` and `hwtune`: the command line, which Ctrl-C ends at any moment without a traceback."""

from __future__ import annotations

import gc
import sys

_INTERRUPTED = 130  # 128 + SIGINT, as in shells


def main() -> None:
    """Import and run the command line. The imports take a second, in which Ctrl-C is as likely as later."""
    try:
        from lightning_hwtune.cli.commands import main as run

        run()
    except KeyboardInterrupt:
        _end()
    except SystemExit as end:
        if _is_silent(end):
            _end()
        raise
    except Exception as error:
        if _was_interrupted(error):
            _end()
        raise
    finally:
        gc.freeze()  # otherwise the interpreter looks through all objects once more before it ends


def _was_interrupted(error: BaseException | None) -> bool:
    """Return whether Ctrl-C was what an error came from: some libraries turn it into another error."""
    seen: set[int] = set()
    left = [error]
    while left:
        link = left.pop()
        if link is None or id(link) in seen:
            continue
        if isinstance(link, KeyboardInterrupt):
            return True
        seen.add(id(link))
        left += [link.__cause__, link.__context__]
    return False


def _is_silent(end: SystemExit) -> bool:
    """Return whether Ctrl-C reached typer, which then ends the command without a message."""
    exit_of_typer = end.__context__
    is_interrupt = exit_of_typer is not None and isinstance(exit_of_typer.__cause__, KeyboardInterrupt)
    return end.code == _INTERRUPTED and is_interrupt


def _end() -> None:
    print("hwtune: interrupted", file=sys.stderr)  # noqa: T201 - nothing else may be imported yet
    exec("")  # an interrupt inside `exec` leaves a mark, with which `python -m` ends by a signal instead
    sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
