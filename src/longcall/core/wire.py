"""Tasks and records as JSON: camelCase, durations and times as protobuf JSON has them, bytes as base64.

What is read here was written here (the store, our own messages). Strangers' JSON goes through web/schema.py, which says what is wrong.
"""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any, TypeVar, assert_never

from longcall.core.attempt import Attempt, Response, Trouble
from longcall.core.errors import NewerSchemaError
from longcall.core.retry import Budget, Jitter, RetryPolicy
from longcall.core.task import (
    SCHEMA,
    Callback,
    Failure,
    HttpRequest,
    Kind,
    NoAuth,
    OAuthToken,
    OidcToken,
    State,
    StoredBody,
    Task,
    TaskSpec,
    Unreadable,
)
from longcall.core.text import bytes_text, duration_text, parse_bytes, parse_duration, parse_time, time_text
from longcall.core.trace import TraceContext

# How deep JSON of strangers may be nested: what Python's parser just takes, its writer may not, called from a deeper place.
MAX_DEPTH = 100

Json = dict[str, Any]
Read = TypeVar("Read")


def dumps(value: object) -> bytes:
    """Compact UTF-8 JSON. Half a character (a lone surrogate), which UTF-8 can't hold, becomes a question mark."""
    return _WRITER.encode(value).encode(errors="replace")


def loads(raw: bytes | str) -> Any:  # noqa: ANN401 — any JSON
    """Parse JSON as RFC 8259 has it: UTF-8, no NaN, no number beyond reckoning, no half a character. Raises ValueError."""
    text = raw if isinstance(raw, str) else raw.decode()
    try:
        value = _READER.decode(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def is_deep(value: object) -> bool:
    """Tell whether JSON is nested more than MAX_DEPTH deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for each in level if isinstance(each, dict | list) for child in (each.values() if isinstance(each, dict) else each)]
        if not level:
            return False
    return any(isinstance(each, dict | list) for each in level)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# Made once: json's own functions make one for every call with options.
_WRITER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_READER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _maybe(read: Callable[[Any], Read], value: Any) -> Read | None:  # noqa: ANN401 — any JSON
    return None if value is None else read(value)


# The task as asked for


def spec_to_json(spec: TaskSpec) -> Json:
    """Section 4's JSON with every default filled in; times and durations in their normal form, so equal specs give equal JSON."""
    return {
        "httpRequest": _request_to_json(spec.request),
        "scheduleTime": _maybe(time_text, spec.schedule_time),
        "attemptTimeout": duration_text(spec.attempt_timeout),
        "connectTimeout": duration_text(spec.connect_timeout),
        "idleTimeout": _maybe(duration_text, spec.idle_timeout),
        "taskTimeout": _maybe(duration_text, spec.task_timeout),
        "retry": _retry_to_json(spec.retry),
        "callback": _maybe(_callback_to_json, spec.callback),
        "labels": dict(spec.labels),
    } | ({"signWith": spec.sign_with} if spec.sign_with else {})


def spec_from_json(data: Json) -> TaskSpec:
    """Read what `spec_to_json` wrote."""
    return TaskSpec(
        request=_request_from_json(data["httpRequest"]),
        schedule_time=_maybe(parse_time, data.get("scheduleTime")),
        attempt_timeout=parse_duration(data["attemptTimeout"]),
        connect_timeout=parse_duration(data["connectTimeout"]),
        idle_timeout=_maybe(parse_duration, data.get("idleTimeout")),
        task_timeout=_maybe(parse_duration, data.get("taskTimeout")),
        retry=_retry_from_json(data["retry"]),
        callback=_maybe(_callback_from_json, data.get("callback")),
        sign_with=data.get("signWith"),
        labels=data.get("labels", {}),
    )


def _request_to_json(request: HttpRequest) -> Json:
    data: Json = {"url": request.url, "httpMethod": request.method, "headers": dict(request.headers)}
    if isinstance(request.body, StoredBody):
        data["storedBody"] = {"size": request.body.size, "sha256": request.body.sha256}
    elif request.body:
        data["body"] = bytes_text(request.body)
    return data | _auth_to_json(request.auth)


def _auth_to_json(auth: OidcToken | OAuthToken | NoAuth | None) -> Json:
    match auth:
        case OidcToken(email, audience):
            return {"oidcToken": {"serviceAccountEmail": email} | ({"audience": audience} if audience else {})}
        case OAuthToken(email, scope):
            return {"oauthToken": {"serviceAccountEmail": email, "scope": scope}}
        case NoAuth():
            return {"auth": "none"}
        case None:
            return {}
        case _:
            assert_never(auth)


def _request_from_json(data: Json) -> HttpRequest:
    stored = data.get("storedBody")
    return HttpRequest(
        url=data["url"],
        method=data["httpMethod"],
        headers=data.get("headers", {}),
        body=StoredBody(stored["size"], stored["sha256"]) if stored else parse_bytes(data.get("body", "")),
        auth=_auth_from_json(data),
    )


def _auth_from_json(data: Json) -> OidcToken | OAuthToken | NoAuth | None:
    if oidc := data.get("oidcToken"):
        return OidcToken(oidc["serviceAccountEmail"], oidc.get("audience"))
    if oauth := data.get("oauthToken"):
        return OAuthToken(oauth["serviceAccountEmail"], oauth["scope"])
    return NoAuth() if data.get("auth") == "none" else None


def _callback_to_json(callback: Callback) -> Json:
    told = {
        "on": list(callback.on),
        "retry": _retry_to_json(callback.retry),
        "attemptTimeout": duration_text(callback.attempt_timeout),
    }
    if callback.topic is not None:
        return {"pubsub": {"topic": callback.topic}} | told
    return {"url": callback.url, "secret": callback.secret, "headers": dict(callback.headers)} | told | _auth_to_json(callback.auth)


def _callback_from_json(data: Json) -> Callback:
    told: Json = {
        "on": tuple(data["on"]),
        "retry": _retry_from_json(data["retry"]),
        "attempt_timeout": parse_duration(data["attemptTimeout"]),
    }
    if "pubsub" in data:
        return Callback(topic=data["pubsub"]["topic"], **told)
    auth = _auth_from_json(data)
    return Callback(data["url"], secret=data["secret"], headers=data["headers"], auth=auth if isinstance(auth, OidcToken) else None, **told)


def _retry_to_json(policy: RetryPolicy) -> Json:
    return {
        "maxAttempts": policy.max_attempts,
        "minBackoff": duration_text(policy.min_backoff),
        "maxBackoff": duration_text(policy.max_backoff),
        "multiplier": policy.multiplier,
        "jitter": policy.jitter.value,
        "retryOn": list(policy.retry_on),
    }


def _retry_from_json(data: Json) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=data["maxAttempts"],
        min_backoff=parse_duration(data["minBackoff"]),
        max_backoff=parse_duration(data["maxBackoff"]),
        multiplier=data["multiplier"],
        jitter=Jitter(data["jitter"]),
        retry_on=tuple(data["retryOn"]),
    )


