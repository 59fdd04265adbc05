"""/v1: the HTTP API. Imported on first use, since FastAPI takes half a second."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, TypeVar

from fastapi import FastAPI, Query, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from longcall.core import target, wire
from longcall.core.errors import FieldError, InvalidArgumentError, LongcallError
from longcall.core.task import Kind, State, Task
from longcall.core.text import duration_text, time_text
from longcall.engine import ports
from longcall.engine.changes import Changes
from longcall.engine.control import Control
from longcall.engine.events import SILENCE, TaskEvents
from longcall.engine.lease import alive
from longcall.engine.ports import Clock
from longcall.engine.requeue import Requeue
from longcall.engine.stats import Stats
from longcall.engine.submit import Submitter
from longcall.web import body, events, fields, problems, trace
from longcall.web.download import harmless
from longcall.web.mistakes import mistakes
from longcall.web.render import Renderer
from longcall.web.schema import Reader, TaskIn

_REF = "#/components/schemas/{model}"
_TEXT, _TIME, _COUNT, _OBJECT = (
    {"type": "string"},
    {"type": "string", "format": "date-time"},
    {"type": "integer", "minimum": 0},
    {"type": "object"},
)
_PROBLEM_FIELDS = {"type": _TEXT, "title": _TEXT, "status": _COUNT, "detail": _TEXT, "instance": _TEXT, "code": _TEXT}
_PROBLEM: dict[str, Any] = {
    "content": {"application/problem+json": {"schema": {"type": "object", "properties": _PROBLEM_FIELDS, "required": [*_PROBLEM_FIELDS]}}}
}
# What every view of a task has, at least; docs/reference.md tells of the rest.
_VIEW_FIELDS: dict[str, Any] = {
    "id": _TEXT,
    "state": {"enum": [*State]},
    "kind": {"enum": [*Kind]},
    "version": {"type": "integer", "minimum": 1},
    "createTime": _TIME,
    "updateTime": _TIME,
    "attemptCount": _COUNT,
    "links": _OBJECT,
}
_VIEW = {"type": "object", "properties": _VIEW_FIELDS, "required": [*_VIEW_FIELDS]}
_PAGE = {
    "type": "object",
    "properties": {"tasks": {"type": "array", "items": _VIEW}, "nextPageToken": _TEXT},
    "required": ["tasks", "nextPageToken"],
}
_STATS_FIELDS: dict[str, Any] = {
    "byState": {"type": "object", "properties": {state.value: _COUNT for state in State}, "required": [*State]},
    "running": _COUNT,
    "overdue": _COUNT,
    "oldest": {"type": ["string", "null"], "format": "date-time"},
}
_STATS = {"type": "object", "properties": _STATS_FIELDS, "required": [*_STATS_FIELDS]}
_YES_OR_NO = {"type": "boolean"}
_RUNNER_FIELDS: dict[str, Any] = {
    "name": _TEXT,
    "startTime": _TIME,
    "leaseAge": _TEXT,
    "calls": _COUNT,
    "good": _YES_OR_NO,
    "drained": _YES_OR_NO,
    "gone": _YES_OR_NO,
}
_RUNNER = {"type": "object", "properties": _RUNNER_FIELDS, "required": [*_RUNNER_FIELDS]}
_RUNNERS = {"type": "object", "properties": {"runners": {"type": "array", "items": _RUNNER}}, "required": ["runners"]}
_COMMON: dict[int | str, dict[str, Any]] = {
    400: {"description": "Invalid", **_PROBLEM},
    401: {"description": "Nobody is known to be calling", **_PROBLEM},
    403: {"description": "Not allowed", **_PROBLEM},
    431: {"description": "Too large a head", **_PROBLEM},
    503: {"description": "Out of reach", **_PROBLEM},
}
_BODY: dict[int | str, dict[str, Any]] = {
    408: {"description": "The body came too slowly", **_PROBLEM},
    413: {"description": "Too large", **_PROBLEM},
    415: {"description": "Not JSON", **_PROBLEM},
}


def _good(schema: dict[str, Any], status: int = 200, description: str = "Done") -> dict[int | str, dict[str, Any]]:
    return {status: {"description": description, "content": {"application/json": {"schema": schema}}}}


_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "No such task", **_PROBLEM}}


Model = TypeVar("Model", bound=BaseModel)


class _Given(BaseModel):
    """What a request may hold: camelCase, and closed to unknown fields."""

    model_config: ClassVar[ConfigDict] = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class RequeueIn(_Given):
    """The body of a requeue."""

    dry_run: bool = False


class ReadQuery(_Given):
    """How to read one task."""

    wait: fields.Patience | None = Field(default=None, description="answer once the task has ended, or after so long; 60s at most")


class ListQuery(_Given):
    """Which tasks to list."""

    state: list[State] = Field(default_factory=list)
    label: Annotated[str, Field(pattern=r"^[^:\s]{1,63}:.*$", description="name:value")] | None = None
    reason: str | None = None
    host: str | None = None
    created_after: fields.Time | None = None
    created_before: fields.Time | None = None
    updated_after: fields.Time | None = None
    overdue: bool = False
    kind: Kind = Kind.CALL
    page_size: Annotated[int, Field(ge=1, le=500)] = 50
    page_token: str = ""

    def to_query(self, now: datetime) -> ports.Query:
        """The engine's question."""
        name, colon, value = (self.label or "").partition(":")
        return ports.Query(
            kind=self.kind,
            states=frozenset(self.state),
            label=(name, value) if colon else None,
            reason=self.reason,
            host=self.host,
            created_after=self.created_after,
            created_before=self.created_before,
            updated_after=self.updated_after,
            overdue_at=now if self.overdue else None,
            limit=self.page_size,
            token=self.page_token,
        )


