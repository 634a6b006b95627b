"""The state that a fit adds to each checkpoint and restores before it trains.

Lightning's checkpoints contain weights, optimizers, schedules, loops and callbacks. A training depends on more state,
which is saved here: random streams, generators and samplers of the user, states of torchmetrics, frozen parameters,
pruned weights, when loaders were created, and the results of finders. Most of it is restored in the first
`on_train_epoch_start`, because user code may reset it before that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

from lightning_hwtune.training import rng
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.process_group import gather_state
from lightning_hwtune.training.resume import (
    finders,
    generators,
    lightning_state,
    metric_states,
    module_flags,
    param_groups,
    pruning,
)  # fmt: skip
from lightning_hwtune.training.resume.attributes import Attributes, common
from lightning_hwtune.training.resume.first_hooks import FirstHooks
from lightning_hwtune.training.resume.hidden_states import HiddenStates
from lightning_hwtune.training.resume.identity import check_identity, identity
from lightning_hwtune.training.resume.loader_reload import LoaderReload
from lightning_hwtune.training.resume.shared_objects import note_shared
from lightning_hwtune.training.trainer_checks import check_resumed

__all__ = ["STATE_KEY", "ResumeState"]

STATE_KEY = "lightning_hwtune"
"""The key of our state in a checkpoint; not a callback's key, because users' callbacks could have the same one."""


@final
class ResumeState:
    """The state that one fit keeps over pauses. Its methods are called in the hooks of the same name."""

    def __init__(self, segment: ActiveSegment) -> None:
        self._segment = segment
        self._reload = LoaderReload(segment.order)
        self._attributes = Attributes()
        self._hidden = HiddenStates()
        self._first_hooks = FirstHooks(is_resumed=self._is_resumed)
        self._restored: Mapping[str, Any] = {}
        self._end_check: Callable[[], None] | None = None  # called at the end of the sanity check
        self._has_begun = False
        self._is_restored = False  # before loaders were created
        self._unsynchronized: set[str] = set()  # parameters whose gradients DDP does not synchronize

    def setup(self, trainer: Any, pl_module: Any) -> None:
        """Prepares a resumed fit before Lightning restores its state."""
        if self._is_resumed:
            lightning_state.convert_early(trainer, pl_module)
            finders.suspend_finders(trainer, self._segment)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Stores the random streams before the loaders are created."""
        self._reload.before_fit(trainer)
        if self._is_resumed:  # before Lightning restores the optimizers
            param_groups.add_groups(trainer, pl_module, self._restored.get("groups", ()))
        self._begins(lightning_state.user_objects(trainer, pl_module))
        self._first_hooks.weights_are_ready(trainer, pl_module, self._restored.get("first_hooks", {}))

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Mapping[str, Any]) -> None:
        """Refuses a checkpoint of another trial, and keeps the state that `save` added.

        Raises:
            CheckpointError: the checkpoint belongs to another trial.
        """
        found = checkpoint.get(STATE_KEY, {})
        check_identity(self._segment, found.get("identity"), trainer.ckpt_path)
        if self._has_begun:  # a finder loads its own checkpoint to undo its fits
            return
        self._restored = found
        self._segment.clock.remember(found.get("clock", {}))
        order, epochs = self._segment.order, lightning_state.epochs_in(checkpoint)
        if (
            order.unit == "epochs" and epochs >= order.max_resource
        ):  # nothing would be trained, and no hook would follow
            check_resumed(self._segment, found, order.max_resource)
        if self._is_resumed:
            finders.restore_attributes(trainer, pl_module, found.get("attributes", {}))

    def on_sanity_check_start(self, trainer: Any) -> None:
        """Skips the check in a resumed fit."""
        if self._is_resumed:
            self._end_check = lightning_state.skip_sanity_check(trainer)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Notes the values that the sanity check may change; its loaders exist now."""
        if trainer.sanity_checking:
            roots = lightning_state.user_objects(trainer, pl_module)
            self._attributes.check_begins(roots)
            self._hidden.check_begins(roots)
            self._end_check = partial(self._check_ended, roots)

    def _check_ended(self, roots: Mapping[str, Any]) -> None:
        """Notes what the check has changed, because a resumed fit begins without these changes."""
        self._attributes.check_ended(roots)
        self._hidden.check_ended(roots)

    def on_sanity_check_end(self) -> None:
        """Ends what was begun at the start of the check."""
        if self._end_check is not None:
            self._end_check()

    def on_train_start(self, trainer: Any, pl_module: Any, resource: int) -> None:
        """Checks that training continues at the trial's `resource`; loaders will be created as before the pause."""
        check_resumed(self._segment, self._restored, resource)
        if "DDP" in type(trainer.strategy).__name__:
            self._unsynchronized = set(module_flags.frozen_parameters(pl_module))
        finders.release_finders(trainer)
        self._first_hooks.optimizers_are_ready(trainer)
        if self._restored.get("wants_end"):
            trainer.should_stop = True  # it takes effect once the Trainer's minimums are reached
        saved = self._restored.get("loaders", {}) if self._is_resumed else {}
        self._is_restored = self._reload.resume(trainer, saved, partial(self._restore, trainer, pl_module))

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Restores the state that an uninterrupted training has at the start of this epoch."""
        order = self._segment.order
        if order.num_devices > 1:
            rng.seed_streams(order.seed, trainer.current_epoch, rank=None)
        if not self._has_begun and self._is_resumed:
            lightning_state.renew_iterator(trainer)
            if not self._is_restored:
                self._restore(trainer, pl_module)
        elif not self._has_begun:
            with self._segment.clock.paused():
                roots = lightning_state.user_objects(trainer, pl_module)
                self._begins(roots)
                note_shared(roots, self._segment)
                self._first_hooks.ended(trainer, pl_module)
        self._has_begun, self._restored = True, {}

    def on_train_batch_start(self, trainer: Any, batch_idx: int) -> None:
        """Gives the rank its own stream, after the samplers of all ranks have drawn from the shared one."""
        order = self._segment.order
        if batch_idx == 0 and order.num_devices > 1:
            if self._unsynchronized - set(module_flags.frozen_parameters(trainer.lightning_module)):
                self._segment.note(module_flags.UNFROZEN, once_per="study")
            rng.seed_streams(order.seed, trainer.current_epoch, self._segment.rank)

    def on_train_epoch_end(self, trainer: Any) -> None:
        """Stores the random streams before the next loaders are created."""
        self._reload.epoch_ended(trainer)

    def save(self, trainer: Any, pl_module: Any) -> dict[str, Any]:
        """Returns our state for a checkpoint now; all ranks must call it, unless one of them has failed."""
        roots = lightning_state.user_objects(trainer, pl_module)
        own = {
            "generators": generators.generator_states(roots),
            "metrics": metric_states.metric_states(roots, self._segment),
            "attributes": self._attributes.state(roots, self._segment),
            "hidden": self._hidden.state(roots, self._segment),
        }
        return {
            "resource": self._segment.resource,
            "identity": identity(self._segment.order),
            "rng": rng.rng_state(),
            "ranks": [own] if self._segment.failure is not None else gather_state(own),
            "modules": module_flags.module_flags(trainer, pl_module),
            "pruning": pruning.pruning_masks(trainer, pl_module),
            "groups": param_groups.group_names(trainer, pl_module),
            "first_hooks": self._first_hooks.state(),
            "wants_end": self._segment.wants_end,
            "loaders": self._reload.state(trainer),
            "attributes": finders.found_attributes(trainer, pl_module),
            "clock": self._segment.clock.memory(),
        }

    @property
    def _is_resumed(self) -> bool:
        return self._segment.order.checkpoint is not None

    def _restore(self, trainer: Any, pl_module: Any) -> None:
        saved, order = self._restored, self._segment.order
        self._first_hooks.ended(trainer, pl_module)
        pruning.restore_pruning(trainer, pl_module, saved.get("pruning", {}))
        self._restore_metrics(trainer, pl_module)
        self._restore_attributes(trainer, pl_module)
        if "modules" in saved:  # last, because metrics and masks may have added modules and parameters
            module_flags.restore_flags(pl_module, saved["modules"])
        if order.num_devices > 1:
            rng.seed_streams(order.seed, trainer.current_epoch, rank=None)
        self._restore_streams(trainer, pl_module)

    def _restore_metrics(self, trainer: Any, pl_module: Any) -> None:
        ranks = [rank["metrics"] for rank in self._restored.get("ranks", ())]
        if not ranks:
            return
        roots, own = lightning_state.user_objects(trainer, pl_module), self._segment.rank
        is_same_size = len(ranks) == self._segment.order.num_devices
        states = ranks[own] if is_same_size else metric_states.merge_ranks(roots, ranks, own)
        metric_states.restore_metrics(roots, states)

    def _restore_attributes(self, trainer: Any, pl_module: Any) -> None:
        """Restores each rank's own attributes; on another number of devices, those that all ranks had in common."""
        roots = lightning_state.user_objects(trainer, pl_module)
        for part, kept in (("attributes", self._attributes), ("hidden", self._hidden)):
            ranks = [rank.get(part, {}) for rank in self._restored.get("ranks", ())]
            if ranks:
                is_same_size = len(ranks) == self._segment.order.num_devices
                states = ranks[self._segment.rank] if is_same_size else common(ranks)
                kept.restore(roots, states, pl_module.device)

    def _begins(self, roots: Mapping[str, Any]) -> None:
        """Notes the values before the sanity check and before the first epoch of this fit; both may change them."""
        self._attributes.begins(roots)
        self._hidden.begins(roots)

    def _restore_streams(self, trainer: Any, pl_module: Any) -> None:
        saved, order = self._restored, self._segment.order
        if order.num_devices == 1 and "rng" in saved:
            rng.set_rng_state(saved["rng"])
        ranks = saved.get("ranks", ())
        if len(ranks) == order.num_devices:
            states = ranks[self._segment.rank]["generators"]
            generators.restore_generators(lightning_state.user_objects(trainer, pl_module), states)
        elif "generators" in saved and order.num_devices == 1:
            generators.restore_listed(lightning_state.training_loaders(trainer), saved["generators"])
