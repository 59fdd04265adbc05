"""The headers of a dispatch, and which of a task's own are kept.

https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler and
https://cloud.google.com/tasks/docs/creating-appengine-handlers#reading-headers
"""

from collections.abc import Mapping

from longcall.queue.model import AppEngineTarget, HttpTarget, QueuedTask, Target

SECRET_HEADER = "Longcall-Queue-Secret"  # noqa: S105 — a header's name
"""Tells the application that a dispatch comes from this queue. Sent to App Engine targets and nowhere else."""

_HTTP_AGENT = "Google-Cloud-Tasks"
_APP_ENGINE_AGENT = "AppEngine-Google; (+http://code.google.com/appengine)"
_OURS = ("x-appengine-", "x-cloudtasks-", "x-google-", "longcall-queue-secret")
# Those of one connection are the queue's too: a task that sets a length or a framing of its own breaks its dispatch.
_DROPPED = frozenset({"host", "content-length", "transfer-encoding", "connection", "user-agent"})
_NEVER_ANSWERED = 0


def kept(target: Target) -> Mapping[str, str]:
    """Return a target's headers as the queue keeps and shows them."""
    own = {name: value for name, value in target.headers.items() if not _is_dropped(name.lower())}
    if isinstance(target, HttpTarget):
        return own | {"User-Agent": _HTTP_AGENT}
    if target.body:
        own["Content-Length"] = str(len(target.body))
        if not any(name.lower() == "content-type" for name in own):
            own["Content-Type"] = "application/octet-stream"
    given = next((value for name, value in target.headers.items() if name.lower() == "user-agent"), "")
    return own | {"User-Agent": f"{given} {_APP_ENGINE_AGENT}".lstrip()}


def of_dispatch(task: QueuedTask, secret: str | None, token: str | None) -> dict[str, str]:
    """Return every header of the dispatch that is about to begin; it is counted in the task already."""
    headers = {**task.target.headers, **_told(task)}
    if token is not None:
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        headers["Authorization"] = f"Bearer {token}"
    if secret is not None and isinstance(task.target, AppEngineTarget):
        headers[SECRET_HEADER] = secret
    return headers


def _is_dropped(name: str) -> bool:
    return name in _DROPPED or name.startswith(_OURS)


def _told(task: QueuedTask) -> dict[str, str]:
    prefix = "X-AppEngine-" if isinstance(task.target, AppEngineTarget) else "X-CloudTasks-"
    told = {
        "QueueName": task.queue.rpartition("/")[2],
        "TaskName": task.id,
        "TaskRetryCount": str(task.dispatch_count - 1),
        "TaskExecutionCount": str(task.execution_count),
        "TaskETA": f"{task.schedule_time.timestamp():.6f}",
    }
    if task.previous_response is not None:
        told["TaskPreviousResponse"] = str(task.previous_response)
        told["TaskRetryReason"] = _retry_reason(task)
    return {prefix + name: value for name, value in told.items()}


def _retry_reason(task: QueuedTask) -> str:
    if isinstance(task.target, HttpTarget):
        return ""
    return "Instance Unavailable" if task.previous_response == _NEVER_ANSWERED else "App Error"