_QUERIES: dict[str, type[BaseModel]] = {
    "/v1/tasks": ListQuery,
    "/v1/tasks/{task_id}": ReadQuery,
    "/v1/tasks/{task_id}/events": events.TaskEventsQuery,
    "/v1/events": events.ChangesQuery,
}


@dataclass(frozen=True)
class Parts:
    """What the API calls and renders with."""

    submitter: Submitter
    control: Control
    requeue: Requeue
    clock: Clock
    reader: Reader
    renderer: Renderer
    stats: Stats
    asks_for_token: bool = False
    silence: float = SILENCE  # seconds until a stream without events gives a sign of life
    short: bool = False  # answers are collected and sent whole, as App Engine does: a stream ends after its first events
    baggage: bool = False

    async def view(self, task: Task) -> wire.Json:
        """A task with its callbacks, as readers see it."""
        return self.renderer.view(task, await self.control.callbacks(task))


def make(parts: Parts) -> FastAPI:
    """The API as an ASGI app."""
    known = [Security(HTTPBearer(auto_error=False))] if parts.asks_for_token else []  # says so in the schema; the gate has asked before
    api = FastAPI(title="Longcall", openapi_url="/openapi.json", docs_url=None, redoc_url=None, dependencies=known)
    for kind in (LongcallError, HTTPException, Exception):
        api.add_exception_handler(kind, problems.answer)
    api.add_exception_handler(RequestValidationError, _mistaken)
    _publish(api, TaskIn, RequeueIn)
    _add_create(api, parts)
    _add_verbs(api, parts)
    _add_reads(api, parts)
    _add_stats(api, parts.stats)
    events.add(api, _streams(parts), _COMMON, _NOT_FOUND)
    return api


def _publish(api: FastAPI, *models: type[BaseModel]) -> None:
    """Say in the schema what lies deeper in bodies that we read ourselves."""
    made = api.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        known = schema.setdefault("components", {}).setdefault("schemas", {})
        for model in models:
            known.update(model.model_json_schema(ref_template=_REF).get("$defs", {}))
        return schema

    api.openapi = openapi  # type: ignore[method-assign] # https://fastapi.tiangolo.com/how-to/extending-openapi/


def _body_of(model: type[BaseModel], *, required: bool) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=_REF)
    schema.pop("$defs", None)
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def _streams(parts: Parts) -> events.Streams:
    silence = events.SHORT if parts.short else parts.silence
    watch, changes = TaskEvents(parts.control, silence), Changes(parts.control, silence)
    return events.Streams(watch, changes, parts.view, parts.renderer.row, parts.short)


def _add_create(api: FastAPI, parts: Parts) -> None:
    conflict: dict[int | str, dict[str, Any]] = {
        409: {"description": "Exists and differs", **_PROBLEM},
        429: {"description": "Too often", **_PROBLEM},
    }

    answers = {**_good(_VIEW, 201, "Made"), **_good(_VIEW, description="It existed"), **_COMMON, **_BODY, **conflict}

    @api.post("/v1/tasks", status_code=201, responses=answers, openapi_extra=_body_of(TaskIn, required=True))
    async def create_task(request: Request) -> Response:
        """Create a task: 201 with the task, its `Location` and `warnings`.

        The same again answers 200 with the task that exists, and another one under its id 409.
        """
        task_id, spec = parts.reader.task(await body.read_json(request), parts.clock.now())
        caller = trace.caller(request, with_baggage=parts.baggage)
        submitted = await parts.submitter.submit(spec, task_id or _idempotency_key(request), caller)
        view = await parts.view(submitted.task) | {"warnings": target.warnings(spec)}
        status = HTTPStatus.CREATED if submitted.created else HTTPStatus.OK
        return _json(view, status, {"Location": view["links"]["self"]})