def differing(one: TaskSpec, other: TaskSpec) -> tuple[str, ...]:
    """Name the fields, as JSON pointers, in which two specs differ. A body counts by its content, wherever it lies."""
    return tuple(_differing(_comparable(one), _comparable(other), ""))


def _comparable(spec: TaskSpec) -> Json:
    data = spec_to_json(spec)
    request = data["httpRequest"]
    request.pop("storedBody", None)
    request["body"] = body_digest(spec.request.body)
    return data


def body_digest(body: bytes | StoredBody) -> str:
    """SHA-256 of a request body, in hex."""
    return body.sha256 if isinstance(body, StoredBody) else hashlib.sha256(body).hexdigest()


def _differing(one: Any, other: Any, pointer: str) -> list[str]:  # noqa: ANN401 — any JSON
    if isinstance(one, dict) and isinstance(other, dict) and pointer in {"", "/httpRequest", "/retry", "/callback"}:
        keys = dict.fromkeys([*one, *other])
        return [found for key in keys for found in _differing(one.get(key), other.get(key), f"{pointer}/{key}")]
    return [] if one == other else [pointer]


# The record


def task_to_json(task: Task) -> Json:
    """The whole record, as a store keeps it. Fields of newer releases go back as they came."""
    asked = {"raw": bytes_text(task.spec.raw)} if isinstance(task.spec, Unreadable) else spec_to_json(task.spec)
    return {
        "id": task.id,
        "state": task.state.value,
        "kind": task.kind.value,
        "parent": task.parent,
        "version": task.version,
        "createTime": time_text(task.create_time),
        "updateTime": time_text(task.update_time),
        "finishTime": _maybe(time_text, task.finish_time),
        "nextAttemptTime": _maybe(time_text, task.next_attempt_time),
        "cancelRequestTime": _maybe(time_text, task.cancel_request_time),
        **asked,
        "attemptCount": task.attempt_count,
        "attempts": [_attempt_to_json(attempt) for attempt in task.attempts],
        "failure": _maybe(_failure_to_json, task.failure),
        "response": _maybe(response_to_json, task.response),
        "queue": task.queue,
        "owner": task.owner,
        "budget": {"start": time_text(task.budget.start), "tries": task.budget.tries, "drains": task.budget.drains},
        "trace": task.trace,
        **({"traceContext": _origin_to_json(task.origin)} if task.origin else {}),
        "schema": SCHEMA,
        **task.extra,
    }


