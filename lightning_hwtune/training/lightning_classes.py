"""What Lightning's own classes do differently while a segment trains; outside a segment they do what they always do.

Both are decided before any callback is asked, so a callback comes too late:

- `TensorBoardLogger` and `CSVLogger` without a version count the folders that exist. In a segment the version is the
  trial's, so that everybody finds the run of trial 9 in `trial_009`.
- LightningCLI's `SaveConfigCallback` refuses to train where a file lies in its way. In a segment that file stays as it
  is: it is the one of the trial's first segment, or another run's. A check saves none.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from lightning_hwtune.training.context import ActiveSegment, current_segment
from lightning_hwtune.training.log_folders import trial_version

__all__ = ["adapt_classes"]

_MARK = "_adapted_by_hwtune"


def adapt_classes(package: str) -> None:
    """Adapt the classes of a package, "lightning.pytorch" or "pytorch_lightning", as far as it is imported; once."""
    # the folder of a trial's earlier segments holds its files, and none of them gets lost
    warnings.filterwarnings("ignore", "Experiment logs directory .* exists and is not empty")
    loggers = sys.modules.get(f"{package}.loggers")
    for name in ("TensorBoardLogger", "CSVLogger"):
        if (cls := getattr(loggers, name, None)) is not None:
            _replace(cls, "_get_next_version", _next_version)
    if (cls := getattr(sys.modules.get(f"{package}.cli"), "SaveConfigCallback", None)) is not None:
        _replace(cls, "setup", _save_config)


def _replace(cls: type, name: str, method: Callable[..., Any]) -> None:
    original = getattr(cls, name, None)
    if original is None or hasattr(original, _MARK):
        return

    @functools.wraps(original)
    def adapted(self: Any, *args: Any, **kwargs: Any) -> Any:
        segment = current_segment()
        if segment is None:
            return original(self, *args, **kwargs)
        return method(segment, original, self, *args, **kwargs)

    setattr(adapted, _MARK, True)
    setattr(cls, name, adapted)


def _next_version(segment: ActiveSegment, original: Callable[..., Any], logger: Any) -> int | str:
    if segment.order.probe_batches is not None:  # a check is no trial
        return int(original(logger))
    return trial_version(logger, segment)


def _save_config(
    segment: ActiveSegment, original: Callable[..., Any], callback: Any, trainer: Any, pl_module: Any, stage: str
) -> None:
    if segment.order.probe_batches is not None:
        return
    if callback.save_to_log_dir and not callback.already_saved and not callback.overwrite:
        path = os.path.join(trainer.log_dir, callback.config_filename)  # every rank asks: it is a broadcast
        if trainer.strategy.broadcast(os.path.isfile(path)):
            callback.save_to_log_dir = False
            if segment.order.segment == 1:
                text = f"{path} is another run's and stays as it is; the configuration of a trial lies in its folder"
                segment.note(text, once_per="study", topic="saved configuration")
    original(callback, trainer, pl_module, stage)
