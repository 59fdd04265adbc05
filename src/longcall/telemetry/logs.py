"""How logs are written: for Google's log viewer, for people on a terminal, or one JSON object a line."""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
import structlog

# What a record of the standard library's logging has by itself; anything else was given with `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SEVERITY = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR", "critical": "CRITICAL", "exception": "ERROR"}
_LEVEL = {"warn": "warning", "exception": "error"}
_GOOGLE = "logging.googleapis.com"
FIRST, LAST = "task.accepted", "task.finished"


def set_up_logs(log_format: str, *, on_google: bool = False, project: str = "") -> None:
    """Write logs as `google`, `console` or `json`; without one, as fits where this runs.

    Google's go to standard output, where its log agents read; the others to standard error, for standard output belongs to the commands.
    """
    chosen = log_format or ("google" if on_google else "console" if sys.stderr.isatty() else "json")
    stream = sys.stdout if chosen == "google" else sys.stderr
    render: dict[str, Callable[[], structlog.typing.Processor]] = {
        "google": lambda: google(project),
        "json": lambda: _as_json,
        "console": lambda: structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=20, sort_keys=False),
    }
    structlog.configure(
        processors=[_stamped, render[chosen]()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=True,
    )
    # Uvicorn's, the embedded queue's and libraries' logs go the same way.
    logging.basicConfig(level=logging.WARNING, handlers=[_Bridge()], force=True)
    logging.getLogger("longcall").setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


def _stamped(_logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Say when it was, how bad it is, and what broke. In one step: the lines of short calls are a good part of what these cost."""
    event["level"] = _LEVEL.get(method, method)
    event["time"] = datetime.fromtimestamp(time.time(), UTC).isoformat()  # noqa: TID251 — a line is of its moment
    return structlog.processors.format_exc_info(_logger, method, event) if "exc_info" in event else event


def set_up_silence() -> None:
    """Write no logs: for a command that tells its own story."""
    structlog.configure(processors=[_drop], logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    logging.disable()


class _Lines:
    """Where lines go. One that can't be written is lost, and nothing else with it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # a full disk or a closed pipe must not end a call

    log = debug = info = warning = error = critical = exception = msg


class _Bridge(logging.Handler):
    """Hands what the standard library's loggers are told to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # as many places as values, or not
            message = str(record.msg)
        known = {"logger": record.name, "exc_info": record.exc_info} if record.exc_info else {"logger": record.name}
        structlog.get_logger().log(record.levelno, message.replace("\n", " "), **{**fields, **known})


def google(project: str) -> structlog.typing.Processor:
    """Write an event as Google's log agents read it: https://cloud.google.com/logging/docs/structured-logging#special-payload-fields.

    `operation.id` is the task's id: it joins the beginning, the progress and the end of a call that lasts hours.
    """

    def render(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
        name, level, time = str(event.pop("event")), event.pop("level", "info"), event.pop("time", None)
        line: dict[str, Any] = {"severity": _SEVERITY.get(level, "DEFAULT"), "time": time, "message": _sentence(name, event), "event": name}
        if (task := event.get("task")) is not None:
            line[f"{_GOOGLE}/operation"] = {"id": str(task), "producer": "longcall", "first": name == FIRST, "last": name == LAST}
            line[f"{_GOOGLE}/labels"] = {"task": str(task)}
        if (trace := event.pop("trace", None)) is not None:
            line[f"{_GOOGLE}/trace"] = f"projects/{project}/traces/{trace}" if project else str(trace)
        if (span := event.pop("span", None)) is not None:
            line[f"{_GOOGLE}/spanId"] = str(span)
        return _dumps({**event, **line})

    return render


def _sentence(name: str, fields: Mapping[str, object]) -> str:
    told = " ".join(f"{field}={value}" for field, value in fields.items() if field != "exception" and value is not None)
    return "\n".join(part for part in (f"{name} {told}".strip(), str(fields.get("exception", ""))) if part)


def _as_json(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    first = {name: event.pop(name) for name in ("time", "level", "event") if name in event}
    return _dumps({**first, **event})


def _dumps(line: Mapping[str, object]) -> str:
    """One line of JSON, whatever was handed in: a log line never fails."""
    with suppress(TypeError):  # half a character, a huge number, a name that is no text
        return orjson.dumps(line, default=repr).decode()
    try:
        return json.dumps(line, ensure_ascii=False, default=repr)
    except (TypeError, ValueError, RecursionError):
        return json.dumps({str(name): repr(value) for name, value in line.items()})


def _drop(_logger: object, _method: str, _event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    raise structlog.DropEvent
