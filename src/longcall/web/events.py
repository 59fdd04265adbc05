"""Server-sent events: one task's versions, and all tasks' changes.

The format is https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from longcall.core import wire
from longcall.core.errors import FieldError, InvalidArgumentError
from longcall.core.task import State, Task
from longcall.core.text import parse_time, time_text
from longcall.engine.changes import BACK, FAR_BACK, Change, Changes, Filter
from longcall.engine.events import Next, TaskEvents, what_next
from longcall.web import fields

SHORT = 25.0  # seconds that an answer may take where answers are collected and sent whole
HEAD = b"retry: 1000\n\n"  # milliseconds: whatever ends a stream, its reader is back a second later
COMMENT = b":\n\n"
# "no-transform" and X-Accel-Buffering: proxies that pack or collect would hold events back.
HEADERS = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
STREAM: dict[int | str, dict[str, Any]] = {200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}}


class TaskEventsQuery(BaseModel):
    """How to watch one task."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    wait: fields.Patience | None = Field(default=None, description="how long to wait for an id not seen yet; 60s at most")


class ChangesQuery(BaseModel):
    """Whose changes to watch."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    state: list[State] = Field(default_factory=list)
    label: Annotated[str, Field(pattern=r"^[^:\s]{1,63}:.*$", description="name:value")] | None = None

    def to_filter(self) -> Filter:
        """The engine's question."""
        name, colon, value = (self.label or "").partition(":")
        return Filter(frozenset(self.state), (name, value) if colon else None)


@dataclass(frozen=True)
class Streams:
    """What is watched, and how it is shown. `short`: an answer ends after its first events, and its reader comes back for more."""

    task_events: TaskEvents
    changes: Changes
    view: Callable[[Task], Awaitable[wire.Json]]
    row: Callable[[Task], wire.Json]
    short: bool = False

    async def of_task(self, versions: AsyncGenerator[Task | None, None]) -> AsyncGenerator[bytes, None]:
        """A task's versions as an event stream."""
        yield HEAD
        async with aclosing(versions):
            async for task in versions:
                yield COMMENT if task is None else event(str(task.version), await self.view(task))
                if self.short:
                    return

    async def of_all(self, changes: AsyncGenerator[Change, None]) -> AsyncGenerator[bytes, None]:
        """All tasks' changes as an event stream. A sign of life moves the reader's place on, without an event."""
        yield HEAD
        told = signs = 0
        async with aclosing(changes):
            async for change in changes:
                place = time_text(change.token) if change.token else ""
                yield event(place, self.row(change.task)) if change.task else _sign(place)
                told, signs = told + (change.task is not None), signs + (change.task is None)
                if self.short and ((told and signs) or signs > 1):  # the first sign only says that what was there has been told
                    return


def event(place: str, data: wire.Json) -> bytes:
    """One event; without a place, whoever comes back begins anew."""
    where = f"id: {place}\n".encode() if place else b""
    return b"event: task\n" + where + b"data: " + wire.dumps(data) + b"\n\n"


def _sign(place: str) -> bytes:
    return f":\nid: {place}\n\n".encode() if place else COMMENT


def add(api: FastAPI, streams: Streams, errors: dict[int | str, dict[str, Any]], missing: dict[int | str, dict[str, Any]]) -> None:
    """Add the two streams to the API; `errors` and `missing` are its ways to say what is wrong."""
    gone: dict[int | str, dict[str, Any]] = {204: {"description": "It has ended, and its end was told: come back no more"}}

    @api.get("/v1/tasks/{task_id}/events", responses={**errors, **missing, **STREAM, **gone}, response_class=StreamingResponse)
    async def watch_task(task_id: str, query: Annotated[TaskEventsQuery, Query()], request: Request) -> Response:
        """Watch a task: its view, now and at each change, up to its end. `Last-Event-ID` is the version seen last.

        404 for an id not there, unless `wait` waits for it.
        """
        told = _last(request, _version, "a task's version")
        stored = await streams.task_events.first(task_id, query.wait.total_seconds() if query.wait is not None else 0)
        if what_next(told, stored.task) is Next.END:
            return Response(status_code=204)
        return EventStream(streams.of_task(streams.task_events.after(stored, told)))

    @api.get("/v1/events", responses={**errors, **STREAM}, response_class=StreamingResponse)
    async def watch_all(query: Annotated[ChangesQuery, Query()], request: Request) -> Response:
        """Watch all calls, as lists show them: those that have not ended, then each change; with `Last-Event-ID` what came after it."""
        since = _last(request, parse_time, "a time, as it was given out")
        return EventStream(streams.of_all(streams.changes.after(since, query.to_filter(), BACK if streams.short else FAR_BACK)))


class EventStream(StreamingResponse):
    """Events as fast as their reader takes them. Whoever has gone is not watched for any longer."""

    def __init__(self, content: AsyncGenerator[bytes, None]) -> None:
        super().__init__(content, headers=HEADERS, media_type="text/event-stream")
        self._content = content

    async def stream_response(self, send: Send) -> None:
        """Send it all."""
        async with aclosing(self._content):
            await super().stream_response(send)


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 — what fits into 64 bits
        raise ValueError
    return int(text)


def _last(request: Request, read: Callable[[str], Any], what: str) -> Any:  # noqa: ANN401 — whatever `read` gives
    text = request.headers.get("last-event-id", "")
    try:
        return read(text) if text else None
    except ValueError:
        raise InvalidArgumentError(FieldError("/Last-Event-ID", f"the header is {what}, not {text!r}")) from None
