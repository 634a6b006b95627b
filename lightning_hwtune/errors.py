"""Every error that this package raises on purpose, and what to do about it.

    HwTuneError
    ├── ArgumentError           (ValueError)    a value is not allowed: correct the call
    ├── UnknownArgumentError    (TypeError)     no argument has this name: see the message for the nearest one
    │   └── RenamedArgumentError                it has another name or another place here: see the message
    ├── UnknownAttributeError   (AttributeError)  the same for an attribute or method
    │   └── RenamedAttributeError
    ├── OwnedArgumentError      (TypeError)     the study sets this argument: leave it out
    ├── MetricError             (LookupError)   an objective was never logged: log it, or correct its name
    ├── StudyMismatchError      (ValueError)    a stored study was made with other settings: rename, or restore them
    ├── StudyNotFoundError      (LookupError)   the folder has no study of that name
    ├── StudyLockedError        (RuntimeError)  another process runs this study: wait, or end that process
    ├── StorageError            (OSError)       a foreign, damaged, newer or unwritable file
    ├── CheckpointError         (OSError)       a checkpoint is missing, or differs from the log's record
    ├── IllegalMoveError        (RuntimeError)  a trial cannot change to this state: a bug, here or in the caller
    ├── TrialError              (RuntimeError)  the training code failed in a way that ends the study
    │   └── StudyFailedError                    too many trials failed: see why, then continue with a higher limit
    └── MissingDependencyError  (ImportError)   an optional package is missing or broken: see the message

Each message names the argument, what was given, what is allowed, and what to do. The facts are also attributes.
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
    "UnknownArgumentError",
    "UnknownAttributeError",
    "first_line",
    "nearest",
    "shown",
]


_MAX_SHOWN = 400  # characters of a value in a message
_LEAST_LIKENESS, _LEAST_LETTERS = 0.6, 3  # share of equal letters, and letters that a beginning must have


class HwTuneError(Exception):
    """Base of all errors of this package."""


class ArgumentError(HwTuneError, ValueError):
    """A value that is not allowed. `argument` is the argument's name, `received` the value that was given."""

    def __init__(self, argument: str, received: object, allowed: str, *, hint: str = "") -> None:
        self.argument, self.received, self.allowed, self.hint = argument, received, allowed, hint
        tail = f" {hint}" if hint else ""
        super().__init__(f"`{argument}` is {shown(received)}; allowed: {_ended(allowed)}{tail}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_argument_error, (self.argument, self.received, self.allowed, self.hint)


def _rebuild_argument_error(argument: str, received: object, allowed: str, hint: str) -> ArgumentError:
    return ArgumentError(argument, received, allowed, hint=hint)


class UnknownArgumentError(HwTuneError, TypeError):
    """The name of an argument that does not exist, for example a misspelt one."""

    def __init__(self, given: str, here: str) -> None:
        self.given, self.here = given, here
        super().__init__(f"unknown argument `{given}`: {_ended(here)}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.given, self.here)


class RenamedArgumentError(UnknownArgumentError):
    """The name of an argument from another tool, or from another call or key of this package."""


class UnknownAttributeError(HwTuneError, AttributeError):
    """The name of an attribute or method that does not exist, for example a misspelt one."""

    def __init__(self, given: str, here: str) -> None:
        self.given, self.here = given, here
        super().__init__(f"unknown attribute `{given}`: {_ended(here)}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.given, self.here)


class RenamedAttributeError(UnknownAttributeError):
    """The name of an attribute or method from another tool."""


class OwnedArgumentError(HwTuneError, TypeError):
    """An argument that the study sets itself. `arguments` lists those that were passed."""

    def __init__(self, arguments: Iterable[str], owned: Iterable[str]) -> None:
        self.arguments, self.owned = tuple(arguments), tuple(owned)
        names = ", ".join(f"`{name}`" for name in self.arguments)
        them = "it" if len(self.arguments) == 1 else "them"
        super().__init__(f"{names} cannot be passed here: the study sets {', '.join(self.owned)}. Leave {them} out.")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.arguments, self.owned)


class MetricError(HwTuneError, LookupError):
    """An objective that the training code never logged."""


class StudyMismatchError(HwTuneError, ValueError):
    """The given settings differ from those of a stored study. `differences` maps a setting to (stored, given)."""

    def __init__(self, study: str, differences: dict[str, tuple[object, object]], hint: str = "") -> None:
        self.study, self.differences, self.hint = study, differences, hint
        lines = "\n".join(f"  {key}: stored {a!r}, given {b!r}" for key, (a, b) in differences.items())
        super().__init__(
            f"study {study!r} exists with other settings, and these cannot change:\n{lines}\n"
            + (hint or "Give the stored settings to continue it, or another name to start a new study.")
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.study, self.differences, self.hint)


class StudyNotFoundError(HwTuneError, LookupError):
    """No study of that name exists in the given place."""


class StudyLockedError(HwTuneError, RuntimeError):
    """Another process has locked this study."""


class StorageError(HwTuneError, OSError):
    """A foreign, damaged, newer or unwritable store. `errno` is the system's error number, or None."""

    def __init__(self, text: str, errno: int | None = None) -> None:
        super().__init__(text)
        self.errno = errno


class CheckpointError(HwTuneError, OSError):
    """A checkpoint file is missing, or its digest differs from the one in the log."""


class IllegalMoveError(HwTuneError, RuntimeError):
    """A change of a trial's state that is not in the table of allowed changes."""


class TrialError(HwTuneError, RuntimeError):
    """The training code failed in a way that ends the study; the message contains the lines of the user's code.

    `traceback` is the whole traceback of the training code, or an empty text if there is none.
    """

    def __init__(self, text: str, *, traceback: str = "") -> None:
        super().__init__(text)
        self.traceback = traceback


class StudyFailedError(TrialError):
    """`max_failures` trials of study `name` failed. All results are kept.

    `reason` says which trial to look at, and `cause` is the line that names its error.
    """

    def __init__(self, name: str, reason: str, cause: str = "") -> None:
        self.name, self.reason, self.cause = name, reason, cause
        super().__init__(f"study {name!r} failed: {reason}" + (f". The last error: {cause}" if cause else ""))

    def __reduce__(self) -> tuple[object, ...]:
        return StudyFailedError, (self.name, self.reason, self.cause)


class MissingDependencyError(HwTuneError, ImportError):
    """An optional package is missing, or two installed packages are incompatible."""


def shown(value: object) -> str:
    """Returns a printable form of a value for messages: its repr, at most 400 characters long."""
    try:
        text = repr(value)
    except Exception:  # a huge integer, a list that contains itself too deeply, a repr that fails
        text = f"a value of type {type(value).__name__} that cannot be printed"
    text = "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 20]} ... {text[-15:]}"


def _ended(text: str) -> str:
    """Returns the text with a full stop at its end, unless it ends with a question mark."""
    return text if text.endswith("?") else f"{text}."


def nearest(name: object, known: Iterable[object]) -> str:
    """Returns "; did you mean 'x'?" with the closest known name, or an empty string if none is close.

    A name is close if few letters differ, apart from capitals, or if it begins with the given letters.
    """
    if not isinstance(name, str) or len(name) > _MAX_SHOWN:
        return ""
    names = [item for item in known if isinstance(item, str)]
    close = difflib.get_close_matches(name, names, n=1, cutoff=_LEAST_LIKENESS)
    if not close:
        lowered = {item.lower(): item for item in reversed(names)}
        begun = [item for item in lowered if len(name) >= _LEAST_LETTERS and item.startswith(name.lower())]
        found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=_LEAST_LIKENESS) or begun
        close = [lowered[item] for item in found[:1]]
    return f"; did you mean {close[0]!r}?" if close else ""


def first_line(error: str) -> str:
    """Returns the line that names an error: a traceback's exception line, or the first line of any other text.

    If that line ends in a colon, the next line is added to it.
    """
    lines = [line.rstrip() for line in error.splitlines() if line.strip()]
    start = max((i for i, line in enumerate(lines) if line.startswith("Traceback (")), default=-1)
    named = next((i for i in range(start + 1, len(lines)) if start < 0 or not lines[i][0].isspace()), len(lines) - 1)
    text = lines[named].strip() if lines else ""
    while text.endswith(":") and named + 1 < len(lines):
        named += 1
        text = f"{text} {lines[named].strip()}"
    return text
