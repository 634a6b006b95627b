"""Changes to classes of Lightning during a segment; outside a segment they behave as usual.

These behaviours take effect before any callback is called, so a callback could not change them:

- `TensorBoardLogger` and `CSVLogger` without a version count the existing folders. In a segment the version is the
  trial's, so that the run of trial 9 is always in `trial_009`.
- After Ctrl-C, a Trainer ends the process with status 1, and after SIGTERM with status 0. In a segment the status is
  the one that shells use, 130 or 143. Only a loop with `study.ask` ends with it; other segments report the signal.
- LightningCLI's `SaveConfigCallback` refuses to train if its file already exists. In a segment the existing file is
  kept: it comes from the trial's first segment or from another run. A check saves no such file. A subclass with its own
  `setup` usually repeats the refusal, so after the first segment `already_saved` is set for it.
- A loader of Fabric counts its passes from 0, and shuffles by that number. In a segment it is known, so that
  `trial.load` can set the number, also of loaders that are set up later.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

from lightning_hwtune.training.context import ActiveSegment, current_segment
from lightning_hwtune.training.loggers.folders import trial_version
from lightning_hwtune.training.segment_end import is_sigterm

__all__ = ["adapt_classes"]

_MARK = "_adapted_by_hwtune"


def adapt_classes(package: str) -> None:
    """Adapt those classes of "lightning.pytorch" or "pytorch_lightning" that are imported, each only once."""
    # the folder contains the files of the trial's earlier segments, which are kept
    warnings.filterwarnings("ignore", "Experiment logs directory .* exists and is not empty")
    loggers = sys.modules.get(f"{package}.loggers")
    for name in ("TensorBoardLogger", "CSVLogger"):
        if (cls := getattr(loggers, name, None)) is not None:
            _replace(cls, "_get_next_version", _next_version)
    if (cls := getattr(sys.modules.get(f"{package}.cli"), "SaveConfigCallback", None)) is not None:
        _replace(cls, "setup", _save_config)
        _replace(cls, "__init__", _skip_saved)
    if (cls := getattr(sys.modules.get("lightning.fabric.wrappers"), "_FabricDataLoader", None)) is not None:
        _replace(cls, "__init__", _keep_loader)
    calls = sys.modules.get(f"{package}.trainer.call")
    if calls is not None:
        _replace(calls, "_call_and_handle_interrupt", _with_status)


def _replace(cls: type | ModuleType, name: str, method: Callable[..., Any]) -> None:
    original = getattr(cls, name, None)
    if original is None or hasattr(original, _MARK):
        return

    @functools.wraps(original)
    def adapted(*args: Any, **kwargs: Any) -> Any:
        segment = current_segment()
        if segment is None:
            return original(*args, **kwargs)
        return method(segment, original, *args, **kwargs)

    setattr(adapted, _MARK, True)
    setattr(cls, name, adapted)


def _next_version(segment: ActiveSegment, original: Callable[..., Any], logger: Any) -> int | str:
    if segment.order.probe_batches is not None:  # a check is not a trial
        return int(original(logger))
    return trial_version(logger, segment)


def _with_status(_: ActiveSegment, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return original(*args, **kwargs)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            stop.code = 128 + signal.SIGINT
        elif is_sigterm(stop):
            stop.code = 128 + signal.SIGTERM
        raise


def _keep_loader(segment: ActiveSegment, original: Callable[..., Any], loader: Any, *args: Any, **kwargs: Any) -> None:
    original(loader, *args, **kwargs)
    segment.fabric_loaders.add(loader)


def _skip_saved(segment: ActiveSegment, original: Callable[..., Any], callback: Any, *args: Any, **kwargs: Any) -> None:
    original(callback, *args, **kwargs)
    has_own_setup = not hasattr(type(callback).setup, _MARK)
    if has_own_setup and (segment.order.segment > 1 or segment.order.probe_batches is not None):
        callback.already_saved = True


def _save_config(
    segment: ActiveSegment, original: Callable[..., Any], callback: Any, trainer: Any, pl_module: Any, stage: str
) -> None:
    if segment.order.probe_batches is not None:
        return
    if callback.save_to_log_dir and not callback.already_saved and not callback.overwrite:
        path = os.path.join(trainer.log_dir, callback.config_filename)  # on every rank: `log_dir` broadcasts
        if trainer.strategy.broadcast(os.path.isfile(path)):
            callback.save_to_log_dir = False
            if segment.order.segment == 1:
                text = (
                    f"{path} belongs to another run and was not changed; each trial has its configuration in its folder"
                )
                segment.note(text, once_per="study", topic="saved configuration")
    original(callback, trainer, pl_module, stage)
