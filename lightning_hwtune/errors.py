"""Every error this package raises on purpose, and what its reader does next.

    HwTuneError
    ├── ArgumentError           (ValueError)    a value is not allowed: correct the call
    ├── RenamedArgumentError    (TypeError)     another tool's name, or a misspelt one: use ours
    ├── RenamedAttributeError   (AttributeError)  the same for an attribute or method
    ├── OwnedArgumentError      (TypeError)     the study decides this itself: leave the argument out
    ├── MetricError             (LookupError)   an objective never arrived: log it, or correct its name
    ├── StudyMismatchError      (ValueError)    a stored study was made with other settings: rename, or restore them
    ├── StudyNotFoundError      (LookupError)   no such study in that folder
    ├── StudyLockedError        (RuntimeError)  another process drives this study: wait, or end it
    ├── StorageError            (OSError)       the file is not ours, is damaged or newer, or cannot be written
    ├── CheckpointError         (OSError)       a checkpoint is missing or is not what the log vouches for
    ├── IllegalMoveError        (RuntimeError)  a trial cannot make this move: a bug, here or in the caller
    ├── TrialError              (RuntimeError)  the training code failed in a way that ends the study
    │   └── StudyFailedError                    too many trials failed: see why, then go on with a higher limit
    └── MissingDependencyError  (ImportError)   an optional package is absent or broken: the message says the remedy

Messages name the argument, what was received, what is allowed, and what to do. Facts are attributes too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "HwTuneError",
    "IllegalMoveError",
    "MetricError",
    "MissingDependencyError",
    "OwnedArgumentError",
    "RenamedArgumentError",
    "RenamedAttributeError",
    "StorageError",
    "StudyFailedError",
    "StudyLockedError",
    "StudyMismatchError",
    "StudyNotFoundError",
    "TrialError",
    "first_line",
    "nearest",
    "shown",
]


_MAX_SHOWN = 400  # characters of a value in a message


class HwTuneError(Exception):
    """Base of all errors of this package."""


class ArgumentError(HwTuneError, ValueError):
    """A value that is not allowed. `argument` is its name, `received` what was given."""

    def __init__(self, argument: str, received: object, allowed: str, *, hint: str = "") -> None:
        self.argument, self.received, self.allowed, self.hint = argument, received, allowed, hint
        tail = f" {hint}" if hint else ""
        super().__init__(f"`{argument}` is {shown(received)}; allowed: {_ended(allowed)}{tail}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_argument_error, (self.argument, self.received, self.allowed, self.hint)


def _rebuild_argument_error(argument: str, received: object, allowed: str, hint: str) -> ArgumentError:
    return ArgumentError(argument, received, allowed, hint=hint)


class RenamedArgumentError(HwTuneError, TypeError):
    """An argument's name that is none here: another tool calls something so, or it is misspelt."""

    def __init__(self, given: str, here: str) -> None:
        self.given, self.here = given, here
        super().__init__(f"`{given}` is not a name here: {_ended(here)}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.given, self.here)


class RenamedAttributeError(HwTuneError, AttributeError):
    """An attribute or method that does not exist here: another tool calls something so, or it is misspelt."""

    def __init__(self, given: str, here: str) -> None:
        self.given, self.here = given, here
        super().__init__(f"`{given}` is not a name here: {_ended(here)}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.given, self.here)


class OwnedArgumentError(HwTuneError, TypeError):
    """An argument that the study decides itself. `arguments` names those that were passed."""

    def __init__(self, arguments: Iterable[str], owned: Iterable[str]) -> None:
        self.arguments, self.owned = tuple(arguments), tuple(owned)
        names = ", ".join(f"`{name}`" for name in self.arguments)
        super().__init__(f"{names} cannot be passed here: the study decides {', '.join(self.owned)}. Leave it out.")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.arguments, self.owned)


class MetricError(HwTuneError, LookupError):
    """An objective that the training never logged."""


class StudyMismatchError(HwTuneError, ValueError):
    """A stored study was made with other settings. `differences` maps a setting to (stored, given)."""

    def __init__(self, study: str, differences: dict[str, tuple[object, object]]) -> None:
        self.study, self.differences = study, differences
        lines = "\n".join(f"  {key}: stored {a!r}, given {b!r}" for key, (a, b) in differences.items())
        super().__init__(
            f"study {study!r} exists with other settings, and these cannot change:\n{lines}\n"
            "Give the stored settings to continue it, or another name to begin a new study."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.study, self.differences)


class StudyNotFoundError(HwTuneError, LookupError):
    """No study of that name where it was looked for."""


class StudyLockedError(HwTuneError, RuntimeError):
    """Another process holds the lease on this study."""


class StorageError(HwTuneError, OSError):
    """A store that is not ours, is damaged or newer, or cannot be written. `errno`: the system's, if it gave one."""

    def __init__(self, text: str, errno: int | None = None) -> None:
        super().__init__(text)
        self.errno = errno


class CheckpointError(HwTuneError, OSError):
    """A checkpoint file that is missing, or whose digest is not the one in the log."""


class IllegalMoveError(HwTuneError, RuntimeError):
    """A change of a trial's state that the table of moves does not hold."""


class TrialError(HwTuneError, RuntimeError):
    """The training code failed in a way that ends the study; the message carries its traceback."""


class StudyFailedError(TrialError):
    """`max_failures` trials of the study `name` failed; `reason` says which to look at. What others showed stands."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"study {name!r} failed: {reason}")

    def __reduce__(self) -> tuple[object, ...]:
        return StudyFailedError, (self.name, self.reason)


class MissingDependencyError(HwTuneError, ImportError):
    """An optional package is absent, or two installed packages do not fit each other."""


def shown(value: object) -> str:
    """Returns what a message prints of a value: its repr, at most 400 characters, as text that can be printed."""
    try:
        text = repr(value)
    except Exception:  # a huge integer, a list that holds itself too deep, a repr that fails
        text = f"a value of type {type(value).__name__} that cannot be printed"
    text = "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 20]} ... {text[-15:]}"


def _ended(text: str) -> str:
    """Returns a text with a full stop, unless it ends in a question."""
    return text if text.endswith("?") else f"{text}."


def nearest(name: object, known: Iterable[object]) -> str:
    """Returns "; did you mean 'x'?" for the closest known name, or an empty string."""
    if not isinstance(name, str) or len(name) > _MAX_SHOWN:
        return ""
    close = difflib.get_close_matches(name, [item for item in known if isinstance(item, str)], n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def first_line(error: str) -> str:
    """Returns the line that names an error: of a traceback the one with the exception, of any other text the first.

    A line that ends in a colon only introduces the next one, so that is part of it.
    """
    lines = [line.rstrip() for line in error.splitlines() if line.strip()]
    start = max((i for i, line in enumerate(lines) if line.startswith("Traceback (")), default=-1)
    named = next((i for i in range(start + 1, len(lines)) if start < 0 or not lines[i][0].isspace()), len(lines) - 1)
    text = lines[named].strip() if lines else ""
    while text.endswith(":") and named + 1 < len(lines):
        named += 1
        text = f"{text} {lines[named].strip()}"
    return text