def _add_verbs(api: FastAPI, parts: Parts) -> None:
    responses = {**_COMMON, **_NOT_FOUND, 409: {"description": "Not in a state for that", **_PROBLEM}}
    viewed = {**responses, **_good(_VIEW)}

    @api.post("/v1/tasks:requeue", responses={**_COMMON, **_BODY, **_good(_OBJECT)}, openapi_extra=_body_of(RequeueIn, required=False))
    async def requeue(request: Request) -> Response:
        """Queue again whatever is overdue by five minutes: the way back after a purge. With `dryRun`, only say what."""
        asked = _read_body(RequeueIn, await body.read_json(request, empty={}))
        found = await parts.requeue(dry_run=asked.dry_run)
        return _json({"dryRun": asked.dry_run, "waiting": found.waiting, "running": found.running, "untold": found.untold})

    @api.post("/v1/tasks/{task_id}:cancel", responses=viewed)
    async def cancel(task_id: str) -> Response:
        """Cancel a task: a waiting one ends at once, a running one is closed by its runner within two seconds.

        Its target may go on working. 409 when it SUCCEEDED or FAILED.
        """
        return _json(await parts.view(await parts.control.cancel(task_id)))

    @api.post("/v1/tasks/{task_id}:retry", responses=viewed)
    async def retry(task_id: str) -> Response:
        """Run a failed or cancelled task again, with a fresh budget and its history kept; a waiting one now. 409 when it SUCCEEDED."""
        return _json(await parts.view(await parts.control.retry(task_id)))

    @api.delete("/v1/tasks/{task_id}", status_code=204, responses=responses)
    async def forget(task_id: str) -> Response:
        """Forget an ended task, its bodies and its ended callbacks.

        409 before it has ended, or while its first message waits for its scheduleTime.
        """
        await parts.control.forget(task_id)
        return Response(status_code=204)


def _read_body(model: type[Model], data: object) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise mistakes(error.errors(), model) from None


def _add_reads(api: FastAPI, parts: Parts) -> None:
    @api.get("/v1/tasks", responses={**_COMMON, **_good(_PAGE)})
    async def list_tasks(query: Annotated[ListQuery, Query()]) -> Response:
        """List tasks, newest first, without bodies and attempts; `nextPageToken` is the next page's `pageToken`."""
        page = await parts.control.page(query.to_query(parts.clock.now()))
        return _json({"tasks": [parts.renderer.row(task) for task in page.tasks], "nextPageToken": page.next_token})

    @api.get("/v1/tasks/{task_id}", responses={**_COMMON, **_NOT_FOUND, **_good(_VIEW)})
    async def get_task(task_id: str, query: Annotated[ReadQuery, Query()]) -> Response:
        """Read a task; with `wait`, once it has ended or the time is up, also for an id not seen yet."""
        patience = query.wait.total_seconds() if query.wait is not None else 0
        return _json(await parts.view(await parts.control.read(task_id, patience)))

    link: dict[int | str, dict[str, Any]] = {302: {"description": "It is read at this URL, which is good for five minutes"}}

    @api.get("/v1/tasks/{task_id}/response", responses={**_COMMON, **_NOT_FOUND, **link}, response_class=StreamingResponse)
    async def get_response(task_id: str) -> Response:
        """The body of the last response, as it came, as an attachment that never runs in this origin.

        From a bucket a 302 to a signed URL that is good for five minutes, where there is something to sign with.
        """
        task, where = await parts.control.body(task_id)
        if isinstance(where, str):
            return Response(status_code=302, headers={"location": where, "cache-control": "no-store", "referrer-policy": "no-referrer"})
        return StreamingResponse(where, headers=harmless(task.response.headers if task.response else {}))


def _add_stats(api: FastAPI, stats: Stats) -> None:
    @api.get("/v1/stats", responses={**_COMMON, **_good(_STATS)})
    async def get_stats() -> Response:
        """How many calls stand where (`byState`), run and are overdue, at most two seconds ago.

        `oldest` is the createTime of the oldest that has not ended.
        """
        counts = await stats.counts.get()
        by_state = {state.value: counts.by_state.get(state, 0) for state in State}
        oldest = time_text(counts.oldest) if counts.oldest else None
        return _json({"byState": by_state, "running": by_state[State.RUNNING], "overdue": counts.overdue, "oldest": oldest})

    @api.get("/v1/runners", responses={**_COMMON, **_good(_RUNNERS)})
    async def get_runners() -> Response:
        """All runners known, at most two seconds ago. `good`: it may take tasks; `drained`: it was told to stop; `gone`: it has."""
        return _json({"runners": [_runner(each) for each in await stats.runners.get()]})


def _runner(runner: ports.Runner) -> wire.Json:
    return {
        "name": runner.name,
        "startTime": time_text(runner.start_time),
        "leaseAge": duration_text(runner.age),
        "calls": runner.calls,
        "good": alive(runner),
        "drained": runner.drained,
        "gone": runner.gone,
    }


def _idempotency_key(request: Request) -> str | None:
    """The draft standard's header: a quoted string, or a bare one."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    bare = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not fields.is_id(bare):
        raise InvalidArgumentError(
            FieldError("/id", "the header Idempotency-Key is no id: 1 to 500 letters, digits, hyphens or underscores")
        )
    return bare


def _json(value: object, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    return Response(wire.dumps(value), status.value, headers, media_type="application/json")


async def _mistaken(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    model = _QUERIES.get(getattr(request.scope.get("route"), "path", ""))
    return await problems.answer(request, mistakes([each | {"loc": each["loc"][1:]} for each in found], model))
