"""How the app was started (as a script, or as a module with `-m`), so that a segment can start it again."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, final

from hydra._internal.utils import get_args_parser

from lightning_hwtune.apps.script_call import run_as_main
from lightning_hwtune.errors import ArgumentError

__all__ = ["Command"]


@final
@dataclass(frozen=True, slots=True)
class Command:
    """The arguments of `python`.

    Attributes:
        target: path of the script, or name of the module.
        is_module: whether `target` is a module.
        flags: Hydra's flags for the location of the configuration.
    """

    target: str
    is_module: bool
    flags: tuple[str, ...] = ()

    @classmethod
    def of_this_process(cls) -> Self:
        """Returns the command of this process.

        Raises:
            ArgumentError: there is no script, for example in a notebook.
        """
        main = sys.modules["__main__"]
        spec, path = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        if spec is not None:
            return cls(spec.name, True, _flags())
        if path is None:
            raise ArgumentError("hydra/sweeper", "hwtune", "an app that is a script or a module, not a notebook")
        return cls(os.path.abspath(path), False, _flags())

    def __call__(self, overrides: Sequence[str]) -> None:
        """Runs the app with these overrides, as `python` would."""
        with _full_errors():
            run_as_main(self.target, [*self.flags, *overrides], is_module=self.is_module)


def _flags() -> tuple[str, ...]:
    given, _ = get_args_parser().parse_known_args(sys.argv[1:])
    pairs = (
        ("--config-path", given.config_path),
        ("--config-name", given.config_name),
        ("--config-dir", given.config_dir),
    )
    return tuple(part for flag, value in pairs if value is not None for part in (flag, value))


@contextlib.contextmanager
def _full_errors() -> Iterator[None]:
    """Makes Hydra print full tracebacks, because its output goes to a log."""
    full = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
