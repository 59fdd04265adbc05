"""The message to the caller when a task ends. It is a task itself, made from the record that ended."""

from dataclasses import dataclass
from datetime import datetime

from longcall.core import lifecycle, view, wire
from longcall.core.task import Callback, HttpRequest, Kind, NoAuth, OAuthToken, State, Task, TaskSpec, Unreadable
from longcall.core.text import bytes_text, time_text

PARENT, EVENT = "longcall.parent", "longcall.event"
_EVENTS = {State.SUCCEEDED: "succeeded", State.FAILED: "failed", State.CANCELLED: "cancelled"}
EVENTS = tuple(_EVENTS.values())
PUBSUB = "https://pubsub.googleapis.com"
_JSON = {"Content-Type": "application/json"}
PUBSUB_SCOPE = "https://www.googleapis.com/auth/pubsub"


@dataclass(frozen=True, slots=True)
class Teller:
    """How an end is told: where the API is reached, which headers' values nobody is shown, and where Pub/Sub is."""

    public_url: str = ""
    redact: frozenset[str] = view.ALWAYS_REDACTED
    pubsub: str = PUBSUB

    def task(self, parent: Task, wanted: Callback, queue: str, now: datetime) -> Task:
        """The callback's task for the end that the parent's record states."""
        spec = TaskSpec(
            request=self._posted(parent, wanted) if wanted.topic is None else self._published(parent, wanted.topic),
            attempt_timeout=wanted.attempt_timeout,
            retry=wanted.retry,
            sign_with=wanted.secret if wanted.topic is None else None,
            labels={PARENT: parent.id, EVENT: _EVENTS[parent.state]},
        )
        made = lifecycle.create(task_id(parent.id, parent.version), spec, queue=queue, trace=parent.trace, now=now, origin=parent.origin)
        return lifecycle.of_parent(made, Kind.CALLBACK, parent.id)

    def _posted(self, parent: Task, wanted: Callback) -> HttpRequest:
        return HttpRequest(wanted.url, "POST", {**wanted.headers, **_JSON}, self.body(parent), wanted.auth)

    def _published(self, parent: Task, topic: str) -> HttpRequest:
        """The same event as a message, by https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish.

        The token is the runner's own. An emulator gets none.
        """
        attributes = {"type": f"task.{_EVENTS[parent.state]}", "id": task_id(parent.id, parent.version), "task": parent.id}
        message = {"data": bytes_text(self.body(parent)), "attributes": attributes}
        auth = OAuthToken("", PUBSUB_SCOPE) if self.pubsub == PUBSUB else NoAuth()
        return HttpRequest(f"{self.pubsub}/v1/{topic}:publish", "POST", _JSON, wire.dumps({"messages": [message]}), auth)

    def body(self, task: Task) -> bytes:
        """`{"type": "task.failed", …}`: the task as readers see it, without what was asked for in full, with its last attempt only."""
        seen = view.view(task, self.public_url, self.redact)
        for asked in ("headers", "body"):
            seen["httpRequest"].pop(asked, None)
        seen["attempts"] = seen["attempts"][-1:]
        told = {"type": f"task.{_EVENTS[task.state]}", "timestamp": time_text(task.finish_time or task.update_time), "schema": 1}
        return wire.dumps(told | {"data": {"task": seen}})


def task_id(parent: str, version: int) -> str:
    """The id of the callback for one end: a task that fails, is run again and succeeds, calls back twice."""
    return f"{parent}.callback-{version}"


def wanted(task: Task) -> Callback | None:
    """The callback that this record's end calls for; None when it has not ended, or nobody wants to hear of it."""
    if isinstance(task.spec, Unreadable) or task.spec.callback is None or _EVENTS.get(task.state) not in task.spec.callback.on:
        return None
    return task.spec.callback
