"""The REST face: https://cloud.google.com/tasks/docs/reference/rest on a local port, without credentials."""

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from longcall.queue import fields, messages, oidc
from longcall.queue.errors import Code, RefusedError, internal, invalid, missing
from longcall.queue.messages import Message
from longcall.queue.oidc import Issuer
from longcall.queue.service import QueueService
from longcall.queue.verbs import REST_VERBS

_log = logging.getLogger(__name__)

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_MAX_BODY = 4 * 1024 * 1024
"""What gRPC takes by default."""
# https://cloud.google.com/apis/docs/system-parameters
_NO_FIELDS = frozenset(
    {"access_token", "alt", "callback", "fields", "key", "oauth_token", "prettyPrint", "quotaUser", "uploadType", "upload_protocol"}
)


class _Rule(NamedTuple):
    """One call as https://google.aip.dev/127 writes it: the field in braces gets the name, ``body`` the body, * the whole request."""

    method: str
    path: str
    verb: str
    body: str = ""


_LOCATION = "projects/*/locations/*"
_QUEUE = f"{_LOCATION}/queues/*"
_TASK = f"{_QUEUE}/tasks/*"
_RULES = (
    _Rule("POST", f"{{parent={_QUEUE}}}/tasks", "CreateTask", "*"),
    _Rule("GET", f"{{parent={_QUEUE}}}/tasks", "ListTasks"),
    _Rule("GET", f"{{name={_TASK}}}", "GetTask"),
    _Rule("DELETE", f"{{name={_TASK}}}", "DeleteTask"),
    _Rule("POST", f"{{name={_TASK}}}:run", "RunTask", "*"),
    _Rule("POST", f"{{parent={_LOCATION}}}/queues", "CreateQueue", "queue"),
    _Rule("GET", f"{{parent={_LOCATION}}}/queues", "ListQueues"),
    _Rule("GET", f"{{name={_QUEUE}}}", "GetQueue"),
    _Rule("PATCH", f"{{queue.name={_QUEUE}}}", "UpdateQueue", "queue"),
    _Rule("DELETE", f"{{name={_QUEUE}}}", "DeleteQueue"),
    _Rule("POST", f"{{name={_QUEUE}}}:purge", "PurgeQueue", "*"),
    _Rule("POST", f"{{name={_QUEUE}}}:pause", "PauseQueue", "*"),
    _Rule("POST", f"{{name={_QUEUE}}}:resume", "ResumeQueue", "*"),
    _Rule("POST", f"{{resource={_QUEUE}}}:getIamPolicy", "GetIamPolicy", "*"),
    _Rule("POST", f"{{resource={_QUEUE}}}:setIamPolicy", "SetIamPolicy", "*"),
    _Rule("POST", f"{{resource={_QUEUE}}}:testIamPermissions", "TestIamPermissions", "*"),
    _Rule("GET", f"{{name={_LOCATION}}}", "GetLocation"),
    _Rule("GET", "{name=projects/*}/locations", "ListLocations"),
    _Rule("POST", f"{{parent={_QUEUE}}}/tasks:batchCreate", "BatchCreateTasks", "*"),
    _Rule("POST", f"{{parent={_QUEUE}}}/tasks:batchDelete", "BatchDeleteTasks", "*"),
    _Rule("POST", f"{{={_QUEUE}}}/tasks:buffer", "BufferTask"),
    _Rule("POST", f"{{={_TASK}}}:buffer", "BufferTask"),
    _Rule("GET", f"{{name={_LOCATION}/cmekConfig}}", "GetCmekConfig"),
    _Rule("PATCH", f"{{cmek_config.name={_LOCATION}/cmekConfig}}", "UpdateCmekConfig", "cmek_config"),
)


class _Call(NamedTuple):
    rule: _Rule
    field: str
    path: re.Pattern[str]


