"""The loop: asks the controller what the free devices should do, starts it, and passes the results to the controller.

It does the bookkeeping between controller and executor: device slots, folders and checkpoint files. It makes no
decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Answer, Done, Resume, Start, VerdictKind
from lightning_hwtune.core.record import FIRST_ERROR, Outcome, TrialState
from lightning_hwtune.core.requests import BY_REQUEST
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.engine.clock import Clock
from lightning_hwtune.engine.devices import Slots
from lightning_hwtune.engine.executor import Executor
from lightning_hwtune.engine.folder import Folder
from lightning_hwtune.engine.limit_looks import LimitLooks
from lightning_hwtune.engine.provider import Provider
from lightning_hwtune.engine.refitting import refit_order
from lightning_hwtune.engine.rented_nodes import RentedNodes
from lightning_hwtune.engine.requests import Requests
from lightning_hwtune.engine.segment_orders import segment_order
from lightning_hwtune.errors import CheckpointError, TrialError, first_line
from lightning_hwtune.host.session_signals import pause_within_s
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.store.inbox import Inbox
from lightning_hwtune.tracebacks import own_lines
from lightning_hwtune.training.channel import Ended, Note, Report, Saved, SegmentOrder, VerdictMessage, storable_message
from lightning_hwtune.training.resume.identity import config_digest
from lightning_hwtune.training.trial_fit import COUNTED_FIT

__all__ = ["Loop"]

_TICK_S = 1.0
_LATE_S = 0.25  # how much later than planned the loop looks at a budget; more once that has happened
_END_S = 1.0  # how long the end of a segment takes, from the decision to its entry in the log


@final
class Loop:
    """Drives one controller with one executor until nothing is left to do. Implements the executors' `Sink`.

    Args:
        files: the study's folder.
        tick: called about once per second, and before a segment begins, reports, saves or ends. It renews the lease,
            redraws the live view, and raises if the study's folder is gone.
        save_every: extra checkpoints, see `SegmentOrder`.
        is_first_error_fatal: an error before the study's first report ends `run`; otherwise it counts like any other.
        provider: rents the nodes on which segments train; None: they train on this host.
        inbox: the requests of other processes; None: there are none.
        say: prints a line that is not part of the log.
        wait_s: the longest time for which it waits without a look at the study.
        late_s, end_s: see the constants. Both are 0 on a virtual clock.
    """

    def __init__(
        self,
        controller: Controller,
        executor: Executor,
        clock: Clock,
        files: Folder,
        *,
        tick: Callable[[], None] = lambda: None,
        save_every: int | None = None,
        is_first_error_fatal: bool = True,
        provider: Provider | None = None,
        inbox: Inbox | None = None,
        say: Callable[[str], None] = lambda text: None,
        wait_s: float = _TICK_S,
        late_s: float = _LATE_S,
        end_s: float = _END_S,
    ) -> None:
        self._controller, self._executor, self._clock, self._files = controller, executor, clock, files
        self._tick, self._save_every, self._is_first_error_fatal = tick, save_every, is_first_error_fatal
        self._fatal: TrialError | None = None
        self._looks = LimitLooks(controller, executor, wait_s=wait_s, late_s=late_s, end_s=end_s)
        self._requests = Requests(controller, executor, inbox)
        self._nodes = None if provider is None else RentedNodes(controller, executor, provider, say)
        self._slots = self._nodes or Slots(controller.spec.pool.size)

    def run(self) -> Done:
        """Runs until the controller is done; returns its last answer.

        Raises:
            TrialError: the training code failed before the study's first report.
        """
        while True:
            if self._nodes is not None:
                self._nodes.look(self._clock.now())
            self._looks.look(self._clock.now())
            answer = self.step()
            if self._requests.is_over:
                self.pause_soon(BY_REQUEST)
                self.interrupt(BY_REQUEST)
                return self._requests.done
            self._requests.end_stopped()
            if self._nodes is not None:
                answer = self._nodes.adjust(answer, self._clock.now())
            if isinstance(answer, Done):
                return answer
            if isinstance(answer, Start | Resume):
                continue
            self._executor.wait(self, self._wait_s(self._clock.now()))
            self._tick()
            if self._fatal is not None:
                raise self._fatal

    def _wait_s(self, now: float) -> float:
        seconds = self._looks.wait_s(now)
        return seconds if self._nodes is None else min(seconds, self._nodes.wait_s(now))

    def pause_soon(self, why: str) -> None:
        """Lets trials pause that would otherwise train epochs again, if their next report is due in about a second.

        Later reports are waited for only if the environment says that there is time for it (`PAUSE_WITHIN`). A segment
        that is saving a checkpoint finishes it.
        """
        self._controller.pause_at_reports(why)
        end = self._clock.now() + pause_within_s()
        while (left_s := end - self._clock.now()) > 0 and any(
            self._saves_by(segment, end) for segment in self._controller.state.running.values()
        ):
            self._executor.wait(self, left_s)

    def _saves_by(self, segment: Segment, end: float) -> bool:
        """Return whether a segment has paused, or has something to save and is likely to report before `end`."""
        saved = self._controller.state.trials[segment.trial_id].checkpoint
        if segment.verdict == VerdictKind.PAUSE:
            return True
        return segment.reached > (saved.resource if saved else 0) and segment.reported_at + segment.report_s < end

    def interrupt(self, why: str) -> None:
        """Ends every running segment; the trials can be resumed later."""
        self._executor.close()
        now = self._clock.now()
        for trial_id in list(self._controller.state.running):
            self._controller.tell(trial_id, now, Outcome.INTERRUPTED, error=why)
        if self._nodes is not None:
            self._nodes.release_all(now)

    def step(self) -> Answer:
        """Asks the controller once and starts the segment that it decides on, if any; returns its answer."""
        now = self._clock.now()
        self._requests.look(now)
        if self._requests.is_over:
            return self._requests.done
        self._controller.choose_ladder(now)
        self._controller.plan_stage(now)
        n_free = self._slots.n_free(self._controller.state.per_device)
        lacks_nodes = self._nodes is not None and self._nodes.is_lacking(now)
        answer = self._controller.ask(now, n_free, lacks_nodes=lacks_nodes)
        self._controller.reserve(answer, now)
        if isinstance(answer, Start | Resume):
            self._begin(answer)
        return answer

    def _begin(self, decision: Start | Resume) -> None:
        self._tick()
        if isinstance(decision, Resume):
            self._vouch(decision.trial_id)
            self._forget_best(decision.trial_id)
        slots = self._slots.take(decision.allocation, self._controller.state.per_device)
        segment = self._controller.begin(decision, slots, self._clock.now())
        self._executor.start(self._order(segment))

    def _vouch(self, trial_id: int) -> None:
        """Drops a checkpoint that does not match the log; the trial then starts again from scratch."""
        checkpoint = self._controller.state.trials[trial_id].checkpoint
        if checkpoint is None:
            return
        try:
            self._files.verify(checkpoint)
        except CheckpointError as error:
            self._remove(trial_id, checkpoint.path, str(error))

    def _forget_best(self, trial_id: int) -> None:
        """Removes a best checkpoint whose report is lost because the trial continues from an earlier resource."""
        trial = self._controller.state.trials[trial_id]
        resource = trial.checkpoint.resource if trial.checkpoint is not None else 0
        if trial.best_checkpoint is not None and trial.best_checkpoint.resource > resource:
            self._remove(trial_id, trial.best_checkpoint.path, f"the trial continues from {resource}, before it")

    def _order(self, segment: Segment) -> SegmentOrder:
        spec, trial = self._controller.spec, self._controller.state.trials[segment.trial_id]
        folder = self._files.make_trial_dir(trial.trial_id)
        checkpoint = self._files.path(trial.checkpoint.path) if trial.checkpoint else None
        order = segment_order(
            spec,
            trial_id=trial.trial_id,
            segment=segment.number,
            config=self._config(trial.config, segment.num_devices),
            seed=trial.seed,
            slots=segment.slots,
            per_device=segment.allocation.per_device,
            folder=folder,
            resource=segment.resource,
            checkpoint=str(checkpoint) if checkpoint else None,
            save_every=self._save_every,
            study_id=self._controller.state.study_id,
            config_digest=config_digest(trial.config),
            only_marked_fits=COUNTED_FIT in self._controller.state.topics,
            measured=spec.objectives.measured_in_training,
            is_replicate=trial.is_replicate,
            max_per_device_batch=trial.max_per_device_batch,
            nodes=() if self._nodes is None else self._nodes.parts(segment.slots),
        )
        return refit_order(order, self._controller.state, trial, self._files) if trial.refit else order

    def _config(self, config: Mapping[str, Any], num_devices: int) -> dict[str, Any]:
        """Returns the configuration with its actual device count, which may be larger after running out of memory."""
        key = self._controller.spec.space.devices_key
        return dict(config) if key is None else {**config, key: num_devices}

    # ------------------------------------------------------------------ Sink

    def reported(self, trial_id: int, segment: int, report: Report) -> VerdictMessage:
        """Passes the report to the controller, which decides and logs; returns the verdict."""
        self._tick()
        if not self._is_current(trial_id, segment):
            return VerdictMessage(VerdictKind.STOP, "this segment has already ended")
        if self._nodes is not None:
            self._nodes.reported()
        self._requests.look(self._clock.now())
        verdict = self._controller.report(
            trial_id,
            report.resource,
            report.metrics,
            report.train_s,
            self._clock.now(),
            is_inside=report.is_inside,
            logged=report.logged,
        )
        trial = self._controller.state.trials[trial_id]
        is_best = bool(trial.best_of) and trial.best_at(report.resource) == report.resource
        return VerdictMessage(verdict.kind, verdict.reason.text, verdict.reason.standing, is_best)

    def saved(self, trial_id: int, segment: int, saved: Saved) -> None:
        """Logs the checkpoint, then removes the checkpoints that it replaces and those that exceed the disk budget."""
        self._tick()
        if not self._is_current(trial_id, segment):
            return
        trial = self._controller.state.trials[trial_id]
        old = trial.checkpoints
        path, now = self._files.relative(saved.path), self._clock.now()
        self._controller.saved(
            trial_id, path, saved.digest, saved.n_bytes, saved.resource, saved.train_s, now,
            is_inside=saved.is_inside, is_end=saved.is_end,
        )  # fmt: skip
        kept = [checkpoint.path for checkpoint in trial.checkpoints]
        for checkpoint in old:
            if checkpoint.path not in kept:
                self._remove(trial_id, checkpoint.path, "superseded")
        self._make_room()

    def _make_room(self) -> None:
        """Removes the checkpoints that exceed the disk budget."""
        for victim in self._files.evictions(self._controller.state):
            self._remove(victim.trial_id, victim.path, victim.reason)

    def _remove(self, trial_id: int, path: str, reason: str) -> None:
        self._controller.removed(trial_id, path, reason, self._clock.now())
        self._files.delete(path)

    def noted(self, trial_id: int, segment: int, note: Note) -> None:
        """Logs a line; a line about the whole study is logged only once."""
        if note.key:
            self._controller.note_value(trial_id, note.key, note.value, self._clock.now())
            return
        text = spelled(note.text)
        if note.once_per == "study":
            self._controller.note_once(text, note.topic, self._clock.now())
        else:
            self._controller.note(trial_id, text, self._clock.now())

    def ended(self, trial_id: int, segment: int, ended: Ended, world_size: int) -> None:
        """Frees the devices and lets the controller decide the trial's next state."""
        self._tick()  # first: it raises if the folder is gone, so that this does not count as an error of the trial
        if not self._is_current(trial_id, segment):
            return
        ended = storable_message(ended)
        controller, outcome = self._controller, ended.outcome
        segment_ended = controller.state.running[trial_id]
        self._slots.give_back(segment_ended.slots, segment_ended.allocation.per_device)
        nothing_yet = self._is_first_error_fatal and not any(trial.measurements for trial in controller.state.trials)
        is_first = outcome == Outcome.ERROR and nothing_yet
        state = controller.tell(
            trial_id,
            self._clock.now(),
            Outcome.INTERRUPTED if is_first else outcome,
            error=f"{FIRST_ERROR}:\n{ended.error}" if is_first else ended.error,
            world_size=world_size,
            reached_end=ended.reached_end,
            global_batch=ended.global_batch,
        )
        if ended.fixed_because and segment_ended.allocation.per_device == 1:
            text = _FIXED.format(trial_id=trial_id, why=ended.fixed_because)
            controller.note_once(text, "a fixed batch", self._clock.now())
        self._make_room()  # the trial's own checkpoint could not be removed while it was running
        if is_first:
            why = first_line(ended.error)
            text = _FIRST.format(trial_id=trial_id, why=why, error=own_lines(ended.error.rstrip()))
            self._fatal = TrialError(text, traceback=ended.error)
        elif state is TrialState.FAILED and nothing_yet:
            text = controller.state.trials[trial_id].error
            self._fatal = TrialError(f"trial {trial_id}: {own_lines(text)}", traceback=text)

    def _is_current(self, trial_id: int, segment: int) -> bool:
        running = self._controller.state.running.get(trial_id)
        return running is not None and running.number == segment


_FIXED = (
    "trial {trial_id} ran out of memory, and its batch per device is not made smaller, with accumulation instead of "
    "the rest: {why}"
)
_FIRST = f"trial {{trial_id}} {FIRST_ERROR}, so the study ends here: {{why}}\n\n{{error}}"
