"""The REST face: https://cloud.google.com/tasks/docs/reference/rest on a local port, without credentials."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from longcall.queue.errors import Code, RefusedError, invalid
from longcall.queue.messages import Message
from longcall.queue.service import QueueService
from longcall.queue.verbs import VERBS

_PATH = re.compile(
    r"(?P<location>projects/[^/]+/locations/[^/]+)/queues"
    r"(?:/(?P<queue>[^/:]+)(?P<tasks>/tasks(?:/(?P<task>[^/:]+))?)?)?(?::(?P<action>\w+))?"
)
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_MAX_BODY = 4 * 1024 * 1024
"""What gRPC takes by default."""
_NO_FIELDS = frozenset({"alt", "key", "fields", "prettyPrint", "quotaUser"})


@dataclass(frozen=True, slots=True)
class _Call:
    verb: str
    name: str
    """The request's field that gets the name from the path."""
    body: str = ""
    """The request's field that gets the body; * for the whole request."""


_CALLS = {
    ("POST", "queues", ""): _Call("CreateQueue", "parent", "queue"),
    ("GET", "queues", ""): _Call("ListQueues", "parent"),
    ("GET", "queue", ""): _Call("GetQueue", "name"),
    ("PATCH", "queue", ""): _Call("UpdateQueue", "queue.name", "queue"),
    ("DELETE", "queue", ""): _Call("DeleteQueue", "name"),
    ("POST", "queue", "purge"): _Call("PurgeQueue", "name", "*"),
    ("POST", "queue", "pause"): _Call("PauseQueue", "name", "*"),
    ("POST", "queue", "resume"): _Call("ResumeQueue", "name", "*"),
    ("POST", "tasks", ""): _Call("CreateTask", "parent", "*"),
    ("GET", "tasks", ""): _Call("ListTasks", "parent"),
    ("GET", "task", ""): _Call("GetTask", "name"),
    ("DELETE", "task", ""): _Call("DeleteTask", "name"),
    ("POST", "task", "run"): _Call("RunTask", "name", "*"),
}
_UNIMPLEMENTED = frozenset({"batchCreate", "batchDelete", "buffer", "getIamPolicy", "setIamPolicy", "testIamPermissions"})


def application(service: QueueService) -> Starlette:
    """Return the ASGI application; errors are answered as Google's APIs do (https://google.aip.dev/193)."""

    async def answer(request: Request) -> Response:
        try:
            _check_local(request)
            call, name = _matched(request)
            verb = VERBS[call.verb]
            message = _read(verb.request(), call, request.query_params, await _body(request))
            _set_name(message, call.name, name)
            return _answered(await verb.run(service, message), request)
        except RefusedError as refusal:
            return _refused(refusal)

    methods = ["GET", "POST", "PATCH", "DELETE"]
    return Starlette(routes=[Route("/v2/{path:path}", answer, methods=methods)])


def _check_local(request: Request) -> None:
    # A web page in the developer's browser must not reach this port, not even under a name that leads here.
    if request.url.hostname not in _LOCAL or "origin" in request.headers:
        raise RefusedError(Code.PERMISSION_DENIED, "The embedded queue answers local programs only, no web pages.")


def _matched(request: Request) -> tuple[_Call, str]:
    path = request.path_params["path"]
    match = _PATH.fullmatch(path)
    if match is None:
        raise RefusedError(Code.NOT_FOUND, f"There is no call /v2/{path}.")
    action = match["action"] or ""
    call = _CALLS.get((request.method, _kind(match), action))
    if call is None and action in _UNIMPLEMENTED:
        raise RefusedError(Code.UNIMPLEMENTED, f"The embedded queue does not implement :{action}.")
    if call is None:
        raise RefusedError(Code.NOT_FOUND, f"There is no call {request.method} /v2/{path}.")
    name = match["location"] if _kind(match) == "queues" else path.removesuffix(f":{action}")
    return call, name.removesuffix("/tasks") if _kind(match) == "tasks" else name


def _kind(match: re.Match[str]) -> str:
    if match["queue"] is None:
        return "queues"
    if match["tasks"] is None:
        return "queue"
    return "tasks" if match["task"] is None else "task"


def _read(message: Message, call: _Call, query: Mapping[str, str], body: bytes) -> Message:
    fields: dict[str, Any] = {name: value for name, value in query.items() if name not in _NO_FIELDS and not name.startswith("$")}
    try:
        if call.body == "*":
            fields |= _json_object(body)
        elif call.body:
            fields[call.body] = _json_object(body)
        return json_format.ParseDict(fields, message)
    except (ValueError, RecursionError, json_format.ParseError) as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise invalid(f"Request payload size exceeds the limit: {_MAX_BODY} bytes.")
    return bytes(body)


def _json_object(body: bytes) -> dict[str, Any]:
    value = json.loads(body or b"{}")
    if not isinstance(value, dict):
        raise ValueError("The body must be a JSON object.")  # noqa: TRY004 — answered like any other bad JSON
    return value


def _set_name(message: Message, field: str, name: str) -> None:
    *outer, last = field.split(".")
    for part in outer:
        message = getattr(message, part)
    setattr(message, last, name)


def _answered(message: Message, request: Request) -> Response:
    # The official client asks for $alt=json;enum-encoding=int.
    as_integers = "enum-encoding=int" in request.query_params.get("$alt", "")
    return JSONResponse(json_format.MessageToDict(message, use_integers_for_enums=as_integers))


def _refused(refusal: RefusedError) -> Response:
    code = refusal.code
    error = {"code": code.http_status, "message": str(refusal), "status": code.name}
    return JSONResponse({"error": error}, status_code=code.http_status)
