"""`longcall logs`: what happened to a task, a line an event, worked out from its record. The names are those of docs/logs.md."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import pairwise

from rich.console import Console
from rich.text import Text

from longcall.cli import options, show
from longcall.cli.ends import ending, say
from longcall.core.attempt import Attempt
from longcall.core.console import logs_url
from longcall.core.errors import NotFoundError
from longcall.core.task import State
from longcall.core.text import parse_time, time_text
from longcall.core.wire import Json
from longcall.sdk.client import Longcall, Task
from longcall.sdk.view import TaskView

_QUEUE = re.compile(r"projects/([^/]+)/locations/([^/]+)/queues/[^/]+")
_HERE = "local"  # the location of the queues that `longcall up` and `longcall queue` bring along
_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f]+")
_TOLD: dict[str, str] = {State.SUCCEEDED: "callback.delivered", State.FAILED: "callback.failed"}
_BAD = frozenset({"callback.failed"})


def logs(task_id: options.TaskId, *, as_json: options.AsJson = False, url: options.Url = None, token: options.Token = None) -> None:
    """Show what happened to a task, a line an event.

    Its attempts, its end and its callbacks, from its record. On Google Cloud, where the whole log is, too.
    """
    with ending(), Longcall(url, token) as client:
        task = client.get(task_id)
        for event in events(task, _callbacks(client, task)):
            _print(event, as_json=as_json)
        for before, after in pairwise(task.attempts):
            if after.number > before.number + 1:
                say(f"attempts {before.number + 1} to {after.number - 1} are not in the record any more", "yellow")
        if link := cloud_logging(task, show.now()):
            say(f"the whole log: {link}")


def events(task: TaskView, callbacks: Iterable[tuple[str, TaskView]] = ()) -> list[Json]:
    """Everything the record knows, in the order of time. `callbacks`: which end each tells of, and its own task."""
    found = [*_of_task(task), *(_of_callback(event, each) for event, each in callbacks)]
    return [
        {"time": time_text(at), "event": name, "task": task.id, **{key: value for key, value in fields.items() if value is not None}}
        for at, name, fields in sorted(found, key=lambda each: each[0])
    ]


def cloud_logging(task: TaskView, now: datetime) -> str:
    """Where Cloud Logging has the task's lines, in the project of its queue; empty for a queue that is not Google's."""
    named = _QUEUE.fullmatch(task.raw.get("queue") or "")
    if named is None or named[2] == _HERE:
        return ""
    return logs_url(named[1], task.id, task.create_time, task.finish_time or now)


def _callbacks(client: Longcall, task: Task) -> Iterator[tuple[str, Task]]:
    for told in task.callbacks:
        with suppress(NotFoundError):  # forgotten a moment ago
            yield told.event, client.get(told.task_id)


def _of_task(task: TaskView) -> Iterator[tuple[datetime, str, Json]]:
    yield task.create_time, "task.accepted", {"kind": task.raw.get("kind"), "parent": task.raw.get("parent")}
    for each in task.attempts:
        yield each.start_time, "attempt.started", {"attempt": each.number, "runner": each.runner}
        if each.end_time:
            yield each.end_time, "attempt.settled", _settled(each, each.end_time)
    if asked := task.raw.get("cancelRequestTime"):
        yield parse_time(asked), "task.cancel_requested", {}
    if task.finish_time:
        why = {"reason": task.failure.reason, "why": task.failure.message} if task.failure else {}
        yield task.finish_time, "task.finished", {"state": task.state, **why, "attempts": task.attempt_count, **_seconds(task)}


def _settled(attempt: Attempt, end: datetime) -> Json:
    trouble = attempt.trouble
    return {
        "attempt": attempt.number,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "seconds": (end - attempt.start_time).total_seconds(),
        "may_have_run": attempt.may_have_run,
        "code": trouble.code if trouble else None,
        "why": trouble.message if trouble else None,
        "hint": trouble.hint if trouble else None,
        "retry_time": time_text(attempt.retry_time) if attempt.retry_time else None,
    }


def _of_callback(event: str, callback: TaskView) -> tuple[datetime, str, Json]:
    """How far a callback is: told, not to be told, or still on its way, at its last change."""
    name = _TOLD.get(callback.state, "callback.state")
    fields = {"callback": callback.id, "of": event, "state": callback.state, "attempts": callback.attempt_count}
    if callback.failure:
        fields |= {"reason": callback.failure.reason, "why": callback.failure.message}
    elif callback.next_attempt_time:
        fields["retry_time"] = time_text(callback.next_attempt_time)
    return callback.finish_time or callback.update_time, name, fields


def _seconds(task: TaskView) -> Json:
    return {"seconds": (task.finish_time - task.create_time).total_seconds()} if task.finish_time else {}


def _print(event: Json, *, as_json: bool) -> None:
    if as_json:
        show.print_json(event)
        return
    named = {key: value for key, value in event.items() if key not in {"time", "event", "task"}}
    said = " ".join(f"{key}={_value(value)}" for key, value in named.items())
    if not sys.stdout.isatty():
        sys.stdout.write(f"{event['time']} {event['event']} {said}".rstrip() + "\n")
        return
    at = parse_time(event["time"]).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    style = "red" if event["event"] in _BAD or "code" in event or "reason" in event else "bold"
    Console(highlight=False, soft_wrap=True).print(Text.assemble((at, "dim"), "  ", (f"{event['event']:<18}", style), f" {said}"))


def _value(value: object) -> str:
    """As it is where it is one word, else quoted as JSON has it, so that a line stays a line."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
