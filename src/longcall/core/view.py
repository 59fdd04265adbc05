"""A task as readers see it: credentials redacted, what is only ours left out, the response shown as what it is."""

from collections.abc import Iterable, Mapping

from longcall.core.attempt import Response
from longcall.core.task import Task, TaskSpec, Unreadable
from longcall.core.text import bytes_text
from longcall.core.wire import Json, dumps, is_deep, loads, response_to_json, task_to_json

REDACTED = "REDACTED"
ALWAYS_REDACTED = frozenset({"authorization", "cookie"})


def view(task: Task, base_url: str, redact: frozenset[str] = ALWAYS_REDACTED, callbacks: Iterable[Task] = ()) -> Json:
    """What `GET /v1/tasks/{id}` answers: the record without what is only ours, credentials redacted, the body shown as what it is.

    `callbacks` are the tasks that tell of its ends.
    """
    data = task_to_json(task)
    del data["owner"], data["budget"]
    for ours in ("signWith", "traceContext"):
        data.pop(ours, None)
    if isinstance(task.spec, Unreadable):
        data["raw"] = _raw(task.spec.raw, redact)
    if "httpRequest" in data:
        data["httpRequest"]["headers"] = _redacted(data["httpRequest"]["headers"], redact)
    if "headers" in (data.get("callback") or {}):
        data["callback"]["headers"] = _redacted(data["callback"]["headers"], redact)
    if task.response is not None:
        data["response"] = _response_view(task.response, redact)
    own = f"{base_url}/v1/tasks/{task.id}"
    data["callbacks"] = [_told(each) for each in callbacks]
    data["links"] = {"self": own, "events": f"{own}/events"} | ({"response": f"{own}/response"} if task.response is not None else {})
    return data


def _raw(raw: bytes, redact: frozenset[str]) -> str | None:
    """What could not be read, in base64, without the credentials in it; None when it has some that can't be taken out."""
    if not any(name.encode() in raw.lower() for name in redact):
        return bytes_text(raw)
    try:
        data = loads(raw)
    except ValueError:
        return None
    return None if is_deep(data) else bytes_text(dumps(_without(data, redact)))


def _without(value: object, redact: frozenset[str]) -> object:
    if isinstance(value, dict):
        return {key: REDACTED if key.lower() in redact else _without(each, redact) for key, each in value.items()}
    return [_without(each, redact) for each in value] if isinstance(value, list) else value


def _told(callback: Task) -> Json:
    event = callback.spec.labels.get("longcall.event") if isinstance(callback.spec, TaskSpec) else None
    return {"event": event, "taskId": callback.id, "state": callback.state.value}


def row(task: Task, base_url: str, redact: frozenset[str] = ALWAYS_REDACTED) -> Json:
    """A list's entry: the view without bodies and attempts."""
    data = view(task, base_url, redact)
    for bulky in ("attempts", "raw"):
        data.pop(bulky, None)
    data.get("httpRequest", {}).pop("body", None)
    for bulky in ("json", "text", "body"):
        (data["response"] or {}).pop(bulky, None)
    return data


def _redacted(headers: Mapping[str, str], redact: frozenset[str]) -> Json:
    return {name: REDACTED if name.lower() in redact else value for name, value in headers.items()}


def _response_view(response: Response, redact: frozenset[str]) -> Json:
    data = response_to_json(response)
    del data["inline"], data["location"]
    data["headers"] = _redacted(data["headers"], redact | {"set-cookie"})
    if response.inline is None:
        return data
    return data | _readable(response.inline, response.header("content-type") or "")


def _readable(body: bytes, content_type: str) -> Json:
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if (kind == "application/json" or kind.endswith("+json")) and not is_deep(data := loads(body)):
            return {"json": data}
    except ValueError:
        pass  # it says JSON and is not: shown as text or bytes
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"body": bytes_text(body)}