def _call(rule: _Rule) -> _Call:
    before, field, name, after = re.fullmatch(r"(.*)\{(.*)=(.*)\}(.*)", rule.path).groups()  # type: ignore[union-attr] # each has one name
    # Projects may have a colon in their ids, as in example.com:project; elsewhere it begins a custom verb.
    segments = name.replace("projects/*", r"projects/[^/]+").replace("/*", r"/[^/:]+")
    return _Call(rule, field, re.compile(f"{before}({segments}){after}"))


_CALLS = [_call(rule) for rule in _RULES]


def application(service: QueueService, issuer: Issuer, url: str) -> Starlette:
    """Return the ASGI application that is served at ``url``; errors are answered as Google's APIs do (https://google.aip.dev/193)."""

    async def answer(request: Request) -> Response:
        try:
            return await _answer(service, request)
        except RefusedError as refusal:
            return _refused(refusal)
        except ClientDisconnect:
            return Response()
        except Exception:  # noqa: BLE001 — nothing a client sends may end in less than an answer
            _log.exception("queue.rest_failed")
            return _refused(internal())

    async def nowhere(request: Request, _: Exception) -> Response:
        return _refused(_no_call(request))

    def document(path: str, value: Callable[[], object]) -> Route:
        async def show(_: Request) -> Response:
            return JSONResponse(value())

        return Route(path, show)

    return Starlette(
        routes=[
            Route("/v2/{path:path}", answer, methods=["GET", "POST", "PATCH", "DELETE"]),
            document(oidc.CONFIGURATION_PATH, lambda: issuer.configuration(url)),
            document(oidc.KEYS_PATH, issuer.jwks),
            document(oidc.CERTIFICATES_PATH, issuer.certificates),
        ],
        exception_handlers={404: nowhere, 405: nowhere},
    )


async def _answer(service: QueueService, request: Request) -> Response:
    _check_local(request)
    call, name = _matched(request)
    verb = REST_VERBS[call.rule.verb]
    message = _read(verb.request(), call.rule.body, request.query_params, await _body(request))
    if call.field:
        _set_name(message, call.field, name)
    return _answered(await verb.run(service, message), request.query_params)


def _check_local(request: Request) -> None:
    # A web page in the developer's browser must not reach this port, not even under a name that leads here.
    if request.url.hostname not in _LOCAL or "origin" in request.headers:
        raise RefusedError(Code.PERMISSION_DENIED, "The embedded queue answers local programs only, no web pages.")


def _matched(request: Request) -> tuple[_Call, str]:
    for call in _CALLS:
        if call.rule.method == request.method and (match := call.path.fullmatch(request.path_params["path"])):
            return call, match[1]
    raise _no_call(request)


def _no_call(request: Request) -> RefusedError:
    return missing(f"There is no call {request.method} {request.url.path}.")


def _read(message: Message, to: str, query: Mapping[str, str], body: bytes) -> Message:
    read: dict[str, Any] = {name: value for name, value in query.items() if name not in _NO_FIELDS and not name.startswith("$")}
    try:
        if to == "*":
            read |= _json_object(body)
        elif to:
            read[to] = _json_object(body)
        return json_format.ParseDict(read, message)
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


def _answered(message: Message, query: Mapping[str, str]) -> Response:
    # The official client asks for $alt=json;enum-encoding=int.
    as_integers = "enum-encoding=int" in query.get("$alt", "")
    answer = json_format.MessageToDict(message, use_integers_for_enums=as_integers)
    if wanted := query.get("fields", query.get("$fields", "")):
        answer = fields.selected(answer, wanted, message.DESCRIPTOR)
    return JSONResponse(answer)


def _refused(refusal: RefusedError) -> Response:
    code = refusal.code
    error: dict[str, object] = {"code": code.http_status, "message": str(refusal), "status": code.name}
    if refusal.explained is not None:
        error["details"] = [json_format.MessageToDict(messages.help_message(refusal.explained))]
    return JSONResponse({"error": error}, status_code=code.http_status)
