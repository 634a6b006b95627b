"""A LightningCLI script as a training function: one call is one segment of a trial, in its own process.

The script runs as its user starts it, with a configuration file for this trial. It needs no code for the study: the
callback that Lightning attaches to its Trainer reports, pauses and resumes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lightning_hwtune.apps.batch_share import batch_share
from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.apps.lightning_cli.config_values import BATCHES
from lightning_hwtune.apps.lightning_cli.fixed_arguments import fixed_arguments_refused
from lightning_hwtune.apps.script_call import (
    ended_by_exit,
    no_input,
    run_as_main,
    script_arguments,
    segment_of_app,
)
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.errors import StudyNotFoundError
from lightning_hwtune.store.files import write_whole
from lightning_hwtune.training.context import ActiveSegment, Hints
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

    base: ConfigTree
    fixed: Mapping[str, Any]
    batch_sizes: Mapping[str, int]
    has_seed: bool

    def config(
        self, config: Mapping[str, Any], num_devices: int, seed: int, *, is_replicate: bool = False
    ) -> ConfigTree:
        """Returns the complete configuration of a trial: a run with it alone trains the same as the trial.

        A replicate has its own seed even if `base` sets one.

        Raises:
            ArgumentError: a batch size, which may be part of a searched section, is not divisible by the number of
                devices.
        """
        seeds = {"seed_everything": seed} if is_replicate or not self.has_seed else {}
        whole = self.base.replaced({**seeds, **config, **self.fixed, "trainer.devices": num_devices})
        sizes = {name: size for name in self.batch_sizes if (size := whole.get(name)) is not None}
        return whole.replaced({name: batch_share(name, size, num_devices) for name, size in sizes.items()})


@final
@dataclass(frozen=True, slots=True)
class CliSegment:
    """A training function that runs the script.

    Attributes:
        script: absolute path, or the name of a module that `python -m` starts; None for Lightning's own
            `LightningCLI()`, with class paths from the configuration.
        subcommand: the words before `--config`: "fit", or none for scripts with `LightningCLI(run=False)`.
        trial: makes the trial's configuration.
    """

    script: str | None
    subcommand: tuple[str, ...]
    trial: CliTrial

    def alone(self, trial: TrialRecord, folder: Path) -> list[str]:
        """Returns the arguments of `python` that train a trial without the study, from scratch to the end.

        Args:
            folder: the folder of the study, in which the trial has written its configuration.

        Raises:
            StudyNotFoundError: the trial has not begun, or its configuration is not there any more.
        """
        path = folder / "trials" / f"{trial.trial_id:03d}" / _CONFIG
        if not path.exists():
            raise StudyNotFoundError(f"trial {trial.trial_id} has no configuration {str(path)!r}: it has not begun")
        return [*_words_alone(self.script), *self.subcommand, "--config", str(path)]

    def __call__(self, trial: Trial) -> None:
        """Runs one segment of the trial.

        Raises:
            TrialError: the script ended with an exit status other than 0.
            Exception: the script's own error.
        """
        segment = segment_of_app()
        segment.hints = _HINTS
        order = segment.order
        path = trial.dir / _CONFIG
        # every rank writes the same content
        config = self.trial.config(order.config, order.num_devices, order.seed, is_replicate=order.is_replicate)
        config = self._with_smaller_batches(config, segment)
        write_whole(path, config.text)
        owned = {"trainer.accelerator": order.accelerator, "trainer.default_root_dir": trial.dir}
        options = [f"--{name}={value}" for name, value in owned.items()]
        words = [*self.subcommand, "--config", str(path), *options]
        with fixed_arguments_refused(self.script, str(path), {name: config.get(name) for name in order.config}):
            ended_by_exit("the script", lambda: run_script(self.script, words))

    def _with_smaller_batches(self, config: ConfigTree, segment: ActiveSegment) -> ConfigTree:
        """Return the configuration with batches that are accumulated, if the trial ran out of memory before."""
        batches, order = segment.batches, segment.order
        batches.expect_app(f"the configuration has no batch size, {' or '.join(BATCHES)}")
        if order.batch != "global":
            return config
        shares = {name: config.get(name) for name in dict.fromkeys([*self.trial.batch_sizes, *BATCHES])}
        smaller = {name: batches.share(n * order.num_devices) for name, n in shares.items() if type(n) is int and n > 0}
        if batches.accumulate == 1:
            return config
        return config.replaced({**smaller, "trainer.accumulate_grad_batches": batches.accumulate})


def _words_alone(script: str | None) -> list[str]:
    """Returns the arguments of `python` that start the script."""
    if script is None:
        return ["-c", "from lightning.pytorch.cli import LightningCLI; LightningCLI()"]
    return [script] if os.path.isabs(script) else ["-m", script]


def run_script(script: str | None, words: Sequence[str]) -> None:
    """Run a script with these arguments, as its user would.

    Args:
        script: absolute path, or the name of a module; None for Lightning's own `LightningCLI()`.
    """
    if script is not None:
        run_as_main(script, words, is_module=not os.path.isabs(script))
        return
    from lightning.pytorch.cli import LightningCLI

    with script_arguments(["lightning", *words]), no_input():
        LightningCLI()