def task_from_json(data: Json) -> Task:
    """Read what `task_to_json` wrote, in this release or the next. Raises NewerSchemaError for a record with a higher `schema`."""
    if data["schema"] > SCHEMA:
        raise NewerSchemaError(f"task {data['id']} has schema {data['schema']}; this release reads up to {SCHEMA}")
    failure = _maybe(_failure_from_json, data["failure"])
    return Task(
        id=data["id"],
        spec=Unreadable(parse_bytes(data["raw"]), failure.message if failure else "") if "raw" in data else spec_from_json(data),
        state=State(data["state"]),
        kind=Kind(data["kind"]),
        parent=data["parent"],
        queue=data["queue"],
        version=data["version"],
        trace=data["trace"],
        origin=_origin_from_json(data["trace"], data["traceContext"]) if "traceContext" in data else None,
        create_time=parse_time(data["createTime"]),
        update_time=parse_time(data["updateTime"]),
        finish_time=_maybe(parse_time, data["finishTime"]),
        next_attempt_time=_maybe(parse_time, data["nextAttemptTime"]),
        cancel_request_time=_maybe(parse_time, data["cancelRequestTime"]),
        owner=data["owner"],
        budget=Budget(parse_time(data["budget"]["start"]), data["budget"]["tries"], data["budget"]["drains"]),
        attempt_count=data["attemptCount"],
        attempts=tuple(_attempt_from_json(attempt) for attempt in data["attempts"]),
        failure=failure,
        response=_maybe(_response_from_json, data["response"]),
        extra={key: data[key] for key in data.keys() - _KNOWN},
    )


_KNOWN = frozenset(
    {
        "schema",
        "id",
        "raw",
        "httpRequest",
        "scheduleTime",
        "attemptTimeout",
        "connectTimeout",
        "idleTimeout",
        "taskTimeout",
        "retry",
        "callback",
        "signWith",
        "labels",
        "state",
        "kind",
        "parent",
        "queue",
        "version",
        "trace",
        "traceContext",
        "createTime",
        "updateTime",
        "finishTime",
        "nextAttemptTime",
        "cancelRequestTime",
        "owner",
        "budget",
        "attemptCount",
        "attempts",
        "failure",
        "response",
    }
)
_KNOWN_OF_ATTEMPT = frozenset(
    {"number", "runner", "startTime", "sentTime", "endTime", "outcome", "status", "mayHaveRun", "error", "retryTime", "span"}
)


def _origin_to_json(origin: TraceContext) -> Json:
    said = {"span": origin.span, "parent": origin.parent, "state": origin.state, "baggage": origin.baggage}
    return {"sampled": origin.sampled} | {name: value for name, value in said.items() if value}


def _origin_from_json(trace: str, data: Json) -> TraceContext:
    return TraceContext(trace, **{name: data[name] for name in ("span", "parent", "sampled", "state", "baggage") if name in data})


def _attempt_to_json(attempt: Attempt) -> Json:
    return {
        **attempt.extra,
        "number": attempt.number,
        "runner": attempt.runner,
        "startTime": time_text(attempt.start_time),
        "sentTime": _maybe(time_text, attempt.sent_time),
        "endTime": _maybe(time_text, attempt.end_time),
        "outcome": attempt.outcome,
        "status": attempt.status,
        "mayHaveRun": attempt.may_have_run,
        "error": _maybe(_trouble_to_json, attempt.trouble),
        "retryTime": _maybe(time_text, attempt.retry_time),
    } | ({"span": attempt.span} if attempt.span else {})


def _attempt_from_json(data: Json) -> Attempt:
    return Attempt(
        number=data["number"],
        runner=data["runner"],
        start_time=parse_time(data["startTime"]),
        sent_time=_maybe(parse_time, data["sentTime"]),
        end_time=_maybe(parse_time, data["endTime"]),
        outcome=data["outcome"],
        status=data["status"],
        may_have_run=data["mayHaveRun"],
        trouble=_maybe(_trouble_from_json, data["error"]),
        retry_time=_maybe(parse_time, data["retryTime"]),
        span=data.get("span", ""),
        extra={key: data[key] for key in data.keys() - _KNOWN_OF_ATTEMPT},
    )


def _trouble_to_json(trouble: Trouble) -> Json:
    return {"code": trouble.code, "message": trouble.message} | ({"hint": trouble.hint} if trouble.hint else {})


def _trouble_from_json(data: Json) -> Trouble:
    return Trouble(data["code"], data["message"], data.get("hint"))


def _failure_to_json(failure: Failure) -> Json:
    return {"reason": failure.reason, "message": failure.message, "mayHaveRun": failure.may_have_run}


def _failure_from_json(data: Json) -> Failure:
    return Failure(data["reason"], data["message"], data["mayHaveRun"])


def response_to_json(response: Response) -> Json:
    """The response as the record keeps it."""
    return {
        "status": response.status,
        "headers": dict(response.headers),
        "size": response.size,
        "sha256": response.sha256,
        "truncated": response.truncated,
        "closeDelimited": response.close_delimited,
        "inline": _maybe(bytes_text, response.inline),
        "location": response.location,
    }


def _response_from_json(data: Json) -> Response:
    return Response(
        status=data["status"],
        headers=data["headers"],
        size=data["size"],
        sha256=data["sha256"],
        truncated=data["truncated"],
        close_delimited=data["closeDelimited"],
        inline=_maybe(parse_bytes, data["inline"]),
        location=data["location"],
    )
