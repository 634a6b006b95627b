"""The session that the first `Study.ask` opens, with its view and its callbacks; `engine.open_sessions` ends it."""

from __future__ import annotations

from lightning_hwtune.core.decisions import Done
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.engine.devices import check_present
from lightning_hwtune.engine.event_callbacks import EventCallbacks
from lightning_hwtune.engine.meters import check_meters
from lightning_hwtune.engine.open_sessions import OpenSession, take_over
from lightning_hwtune.engine.session import Session
from lightning_hwtune.forms.run_options import AskOptions
from lightning_hwtune.settings.run_rules import check_instances
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.training.context import require_no_segment

__all__ = ["opened_session"]


def opened_session(
    owner: object, spec: StudySpec, files: StudyFiles, storage: str | None, given: frozenset[str], options: AskOptions
) -> OpenSession:
    """Opens a session for ask and tell. If this is not allowed, it raises before anything is written.

    Args:
        owner: the study whose `ask` was called.
        given: the names of the options that were given.

    Raises:
        HwTuneError: as for `Study.ask`.
    """
    from lightning_hwtune.views.live import open_view

    check_instances(spec)
    check_present(spec.name, spec.pool)
    check_meters(spec.objectives, spec.pool)
    take_over(files.root, storage)
    require_no_segment()
    callbacks = EventCallbacks(options["callbacks"])
    observers = [callbacks.on_events]
    session = Session(spec, files, Limits.of(options), given=given, storage=storage, observers=observers)
    asked = OpenSession(owner, files.root, storage, session, callbacks, options["save_every"])
    state, is_shown = session.controller.state, options["progress"]
    view = open_view(state, files.root, storage, enabled=is_shown, owns_screen=False, is_asked=True)
    session.say = lambda text: view.line(text, session.clock.now())

    def tick() -> None:
        callbacks.tick(session.controller, session.clock.now())
        view.tick(session.clock.now())

    asked.manual.watch(tick)
    session.controller.choose_ladder(session.clock.now(), n_at_once=1)
    session.controller.plan_stage(session.clock.now())
    answer = session.controller.ask(session.clock.now(), session.controller.state.places)
    view.header(None, is_checked=False, is_over=isinstance(answer, Done))
    session.observers.append(view.on_events)
    session.note_network_file()
    session.observers.append(lambda events: view.tick(events[-1].at))  # no loop calls `tick` here
    return asked
