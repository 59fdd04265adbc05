"""Messages: what we put on the queue, its JSON, and its names."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from longcall.core import trace
from longcall.core.text import parse_time, time_text
from longcall.core.trace import TraceContext
from longcall.core.wire import Json

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,600}")
_OF_VERSION_1 = frozenset({"create", "trace"})


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """Look at task `task`, created at `created`: its version `version` needs you at `at`.

    Version 1 carries the task as asked for, and its caller's place in a trace.
    """

    task: str
    created: datetime
    version: int
    at: datetime
    create: Json | None = None
    caller: TraceContext | None = None


@dataclass(frozen=True, slots=True)
class CallbackMessage:
    """Tell that task `callback_of`, created at `created`, ended at its version `version`."""

    callback_of: str
    created: datetime
    version: int
    at: datetime


@dataclass(frozen=True, slots=True)
class LookMessage:
    """Look whether runner `runner` is alive: `k` counts its lapses, `n` the looks since."""

    runner: str
    k: int
    n: int


Message = TaskMessage | CallbackMessage | LookMessage


def message_to_json(message: Message) -> Json:
    """Write the body of a message."""
    if isinstance(message, LookMessage):
        return {"runner": message.runner, "k": message.k, "n": message.n}
    subject = {"task": message.task} if isinstance(message, TaskMessage) else {"callbackOf": message.callback_of}
    data = subject | {"created": time_text(message.created), "version": message.version, "at": time_text(message.at)}
    if isinstance(message, CallbackMessage) or message.create is None:
        return data
    return data | {"create": message.create} | ({"trace": _caller_to_json(message.caller)} if message.caller else {})


def message_from_json(data: Any) -> Message | None:  # noqa: ANN401 — any JSON
    """Read a message of ours; None when it is none, so that somebody put it on the queue by hand."""
    match data:
        case {"task": str(name)} | {"callbackOf": str(name)} | {"runner": str(name)} if not _NAME.fullmatch(name):
            return None
        case {"task": str(task), "created": str(created), "version": int(version), "at": str(at), **rest} if rest.keys() <= _OF_VERSION_1:
            create, caller = data.get("create"), _caller_from_json(data.get("trace"))
            return _timed(lambda: TaskMessage(task, parse_time(created), version, parse_time(at), create, caller))
        case {"callbackOf": str(task), "created": str(created), "version": int(version), "at": str(at), **rest} if not rest:
            return _timed(lambda: CallbackMessage(task, parse_time(created), version, parse_time(at)))
        case {"runner": str(runner), "k": int(k), "n": int(n), **rest} if not rest:
            return LookMessage(runner, k, n)
        case _:
            return None


def _caller_to_json(caller: TraceContext) -> Json:
    return {"traceparent": caller.traceparent, "tracestate": caller.state, "baggage": caller.baggage}


def _caller_from_json(data: Any) -> TraceContext | None:  # noqa: ANN401 — any JSON
    match data:
        case {"traceparent": str(parent), "tracestate": str(state), "baggage": str(baggage)}:
            return trace.parse(parent, state, baggage=baggage)
        case _:
            return None


def _timed(make: Callable[[], Message]) -> Message | None:
    try:
        return make()
    except ValueError:  # what is no time was not written by us
        return None


def message_name(task_id: str, create_time: datetime, version: int) -> str:
    """Name the message of a version: no common prefix, as Cloud Tasks wants it, and the same whoever queues it."""
    return f"{record_hash(task_id, create_time)}-{version}"


def record_hash(task_id: str, create_time: datetime) -> str:
    """The first 32 hex digits of SHA-256 of `{id}/{createTime}`: one record's own, also when an id is used again."""
    return hashlib.sha256(f"{task_id}/{time_text(create_time)}".encode()).hexdigest()[:32]
