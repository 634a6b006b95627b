"""A LightningCLI script as a training function: one call is one segment of a trial, in its own process.

The script runs as its user starts it, with a configuration file for this trial. It needs no code for the study: the
callback that Lightning attaches to its Trainer reports, pauses and resumes.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO, final

from lightning_hwtune.apps.lightning_cli.config import CliConfig
from lightning_hwtune.errors import ArgumentError, TrialError
from lightning_hwtune.store.files import write_whole
from lightning_hwtune.training.context import Hints, current_segment
from lightning_hwtune.training.segment_end import interrupt_in
from lightning_hwtune.training.trial import Trial

__all__ = ["CliSegment", "CliTrial", "run_script"]

_HINTS = Hints(  # a script has no `Trial` object
    horizon="Let the script's Trainer use `trainer.max_epochs` of the configuration.",
    devices="Let the script's Trainer use `trainer.devices` of the configuration.",
    checkpoint="Do not pass `ckpt_path` to fit in the script: the trial resumes from its own checkpoint.",
    folder="Leave out `dirpath` of ModelCheckpoint: each trial then has its own folder.",
    after_a_pause="",
)
_CONFIG = "lightning_cli.yaml"  # differs from the file that LightningCLI itself saves
_N_KEPT = 4000  # characters kept of the last output on standard error


@final
@dataclass(frozen=True, slots=True)
class CliTrial:
    """The changes that a trial makes to the configuration that all trials share.

    Attributes:
        base: the shared configuration.
        fixed: further values that all trials share, such as the horizon.
        batch_sizes: names of global batch sizes -> their value in `base`; each device gets its share.
        has_seed: whether `base` sets its own seed.
    """

    base: CliConfig
    fixed: Mapping[str, Any]
    batch_sizes: Mapping[str, int]
    has_seed: bool

    def config(self, config: Mapping[str, Any], num_devices: int, seed: int) -> CliConfig:
        """Returns the complete configuration of a trial: a run with it alone trains the same as the trial.

        Raises:
            ArgumentError: a batch size, which may be part of a searched section, is not divisible by the number of
                devices.
        """
        seeds = {} if self.has_seed else {"seed_everything": seed}
        whole = self.base.replaced({**seeds, **self.fixed, **config, "trainer.devices": num_devices})
        sizes = {name: whole.get(name) for name in self.batch_sizes}
        for name, size in sizes.items():
            if size is not None and (not isinstance(size, int) or size < 1 or size % num_devices):
                raise ArgumentError(name, size, f"a positive multiple of {num_devices}, the number of devices")
        shares = {name: size // num_devices for name, size in sizes.items() if size is not None}
        return whole.replaced(shares)


@final
@dataclass(frozen=True, slots=True)
class CliSegment:
    """A training function that runs the script.

    Attributes:
        script: absolute path; None for Lightning's own `LightningCLI()`, with class paths from the configuration.
        subcommand: the words before `--config`: "fit", or none for scripts with `LightningCLI(run=False)`.
        trial: makes the trial's configuration.
    """

    script: str | None
    subcommand: tuple[str, ...]
    trial: CliTrial

    def __call__(self, trial: Trial) -> None:
        """Runs one segment of the trial.

        Raises:
            TrialError: the script ended with an exit status other than 0.
            Exception: the script's own error.
        """
        segment = current_segment()
        if segment is None:
            raise RuntimeError("only a study can run a segment")
        segment.hints = _HINTS
        order = segment.order
        path = trial.dir / _CONFIG
        # every rank writes the same content
        write_whole(path, self.trial.config(order.config, order.num_devices, order.seed).text)
        owned = {"trainer.accelerator": order.accelerator, "trainer.default_root_dir": trial.dir}
        options = [f"--{name}={value}" for name, value in owned.items()]
        with _arguments([self.script or "lightning", *self.subcommand, "--config", str(path), *options]):
            _call(self.script)


def _call(script: str | None) -> None:
    """Runs the script; turns a parser's exit into an error with the text that the parser printed."""
    output = _Remembering(sys.stderr)
    try:
        with contextlib.redirect_stderr(output):
            _run(script)
    except SystemExit as stop:
        if stop.code in (0, None) or interrupt_in(stop) is not None:
            raise
        why = output.last.rpartition("\nerror: ")[2]
        raise TrialError(f"the script called sys.exit({stop.code!r}): {why}") from None


@final
class _Remembering:
    """A text stream that also keeps the text written last, in which a parser writes why it exits."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.last = stream, ""

    def write(self, text: str) -> int:
        """Writes a text and keeps its end."""
        self.last = (self.last + text)[-_N_KEPT:]
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def run_script(script: str | None, words: Sequence[str]) -> None:
    """Run a script with these arguments, as its user would; None for Lightning's own `LightningCLI()`."""
    with _arguments([script or "lightning", *words]):
        _run(script)


def _run(script: str | None) -> None:
    if script is not None:
        runpy.run_path(script, run_name="__main__")
        return
    from lightning.pytorch.cli import LightningCLI

    LightningCLI()


@contextlib.contextmanager
def _arguments(argv: list[str]) -> Iterator[None]:
    """Sets `sys.argv`, and makes the modules next to the script importable."""
    before = sys.argv, list(sys.path)
    sys.argv = argv
    folder = os.path.dirname(argv[0])
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.argv, sys.path[:] = before
