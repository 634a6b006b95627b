"""One run of a study, from the call of `Study.run` to its return.

A run refuses wrong arguments and starts the fork server, whose imports take seconds. Meanwhile it writes the training
function and takes the study's lease. Then it checks the training, and drives the controller until a limit is reached or
nothing is left to do. `Study` only describes the run.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast, final

from lightning_hwtune.core.decisions import Done
from lightning_hwtune.core.events import SessionClosed
from lightning_hwtune.core.hardware.scaling.profile import ScalingProfile
from lightning_hwtune.core.ladder_choice import likely_spec
from lightning_hwtune.core.replication import Replication
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.engine.check import Check, run_check
from lightning_hwtune.engine.checkpoint_tests import function_name, run_tests, test_executor
from lightning_hwtune.engine.devices import check_present, crowded_cores
from lightning_hwtune.engine.event_callbacks import EventCallback, EventCallbacks
from lightning_hwtune.engine.executor import Abilities, Executor, RunSetup, await_imports, provider_of
from lightning_hwtune.engine.executors import Choice, abilities_of_choice, check_here, create_executor, maker_of
from lightning_hwtune.engine.fork_server import PRELOAD, fork_server
from lightning_hwtune.engine.hang import AUTO
from lightning_hwtune.engine.local import LocalExecutor
from lightning_hwtune.engine.loop import Loop
from lightning_hwtune.engine.meters import check_meters
from lightning_hwtune.engine.payload import Payload, check_function, drop_older, write_payload
from lightning_hwtune.engine.profiling import run_profile
from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.engine.session import Session
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.host.exit_message import exit_quickly, print_at_exit
from lightning_hwtune.host.session_signals import Signals, cause_of
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.settings.run_rules import check_instances, check_run, unjudged_devices
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.profiles import PROFILE, write_profile
from lightning_hwtune.text import TO_TEST_THE_REST, interrupted_text
from lightning_hwtune.training.context import require_no_segment

if TYPE_CHECKING:
    from lightning_hwtune.training.trial import Trial
    from lightning_hwtune.views.live import View

__all__ = ["Run", "TestFunction", "TrainFunction", "check_training", "profile_training", "test_study"]

TrainFunction = Callable[["Trial"], Any]
TestFunction = Callable[["Trial"], Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that has not begun; the arguments are those of `Study.run`. `given` has the names of those that were given.

    With a `replication`, it trains replicates instead of searching.

    Raises:
        ArgumentError: an argument is not allowed, or this machine has fewer GPUs than the study was created with.
    """

    spec: StudySpec
    files: StudyFiles
    storage: str | None
    reader: Reader
    train: TrainFunction
    limits: Limits
    given: frozenset[str]
    save_every: int | None = None
    hang_timeout: float | str | None = AUTO
    executor: Choice = "local"
    check: bool = True
    progress: bool = True
    preload: Sequence[str] = ()
    callbacks: Sequence[EventCallback | str] = ()
    replication: Replication | None = None

    def __post_init__(self) -> None:
        limits = self.limits
        if limits.max_trials is None and not limits.is_timed and self.replication is None:
            allowed = "at least one of the limits `max_trials`, `max_time` and `max_cost`"
            raise ArgumentError("max_trials", None, allowed, hint="For example max_trials=20.")
        EventCallbacks(self.callbacks)  # refuses a wrong import path before anything is written
        check_run(self.spec, limits, executor=self.executor, hang_timeout=self.hang_timeout)
        if not self._abilities.provides_nodes:  # otherwise each node is checked when it joins
            check_present(self.spec.name, self.spec.pool)
            check_meters(self.spec.objectives, self.spec.pool)
        check_here(self.executor, self.spec.pool)
        if maker_of(self.executor) is not None:
            check_function(self.train)

    @property
    def _abilities(self) -> Abilities:
        return abilities_of_choice(self.executor)

    def drive(self) -> Done:
        """Trains until a limit is reached or nothing is left to do; returns why it ended.

        Raises:
            HwTuneError: as for `Study.run`.
        """
        if self._abilities.trains_here:
            require_no_segment()
        if self._abilities.uses_fork_server:
            with fork_server().run((PRELOAD, *self.preload)):
                return self._drive(self._payload())
        return self._drive(self._payload())

    def _drive(self, payload: Payload | None) -> Done:
        with (
            _message_at_exit(f"{interrupted_text(self.files.root)}."),
            Signals() as signals,
            EventCallbacks(self.callbacks) as callbacks,
            Session(
                self.spec,
                self.files,
                self.limits,
                given=None if self.replication else self.given,
                storage=self.storage,
                replication=self.replication,
                rents=self._abilities.provides_nodes,
                observers=[callbacks.on_events],
            ) as session,
        ):
            if payload is not None:
                drop_older(payload)
            session.controller.plan_stage(session.clock.now())
            answer = session.controller.ask(session.clock.now(), session.controller.state.places)
            if isinstance(answer, Done):  # nothing is left to do, so nothing is checked either
                with self._view(session) as view:
                    view.header(payload, is_checked=False, is_over=True)
                    session.observers.append(view.on_events)
                    session.finish(answer)
                return answer
            if not self._is_checked(session):
                session.controller.choose_packing(session.clock.now())
                session.controller.choose_ladder(session.clock.now())
            with contextlib.closing(self._executor(payload, session)) as executor:
                return self._train(session, signals, executor, payload, callbacks)

    def _payload(self) -> Payload | None:
        """Returns the training function as a file, if the run creates an executor that needs one."""
        if not self._abilities.needs_payload or maker_of(self.executor) is None:
            return None
        self.reader.refuse_foreign(self.spec)
        return write_payload(self.train, self.files.root)

    @contextlib.contextmanager
    def _view(self, session: Session) -> Iterator[View]:
        from lightning_hwtune.views.live import open_view

        view = open_view(session.controller.state, self.files.root, self.storage, enabled=self.progress)
        session.say = lambda text: view.line(text, session.clock.now())
        try:
            yield view
        finally:
            view.close(session.clock.now())

    def _executor(self, payload: Payload | None, session: Session) -> Executor:
        maker = maker_of(self.executor)
        if maker is None:
            return cast("Executor", self.executor)
        setup = RunSetup(
            train=self.train,
            pool=self.spec.pool,
            n_ranks=(self.limits.max_parallel or self.spec.pool.places) * max(self.spec.allocator.counts),
            payload=payload.path if payload is not None else None,
            folder=self.files.root,
            preload=tuple(self.preload),
            hang_timeout=self.hang_timeout,
            say=lambda text: session.say(text),  # the view, once it is open
        )
        session.say = partial(print, file=sys.stderr, flush=True)
        return create_executor(maker, setup)

    def _train(
        self,
        session: Session,
        signals: Signals,
        executor: Executor,
        payload: Payload | None,
        callbacks: EventCallbacks,
    ) -> Done:
        """Checks the training if the study is new, then drives the controller with the executor."""
        with self._view(session) as view:

            def tick() -> None:
                session.tick()
                callbacks.tick(session.controller, session.clock.now())
                view.tick(session.clock.now())

            loop = Loop(
                session.controller, executor, session.clock, self.files, tick=tick, save_every=self.save_every,
                provider=provider_of(executor), inbox=session.inbox, say=lambda text: session.say(text),
            )  # fmt: skip
            try:
                with signals.acting():
                    is_checked = self._is_checked(session)
                    waits = (
                        not is_checked and self._abilities.uses_fork_server and bool(session.controller.state.trials)
                    )
                    view.header(payload, is_checked=is_checked, is_importing=waits)
                    if is_checked:
                        self._check(session, view, executor, payload)
                    elif waits:  # so that the forecast and the first segments do not include the imports
                        await_imports(executor, session.tick)
                        view.imported(session.clock.now())
                    session.observers.append(view.on_events)
                    session.note_network_file()
                    if not self._abilities.provides_nodes and (text := crowded_cores(self.spec.pool)):
                        session.controller.note_once(spelled(text), "crowded cores", session.clock.now())
                    if text := unjudged_devices(self.spec):
                        session.controller.note_once(spelled(text), "unjudged devices", session.clock.now())
                    done = loop.run()
                    session.finish(done)
                    return done
            except BaseException as error:
                if (why := cause_of(error)) and not self._abilities.trains_here:
                    # a second signal ends the wait, as does any error: the first one counts
                    with contextlib.suppress(KeyboardInterrupt, SystemExit, Exception), signals.acting():
                        loop.pause_soon(why)
                loop.interrupt(why or f"the session ended with {type(error).__name__}")
                raise
            finally:
                executor.close()  # before the last lines are printed

    def _is_checked(self, session: Session) -> bool:
        """Returns whether the training is checked first."""
        has_begun = any(trial.measurements for trial in session.controller.state.trials)
        return self.check and self._abilities.can_check and not has_begun

    def _check(self, session: Session, view: View, executor: Executor, payload: Payload | None) -> None:
        """Checks the training, and chooses the ladder by the start-up that the check has measured."""
        controller = session.controller
        view.checking()
        folder, limit_s = self.files.scratch("check"), self.hang_timeout
        spec = likely_spec(controller.spec, controller.state.limits)
        found = run_check(spec, executor, payload, folder, session.tick, hang_timeout_s=limit_s)
        controller.choose_packing(session.clock.now(), found.gpu_bytes, found.gpu_total_bytes)
        controller.choose_ladder(session.clock.now(), found.start_up)
        view.checked(found)
        for note in found.study_notes:  # shown now, so the trials do not need to repeat them
            controller.note_once(note.text, note.topic, session.clock.now())


