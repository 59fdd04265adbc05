"""The same task for those who keep Google's own client: a `tasks_v2.Task` for the queue in front of Longcall."""

from datetime import timedelta
from typing import TYPE_CHECKING, Unpack

from longcall.core.errors import FieldError, InvalidArgumentError
from longcall.sdk.options import Moment, TaskOptions, encoded, moment, task_json

if TYPE_CHECKING:
    from google.cloud.tasks_v2 import Task

# The most that Cloud Tasks gives an App Engine task: 24 h and 15 s.
DISPATCH_DEADLINE = timedelta(seconds=86_415)


def cloud_task(
    url: str,
    *,
    name: str | None = None,
    queue: str | None = None,
    schedule_time: Moment | None = None,
    **options: Unpack[TaskOptions],
) -> "Task":
    """Build the App Engine task that asks Longcall for one HTTP call; `CloudTasksClient.create_task` puts it on the queue.

    `name` is the task's id, with `queue` (`projects/P/locations/L/queues/Q`) or as the full name; without one Cloud Tasks makes one.
    `TaskOptions` says what else can be given. Raises InvalidArgumentError. Needs google-cloud-tasks.
    """
    from google.cloud import tasks_v2  # noqa: PLC0415 — only those who have Google's client get here

    return tasks_v2.Task(
        name=_full_name(name, queue),
        schedule_time=None if schedule_time is None else moment("/scheduleTime", schedule_time),
        dispatch_deadline=DISPATCH_DEADLINE,
        app_engine_http_request=tasks_v2.AppEngineHttpRequest(
            http_method=tasks_v2.HttpMethod.POST,
            relative_uri="/dispatch",
            headers={"Content-Type": "application/json"},
            body=encoded(task_json(url, **options)),
        ),
    )


def _full_name(name: str | None, queue: str | None) -> str | None:
    if name is None or "/" in name:
        return name
    if queue is None:
        raise InvalidArgumentError(FieldError("name", f"{name!r} needs its queue: give queue='projects/P/locations/L/queues/Q'"))
    return f"{queue}/tasks/{name}"
