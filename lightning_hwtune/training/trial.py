"""The `Trial` handle: the argument of a training function.

    def train(trial: hwt.Trial) -> None:
        model = Net(lr=trial["lr"])
        data = Digits(batch_size=trial.per_device_batch_size(trial["batch_size"]))
        trial.fit(model, data)

In training loops that report by hand, `report` replaces `fit`, and `save` and `load` replace Lightning's checkpoints.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Unpack, final, overload

from lightning_hwtune.core.decisions import Continue, Pause, Reason, Rule, Stop, Verdict, VerdictKind
from lightning_hwtune.core.parameters.options import copied, handed_out
from lightning_hwtune.errors import ArgumentError, OwnedArgumentError, RenamedAttributeError, nearest
from lightning_hwtune.forms import checked_call
from lightning_hwtune.names import unknown_attribute
from lightning_hwtune.text import counted, is_name
from lightning_hwtune.training.across_ranks import as_number
from lightning_hwtune.training.channel import Note
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.process_group import gather_state, group_size
from lightning_hwtune.training.reporting import report_by_hand
from lightning_hwtune.training.resume.save_order import SaveOrder

if TYPE_CHECKING:
    import lightning.pytorch
    import pytorch_lightning

    from lightning_hwtune.training.trainer_options import FitOptions, TrainerOptions

__all__ = ["OWNED", "Trial"]

OWNED = (
    "ckpt_path", "max_epochs", "max_steps", "min_epochs", "min_steps", "devices", "num_nodes", "accelerator",
)  # fmt: skip
"""Arguments of the Trainer and of its `fit` that the study decides."""


@final
class Trial:
    """One segment of a trial, as its training function sees it.

    Examples:
        >>> study = hwt.Study("asked", {"lr": hwt.Float(0.01, 0.1)}, [hwt.Metric("val_loss", "min")], max_epochs=1)
        >>> trial = study.ask(max_trials=1, progress=False)
        >>> trial.id, trial.segment, list(trial.config)
        (0, 1, ['lr'])
        >>> type(trial.report(1, val_loss=0.5)).__name__
        'Stop'
        >>> study.tell(trial)
        'completed'
        >>> study.close()
    """

    @checked_call("Trial")
    def __init__(self, segment: ActiveSegment) -> None:
        if not isinstance(segment, ActiveSegment):
            hint = "Trials are made by study.run and study.ask."
            raise ArgumentError("Trial", segment, "a segment of a study", hint=hint)
        self._segment = segment
        self._streams: list[Any] = []  # random streams of each rank at the last report
        self._save_order = SaveOrder()
        segment.clock.mark()  # the training of a loop may begin at the function's start or at the end of `load`

    def __getattr__(self, name: str) -> NoReturn:
        if not name.startswith("_") and (name in self._segment.order.config or name in self._segment.order.absent):
            raise RenamedAttributeError(f"Trial.{name}", f"use trial[{name!r}]")
        raise unknown_attribute("Trial", name, dir(type(self)))

    def __repr__(self) -> str:
        return f"Trial({self.id}, {dict(self.config)!r}, num_devices={self.num_devices})"

    # ------------------------------------------------------------------ facts about the trial

    def __getitem__(self, name: str) -> Any:
        """Returns the value of a parameter.

        Raises:
            ArgumentError: the space has no such parameter, or its condition does not hold in this trial.
        """
        if not self._has(name):
            hint = f"Use trial.get({name!r}, default), or test `{name!r} in trial`."
            allowed = f"a parameter that this trial has: {', '.join(map(repr, self.config))}"
            raise ArgumentError("trial[...]", name, f"{allowed} ({self._segment.order.absent[name]})", hint=hint)
        return handed_out(self._segment.order.config[name])

    def __contains__(self, name: object) -> bool:
        """Returns whether this trial has a parameter, whose condition may not hold.

        Raises:
            ArgumentError: the space has no such parameter.
        """
        return self._has(name)

    @checked_call("Trial.get")
    def get(self, name: str, default: Any = None) -> Any:
        """Returns the value of a parameter, or `default` if its condition does not hold in this trial.

        Raises:
            ArgumentError: the space has no such parameter.
        """
        return handed_out(self._segment.order.config[name]) if self._has(name) else default

    def _has(self, name: object) -> bool:
        order = self._segment.order
        if not isinstance(name, str) or not (name in order.config or name in order.absent):
            known = {**order.config, **order.absent}
            allowed = f"a parameter of the search space: {', '.join(map(repr, known))}{nearest(str(name), known)}"
            raise ArgumentError("trial[...]", name, allowed)
        return name in order.config

    @property
    def config(self) -> Mapping[str, Any]:
        """The value of each parameter that this trial has, by name.

        It is a copy, so changes in it do not affect the study. A parameter whose condition (`when`) does not hold is
        not in it.
        """
        return copied(self._segment.order.config)

    @property
    def id(self) -> int:
        """The trial's number in its study."""
        return self._segment.order.trial_id

    @property
    def segment(self) -> int:
        """The number of this segment, from 1. A segment is one uninterrupted training of the trial."""
        return self._segment.order.segment

    @property
    def dir(self) -> Path:
        """The trial's folder; the same in all segments."""
        return Path(self._segment.order.trial_dir)

    @property
    def seed(self) -> int:
        """The trial's seed; all global generators have been seeded with it."""
        return self._segment.order.seed

    @property
    def num_devices(self) -> int:
        """The number of devices of this segment; it may differ in the next one if the space searches it."""
        return self._segment.order.num_devices

    @property
    def ckpt_path(self) -> str | None:
        """The checkpoint to resume from; None from scratch. Pass it to `Trainer.fit(ckpt_path=...)`."""
        self._segment.has_taken_state = True
        return self._segment.order.checkpoint

    @property
    def weights_path(self) -> str | None:
        """The checkpoint whose weights a refit begins with; None in any other trial, and in a resumed segment.

        A Trainer's model gets the weights by itself. A loop that reports by hand loads them from here.
        """
        return self._segment.order.weights

    @property
    def max_epochs(self) -> int:
        """The full horizon in epochs, for schedules; -1 in a study that counts steps or samples."""
        order = self._segment.order
        return order.max_resource if order.unit == "epochs" else -1

    @property
    def is_paused_or_stopped(self) -> bool:
        """True once this segment was paused or stopped before the end of the training.

        False during training and after a complete training. Code that evaluates the trained model can return if it is
        True: after a pause the training is not complete yet, and the result of an evaluation would not count.
        """
        return self._segment.is_over

    @checked_call("Trial.per_device_batch_size")
    def per_device_batch_size(self, global_batch: int) -> int:
        """Returns the batch size for the loader of each device; an `Accumulation` in the space divides it further.

        After a trial has run out of memory, it may be smaller: `fit` and `trainer` then accumulate the rest.

        Args:
            global_batch: samples per step over all devices. With `batch="per_device"` it is returned unchanged.

        Raises:
            ArgumentError: it is not divisible by the number of devices.
        """
        return self._segment.batches.share(global_batch)

    @checked_call("Trial.logger_kwargs")
    def logger_kwargs(self) -> dict[str, Any]:
        """Returns `save_dir`, `name` and `version` for a logger that you create; the same in all segments of the trial.

        With Weights & Biases `version` is the run's id, so a resumed trial continues its run.
        """
        study = self._segment.order.study
        return {"save_dir": str(self.dir), "name": study, "version": f"{study}-{self.id:03d}"}

    # ------------------------------------------------------------------ training with Lightning

    @checked_call("Trial.trainer")
    def trainer(self, **kwargs: Unpack[TrainerOptions]) -> lightning.pytorch.Trainer:
        """Returns a Lightning Trainer for this segment.

        It logs to `metrics.csv` in the trial's folder. By default it shows no progress bar and no model summary, and
        saves checkpoints only for the study. Pass `logger`, `enable_progress_bar` and so on to change this.

        Raises:
            OwnedArgumentError: an argument was passed that the study decides: horizon, devices or accelerator.
        """
        trainer: lightning.pytorch.Trainer = self._trainer("lightning.pytorch", kwargs)
        return trainer

    @overload
    def fit(
        self,
        model: lightning.pytorch.LightningModule,
        data: Any = None,
        val_dataloaders: Any = None,
        *,
        datamodule: Any = None,
        **kwargs: Unpack[FitOptions],
    ) -> lightning.pytorch.Trainer: ...

    @overload
    def fit(
        self,
        model: pytorch_lightning.LightningModule,
        data: Any = None,
        val_dataloaders: Any = None,
        *,
        datamodule: Any = None,
        **kwargs: Unpack[FitOptions],
    ) -> pytorch_lightning.Trainer: ...

    @checked_call("Trial.fit")
    def fit(
        self, model: Any, data: Any = None, val_dataloaders: Any = None, *, datamodule: Any = None, **kwargs: Any
    ) -> Any:
        """Trains `model` until the study ends the segment or the horizon is reached; returns the Trainer.

        Training resumes from the trial's checkpoint if there is one. The study passes the checkpoint: `ckpt_path`
        raises TypeError, like the arguments that `trainer` does not accept.

        This is the fit that reports. A training function may fit with other Trainers before it, for example in a
        pretraining. Those fits train without reports, and again in each segment.

        Args:
            model: a LightningModule of `lightning.pytorch` or `pytorch_lightning`.
            data: a LightningDataModule, or the training data: a loader, or several loaders as for `Trainer.fit`.
            val_dataloaders: the validation data, if `data` is not a LightningDataModule.
            datamodule: the same as `data`, for a LightningDataModule.
            kwargs: `train_dataloaders` is also the same as `data`; all other arguments are passed to `trainer`.
        """
        from lightning_hwtune.training.lightning_internals import class_tree, trusting

        given = {"datamodule": datamodule, "val_dataloaders": val_dataloaders}
        given["train_dataloaders"] = data if data is not None else kwargs.pop("train_dataloaders", None)
        trainer = self._trainer(class_tree(model), kwargs)
        resume = {"ckpt_path": self.ckpt_path, **trusting(trainer.fit)} if self.ckpt_path and self._is_first_fit else {}
        self._segment.resumes_by_argument = bool(resume)
        try:
            trainer.fit(model, **given, **resume)
        finally:
            self._segment.resumes_by_argument = False
        return trainer

    @property
    def _is_first_fit(self) -> bool:
        return self._segment.reporter is None

    def _trainer(self, tree: str, given: Mapping[str, Any]) -> Any:
        kwargs = dict(given)
        order = self._segment.order
        owned = (*OWNED, *order.trainer)
        passed = [name for name in owned if name in kwargs]
        if passed:
            raise OwnedArgumentError(passed, owned)
        if kwargs.get("fast_dev_run"):
            hint = "The check of a new study already trains a few batches first; study.check(train) does only that."
            raise ArgumentError("fast_dev_run", kwargs["fast_dev_run"], "False in a study", hint=hint)
        if kwargs.get("barebones"):
            hint = "It switches `self.log` off, which the study reads."
            raise ArgumentError("barebones", True, "False in a study", hint=hint)
        if tree == "pytorch_lightning":
            from lightning_hwtune.training import pytorch_lightning_tree as classes
        else:
            from lightning_hwtune.training import lightning_tree as classes  # type: ignore[no-redef]
        callbacks = _as_list(kwargs.pop("callbacks", None))
        settings = {
            # if Lightning's entry point adds another one, only this one acts
            "callbacks": [*callbacks, classes.RungCallback()],
            "logger": not order.is_test,  # the trial's metrics.csv is that of its training
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(map(_is_checkpoint_callback, callbacks)),
            "default_root_dir": str(self.dir),
            "strategy": "auto" if order.num_devices == 1 else "ddp",
            **order.trainer,
            **self._segment.batches.arguments,
            **kwargs,
        }
        if settings["logger"] is True:
            settings["logger"] = classes.TrialCSVLogger(str(self.dir), name=None, version="")
        trainer = classes.Trainer(
            max_epochs=self.max_epochs, max_steps=order.max_resource if order.unit == "steps" else -1,
            devices=order.local_devices, num_nodes=order.num_nodes, accelerator=order.accelerator, **settings,
        )  # fmt: skip
        self._segment.batches.made(trainer, given)
        return trainer

    # ------------------------------------------------------------------ loops that report by hand

    @checked_call("Trial.report")
    def report(self, resource: int, **values: float) -> Verdict:
        """Reports values at a cumulative resource (epochs, unless the study has another unit); returns the verdict.

        On `Pause`, call `save` with the state that `load` needs later, and return. A trial that saved nothing starts
        from scratch when it is promoted. On `Stop`, return. With several devices every rank must call `report`.

        Training seconds are counted from the start of the training function, or from the end of the last `load` before
        the first report. The time of `load`, `save` and the report itself does not count.

        Args:
            resource: a positive integer that increases from report to report, at most the study's horizon.
            values: a number for each objective of the study, by name. Further numbers are kept as `logged/<name>`.

        Raises:
            ArgumentError: the resource is not allowed; the segment is resumed, but nothing has called `load` or read
                `ckpt_path`; an earlier report paused or stopped the segment; or a callback
                already reports, in which case `manual_reports` must be called before the first fit.
            MetricError: an objective of the study has no value, or a value that is not a number.
            TrialError: this process is a fork of the process that trains the segment.
        """
        self._segment.require_this_process()
        is_first = self._segment.reporter is None
        if not is_first and self._segment.reporter is not self:
            raise ArgumentError(
                "trial.report", resource, "a segment in which no fit reports",
                hint="Call trial.manual_reports() before the first fit. Then only trial.report() reports.",
            )  # fmt: skip
        if is_first:
            self._require_state()
        resource = self._checked(resource)
        self._segment.claim(self)
        self._segment.is_loop = True
        if is_first:
            self._segment.clock.start(at_mark=True)
            if self._segment.order.save_every is not None:
                text = (
                    "`save_every` has no effect on a loop that calls trial.report: call trial.save(state) in the loop"
                )
                self._segment.note(text, once_per="study", topic="save_every")
        self._check_group()
        self._note_save_order(resource)
        self._segment.fabric_loaders.reported()
        verdict = report_by_hand(self._segment, resource, values)
        self._keep_streams()
        if verdict.kind != VerdictKind.CONTINUE and not self._segment.is_over:
            self._segment.is_trained = True
        reason = Reason(Rule.VERDICT, verdict.reason, verdict.standing)
        if verdict.kind == VerdictKind.CONTINUE:
            return Continue(reason)
        return Pause(reason) if verdict.kind == VerdictKind.PAUSE else Stop(reason)

    def _require_state(self) -> None:
        """Refuses the first report of a loop that trains again from scratch in a resumed segment.

        Rank 0 may load the state for all ranks.

        Raises:
            ArgumentError: the loop has not taken the state that it saved.
        """
        segment, order = self._segment, self._segment.order
        if order.checkpoint is None or segment.has_taken_state or segment.rank:
            return
        error = ArgumentError(
            "trial.report(...)",
            f"called without trial.load() in a segment that resumes at {counted(order.resource, order.unit)}",
            "a report of a loop that continues from its saved state",
            hint="Otherwise a new training would be recorded as a resumed one. Before the loop, call "
            f"`state = trial.load()`, which is None in the first segment, and continue after the {order.unit} that the "
            "state has.",
        )  # fmt: skip
        segment.fail(error)
        raise error

    def _checked(self, resource: Any) -> int:
        """Returns the resource as an integer.

        Raises:
            ArgumentError: the resource must not be reported now.
        """
        segment, order = self._segment, self._segment.order
        unit, top = order.unit, order.max_resource
        try:
            number = 0 if isinstance(resource, bool) else index(resource)
        except TypeError:
            number = 0
        if number < 1:
            raise ArgumentError(
                "trial.report(...)", resource, f"a positive integer, the number of {unit} trained so far",
                hint=f"Pass values by name: trial.report(1, {(*order.metrics, 'loss')[0]}=0.5).",
            )  # fmt: skip
        if segment.is_over and segment.verdict is not None:
            error = ArgumentError(
                "trial.report(...)", number,
                f"no report after {counted(segment.resource, unit)}, because the verdict there was "
                f"{segment.verdict.kind.value!r}",
                hint=_OBEY,
            )  # fmt: skip
            if segment.has_rungs:
                segment.fail(error)
            raise error
        if segment.is_trained and segment.verdict is None:
            raise ArgumentError(
                "trial.report(...)", number, "no report after trial.save(..., complete=True)",
                hint="Leave out `complete=True` if the loop continues to train.",
            )  # fmt: skip
        if number <= segment.resource:
            since = "the checkpoint of this segment" if segment.resource == order.resource else "the last report"
            raise ArgumentError(
                "trial.report(...)", number, f"an integer above {segment.resource}, the {unit} of {since}",
                hint="Report each of them once. A resumed segment continues from the state that trial.load() returns.",
            )  # fmt: skip
        if number > top:
            raise ArgumentError("trial.report(...)", number, f"an integer up to {top}, the {unit} of a full training")
        return number

    @checked_call("Trial.note")
    def note(self, key: str, value: str | float | bool | None) -> None:
        """Keeps a value with the trial: `note/<key>` is then a column of `study.trials()` and of `study.front()`.

        The newest value of a key counts. With several devices, the value of rank 0 is kept; a check keeps none. Numbers
        that the training logs at a rung are kept without a call, as `logged/<name>`.

        Args:
            key: the name of the value.
            value: a number, True or False, text, or None.

        Raises:
            ArgumentError: the key is not a name, or the value has another type.
        """
        number = value if value is None or isinstance(value, bool | str) else as_number(value)
        if not is_name(key) or len(key) > _MOST_CHARS:
            raise ArgumentError("key", key, f"text of one line, at most {_MOST_CHARS} characters")
        if value is not None and number is None:
            raise ArgumentError("value", value, "a number, True or False, text, or None")
        kept = int(number) if isinstance(value, int) and isinstance(number, float) else number
        self._segment.send(Note("", key=key, value=kept))

    @checked_call("Trial.manual_reports")
    def manual_reports(self) -> None:
        """Switches the reports of callbacks off in this segment, for a loop with fits inside, as in cross-validation.

        The loop then calls `report` itself. Training seconds are counted from here.
        """
        if not self._segment.claim(self):
            raise ArgumentError("trial.manual_reports", "called after a fit", "a call before the segment's first fit")
        self._segment.clock.start()

    @checked_call("Trial.save")
    def save(self, state: Any, *, complete: bool = False) -> None:
        """Saves `state` at the last reported resource, for a later segment of this trial.

        This is for loops that report by hand. Call it after `report`, with the state that was reported.

        The random streams of `random`, numpy and torch are saved with it: those of rank 0 as they are now, those of
        other ranks as they were at the last report.

        Args:
            state: any object that `torch.save` can write.
            complete: whether the loop ends here by its own rule, such as early stopping. The trial is then complete,
                even if the last report returned `Pause`. Otherwise it would continue training when it is promoted.

        Raises:
            ArgumentError: it was called before the first report of the trial, or `complete` was passed before the
                first report of this segment.
            TrialError: this process is a fork of the process that trains the trial.
        """
        from lightning_hwtune.training.checkpointing import save_file
        from lightning_hwtune.training.resume.by_hand import write_by_hand
        from lightning_hwtune.training.rng import rng_state
        from lightning_hwtune.training.value_digest import value_digest

        segment = self._segment
        segment.require_this_process()
        if complete and segment.resource <= segment.order.resource:
            raise ArgumentError("trial.save(..., complete=True)", "called before a report", "a call after a report")
        if segment.order.checkpoint is None and segment.resource == 0:
            error = ArgumentError("trial.save(...)", "called before trial.report(...)", "a call after it", hint=_LATER)
            raise error from sys.exc_info()[1]  # in a `finally`, the earlier error is still the reason
        with segment.clock.paused():
            try:
                if segment.rank == 0:
                    if segment.order.probe_batches is not None:
                        segment.weights = value_digest(state)
                    streams = [rng_state(), *self._streams[1:]]
                    self._save_order.saved(streams[0])
                    write = partial(write_by_hand, segment, state, streams)
                    save_file(segment, segment.resource, segment.clock.seconds, write, is_end=complete)
            except Exception as error:
                if segment.verdict is not None:
                    segment.fail(error)  # nothing will save again after this
                raise
            segment.saved_at = segment.resource
        if complete:
            segment.is_trained = True
            if segment.verdict is not None and segment.verdict.kind == VerdictKind.PAUSE:
                segment.verdict = None  # nothing is left to train

    @checked_call("Trial.load")
    def load(self, *, rng: bool = True) -> Any:
        """Returns the state that an earlier segment saved with `save`; None from scratch.

        Args:
            rng: whether to restore the random streams of `random`, numpy and torch as well, after everything else.

        Raises:
            CheckpointError: the checkpoint belongs to another trial.
        """
        from lightning_hwtune.training.resume.by_hand import load_by_hand
        from lightning_hwtune.training.rng import set_rng_state

        if self.ckpt_path is None:
            return None
        with self._segment.clock.paused():
            state, streams = load_by_hand(self._segment, self.ckpt_path)
            if rng and streams is not None:
                set_rng_state(streams)
        self._segment.clock.mark()
        return state

    def _keep_streams(self) -> None:
        """Collects the random streams of all ranks, so that `save` needs to be called only on rank 0."""
        if self.num_devices > 1:
            from lightning_hwtune.training.rng import rng_state

            self._streams = gather_state(rng_state())

    def _note_save_order(self, resource: int) -> None:
        """Notes that the state of this report was saved before it."""
        from lightning_hwtune.training.rng import rng_state

        if self._segment.rank == 0 and self._save_order.reported(rng_state()):
            text = (
                f"trial.save was called before trial.report({resource}), so its state counts as that of the report "
                "before, and on several devices other ranks resume with the random streams of that report. Call "
                "trial.report first, then trial.save"
            )
            self._segment.note(text, once_per="study", topic="saved before the report")

    def _check_group(self) -> None:
        """Refuses a report whose ranks are not connected.

        Raises:
            ArgumentError: the size of the process group differs from the segment's number of devices.
        """
        size, num_devices = group_size(), self.num_devices
        if size != num_devices:
            raise ArgumentError(
                "trial.report(...)", f"called in a process group of {size}",
                f"a process group of {num_devices}, the number of devices of this segment",
                hint="Before the first report, call Fabric(devices=trial.num_devices).launch(), or "
                "torch.distributed.init_process_group().",
            )  # fmt: skip


_MOST_CHARS = 100
_LATER = (
    "A state belongs to the last report, and before it there is none: call `verdict = trial.report(...)` first, then "
    "`trial.save(state)`, and then return unless the verdict is 'continue'."
)
_OBEY = "Follow the verdict: `if trial.report(...).kind != 'continue': trial.save(state); return`."


def _as_list(callbacks: Any) -> list[Any]:
    """Returns a Trainer's argument `callbacks` as a list."""
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


def _is_checkpoint_callback(callback: Any) -> bool:
    """Return whether Lightning refuses a callback when checkpointing is off."""
    return any(base.__name__ == "Checkpoint" for base in type(callback).__mro__)