def check_training(
    spec: StudySpec, files: StudyFiles, reader: Reader, train: TrainFunction, preload: Sequence[str]
) -> Check:
    """Checks the training without a run; see `Study.check`."""
    with _outside_a_run(spec, files, reader, train, preload) as (executor, payload):
        return run_check(likely_spec(spec, Limits()), executor, payload, files.scratch("check"))


def profile_training(
    spec: StudySpec,
    files: StudyFiles,
    reader: Reader,
    train: TrainFunction,
    preload: Sequence[str],
    **options: Any,
) -> ScalingProfile:
    """Measures a profile without a run; see `Study.profile`. `options` are those of `run_profile`."""
    with _outside_a_run(spec, files, reader, train, preload) as (executor, _):
        found = run_profile(likely_spec(spec, Limits()), executor, files.scratch("profile"), **options)
    write_profile(files.root / PROFILE, found)
    return found


def test_study(
    spec: StudySpec,
    files: StudyFiles,
    storage: str | None,
    function: TestFunction,
    trials: Sequence[int],
    preload: Sequence[str],
    *,
    closed: SessionClosed | None,
    progress: bool,
) -> None:
    """Tests the checkpoints of these trials in a session of the study; see `Study.test`.

    Args:
        closed: how the newest session ended; the study keeps this end.
    """
    from lightning_hwtune.views.kept_values import test_line
    from lightning_hwtune.views.live import printer

    check_present(spec.name, spec.pool)
    with (
        _message_at_exit(f"{interrupted_text(files.root, TO_TEST_THE_REST)}."),
        Signals() as signals,
        test_executor(function, files, preload) as executor,
        Session(spec, files, None, storage=storage) as session,
    ):
        session.ends_as_before(closed)
        say = printer(enabled=progress)
        with signals.acting():
            run_tests(session, executor, trials, function_name(function), lambda *result: say(test_line(*result)))


@contextlib.contextmanager
def _message_at_exit(text: str) -> Iterator[None]:
    """Makes an uncaught Ctrl-C end the script quickly, and prints one line instead of a traceback."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        exit_quickly()
        if isinstance(stop, KeyboardInterrupt):
            print_at_exit(stop, text)
        raise


@contextlib.contextmanager
def _outside_a_run(
    spec: StudySpec, files: StudyFiles, reader: Reader, train: TrainFunction, preload: Sequence[str]
) -> Iterator[tuple[LocalExecutor, Payload]]:
    """Yields an executor for segments that belong to no run, and the training function's file."""
    check_instances(spec)
    check_present(spec.name, spec.pool)
    check_meters(spec.objectives, spec.pool)
    check_function(train)
    with _message_at_exit("interrupted; no trial was started."), fork_server().run((PRELOAD, *preload)):
        reader.refuse_foreign(spec)
        payload = write_payload(train, files.root)
        with contextlib.closing(LocalExecutor(payload.path, preload=preload)) as executor:
            yield executor, payload
