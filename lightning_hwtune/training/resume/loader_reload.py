"""`Trainer(reload_dataloaders_every_n_epochs=...)` over a pause.

Lightning does not save in which epoch it created its loaders, and a resumed fit creates new ones when it starts. Here
they are created as before the pause: with the same value of `current_epoch`, and with the same random streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

from lightning_hwtune.training import rng
from lightning_hwtune.training.channel import SegmentOrder

__all__ = ["LoaderReload"]


@final
class LoaderReload:
    """Records the reloads of one fit; does nothing without the option."""

    def __init__(self, order: SegmentOrder) -> None:
        self._order = order
        self._streams: dict[str, Any] | None = None  # the streams before the training loaders were last created

    def before_fit(self, trainer: Any) -> None:
        """Stores the random streams before the first loaders are created."""
        if _every(trainer):
            self._streams = rng.rng_state()

    def epoch_ended(self, trainer: Any) -> None:
        """Stores the random streams if the next epoch creates its loaders; several ranks then share one stream."""
        if not _is_due(trainer, trainer.fit_loop._last_train_dl_reload_epoch, trainer.current_epoch + 1):
            return
        if self._order.num_devices > 1:
            rng.seed_streams(self._order.seed, trainer.current_epoch + 1, rank=None)
        self._streams = rng.rng_state()

    def state(self, trainer: Any) -> dict[str, Any]:
        """Returns the state for a checkpoint."""
        if not _every(trainer):
            return {}
        loop = trainer.fit_loop
        epochs = {"train": loop._last_train_dl_reload_epoch, "val": loop.epoch_loop.val_loop._last_val_dl_reload_epoch}
        return {**epochs, "streams": self._streams}

    def resume(self, trainer: Any, saved: Mapping[str, Any], restore: Callable[[], None]) -> bool:
        """Makes Lightning create the loaders as they were before the pause, in the first epoch of a resumed fit.

        Args:
            restore: restores the state at the pause. It is called after all hooks that begin a training, and before the
                loaders are created, because user code may create them from what the training has left in attributes.

        Returns:
            True if the training loaders are due in this epoch; what creates them then changes the state, as without a
            pause, so it must not be restored again.
        """
        if not saved or not _every(trainer):
            return False
        loop, now = trainer.fit_loop, trainer.current_epoch
        val_loop = loop.epoch_loop.val_loop
        if not _is_due(trainer, saved["val"], now) and val_loop._combined_loader is not None:
            val_loop._combined_loader = None
            with _in_epoch(trainer, saved["val"]), _validating(trainer):
                val_loop.setup_data()
        val_loop._last_val_dl_reload_epoch = saved["val"]
        self._streams = saved["streams"]
        is_due = _is_due(trainer, saved["train"], now)

        def set_up() -> None:
            del loop.setup_data  # the method of the class is back
            restore()
            if is_due:
                loop._last_train_dl_reload_epoch = saved["train"]
                loop.setup_data()
                return
            if self._streams is not None:
                rng.set_rng_state(self._streams)
            loop._combined_loader = None
            with _in_epoch(trainer, saved["train"]):
                loop.setup_data()

        loop.setup_data = set_up
        return is_due


def _every(trainer: Any) -> int:
    return int(trainer.reload_dataloaders_every_n_epochs or 0)


def _is_due(trainer: Any, last: float, epoch: int) -> bool:
    every = _every(trainer)
    return bool(every) and epoch - last >= every


@contextmanager
def _in_epoch(trainer: Any, epoch: float) -> Iterator[None]:
    """Sets `current_epoch` to another value inside the block; minus infinity (nothing was loaded yet) means 0."""
    progress = trainer.fit_loop.epoch_progress.current
    now, progress.completed = progress.completed, max(0, int(max(epoch, 0)))
    try:
        yield
    finally:
        progress.completed = now


@contextmanager
def _validating(trainer: Any) -> Iterator[None]:
    """Sets the Trainer's stage to validation inside the block, as when it creates validation loaders."""
    trainer.validating = True
    try:
        yield
    finally:
        trainer.training = True
