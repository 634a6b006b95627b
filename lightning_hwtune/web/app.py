"""The server of `hwtune serve`: the page, its data as JSON, and what changes as server-sent events."""

from __future__ import annotations

import asyncio
import json
import mimetypes
from collections.abc import AsyncIterator, Callable
from typing import Any, final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from lightning_hwtune.errors import ArgumentError, HwTuneError, StudyNotFoundError
from lightning_hwtune.requesting import end_session, enqueue, stop_trial
from lightning_hwtune.stored_study import StoredStudy
from lightning_hwtune.views.export import json_text
from lightning_hwtune.web.access import Access
from lightning_hwtune.web.files import page_files, served_page
from lightning_hwtune.web.logs import log_tails
from lightning_hwtune.web.studies import Studies, Watcher
from lightning_hwtune.web.watched import Position

__all__ = ["KINDS", "make_app"]

KINDS = ("trials", "curves", "segments")
_ALIVE_S = 15.0  # how often a quiet stream gets a line, so that both ends notice a broken connection
_RETRY_MS = 500


def make_app(
    studies: Studies, token: str, port: int, hosts: tuple[str, ...] = (), *, controls: bool = False
) -> Starlette:
    """Returns the application.

    Args:
        port: the port under which pages address it.
        hosts: the names under which pages may address it; see `web.access.Access`.
        controls: whether the page has buttons that change a study.
    """
    pages = _Pages(studies, controls=controls)
    routes = [
        Route("/", pages.page),
        Route("/files/{name}", pages.file),
        Route("/data/studies", pages.studies),
        Route("/data/study", pages.study),
        Route("/data/trial", pages.trial),
        Route("/data/log", pages.log),
        Route("/data/importance", pages.importance),
        Route("/data/prior", pages.prior),
        Route("/events", pages.events),
        Route("/do/end", pages.end, methods=["POST"]),
        Route("/do/stop", pages.stop, methods=["POST"]),
        Route("/do/enqueue", pages.enqueue, methods=["POST"]),
    ]
    access = Middleware(Access, token=token, port=port, hosts=hosts, controls=controls)
    return Starlette(routes=routes, middleware=[access], exception_handlers={HwTuneError: _explained})


def _explained(_: Request, error: Exception) -> Response:
    is_missing = isinstance(error, StudyNotFoundError | ArgumentError)
    return JSONResponse({"error": str(error)}, 404 if is_missing else 500)


def _json(text: str, status: int = 200) -> Response:
    return Response(text, status, media_type="application/json")


def _trial_of(request: Request) -> int:
    text = request.query_params.get("trial", "")
    if not text.isascii() or not text.isdigit():
        raise ArgumentError("trial", text, "the number of a trial")
    return int(text)


@final
class _Pages:
    """The answers. A study is chosen by the parameter `study`; without it, it is the one that ran last."""

    def __init__(self, studies: Studies, *, controls: bool) -> None:
        self._studies, self._files, self._controls = studies, page_files(), controls

    async def page(self, _: Request) -> Response:
        return Response(served_page(controls=self._controls), media_type="text/html")

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            return PlainTextResponse("404: there is no such file\n", 404)
        kind = mimetypes.guess_type(name)[0] or "text/plain"
        return Response(self._files[name].read_bytes(), media_type=kind)

    async def studies(self, _: Request) -> Response:
        return _json(json_text(await asyncio.to_thread(self._studies.entries), indent=None))

    async def study(self, request: Request) -> Response:
        """Answers with the whole study. While its log is read for the first time, the answer has the events to read."""
        watcher = await self._watcher(request)
        kinds = [kind for kind in KINDS if kind in request.query_params.get("with", KINDS[0]).split(",")]
        watched = watcher.watched
        if watched.number == 0:
            if watcher.error:
                return JSONResponse({"error": watcher.error}, 500)
            n_events = await asyncio.to_thread(watched.chosen.reader.newest)
            return JSONResponse({"reading": watched.chosen.study.name, "events": n_events}, 202)
        return _json(await watcher.ask(watched.overview, kinds))

    async def trial(self, request: Request) -> Response:
        watcher = await self._watcher(request)
        return _json(await watcher.ask(watcher.watched.trial, _trial_of(request)))

    async def log(self, request: Request) -> Response:
        """Answers with the end of the output of a trial's newest segment."""
        chosen = (await self._watcher(request)).watched.chosen
        found = await asyncio.to_thread(log_tails, chosen.study.logs(_trial_of(request)))
        return _json(json_text(found, indent=None))

    async def importance(self, request: Request) -> Response:
        """Answers with the importance of the parameters."""
        return _json(await (await self._watcher(request)).importance())

    async def prior(self, request: Request) -> Response:
        """Answers with what the prior has learned and its weight."""
        chosen = (await self._watcher(request)).watched.chosen
        found = await asyncio.to_thread(StoredStudy(chosen.study, chosen.storage).prior)
        return _json(json_text(found, indent=None))

    async def events(self, request: Request) -> Response:
        """Streams what changes after `Last-Event-ID`, or after the parameter `after` of the first connection."""
        watcher = await self._watcher(request)
        given = request.headers.get("last-event-id") or request.query_params.get("after", "")
        number = int(given) if given.isascii() and given.isdigit() else 0
        position = Position(request.query_params.get("study_id"), number)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(_stream(watcher, position), media_type="text/event-stream", headers=headers)

    async def end(self, request: Request) -> Response:
        """Asks that the session of a running study ends."""
        return await self._ask(request, end_session)

    async def stop(self, request: Request) -> Response:
        """Asks that a trial ends for good."""
        return await self._ask(request, stop_trial, _trial_of(request))

    async def enqueue(self, request: Request) -> Response:
        """Asks that a configuration is tried next."""
        try:
            config = json.loads(await request.body())
        except (ValueError, RecursionError):
            config = None
        if not isinstance(config, dict):
            return JSONResponse({"error": "the configuration is not an object of JSON"}, 400)
        return await self._ask(request, enqueue, config)

    async def _ask(self, request: Request, ask: Callable[..., bool | None], *arguments: Any) -> Response:
        """Puts a request into the inbox of the study; `known` says that the study has this configuration already."""
        chosen = (await self._watcher(request)).watched.chosen
        try:
            found = await asyncio.to_thread(ask, StoredStudy(chosen.study, chosen.storage), *arguments)
        except ArgumentError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"asked": True, "known": found is False})

    async def _watcher(self, request: Request) -> Watcher:
        name = request.query_params.get("study") or (await asyncio.to_thread(self._studies.names))[0]
        return await self._studies.watcher(name)


async def _stream(watcher: Watcher, position: Position) -> AsyncIterator[str]:
    watcher.n_pages += 1
    shown = ""
    try:
        yield f"retry: {_RETRY_MS}\n\n"
        while True:
            seen = watcher.n_changes
            if watcher.watched.number and (text := await watcher.message(position)) is not None:
                yield f"id: {position.number}\ndata: {text}\n\n"
            elif watcher.error != shown:
                shown = watcher.error
                yield f"data: {json_text({'error': shown}, indent=None)}\n\n"
            else:
                yield ": \n\n"
            await watcher.changed(seen, _ALIVE_S)
    finally:
        watcher.n_pages -= 1
        watcher.want()
