"""Full names, taken apart.

https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks#Task (name)
"""

import re

from longcall.queue.errors import LOCATION_NAME_FORMAT, PROJECT_NAME_FORMAT, QUEUE_NAME_FORMAT, TASK_NAME_FORMAT, Help, invalid

_PROJECT = r"projects/[A-Za-z0-9:.-]+"
_LOCATION = rf"{_PROJECT}/locations/[A-Za-z0-9-]+"
_QUEUE = rf"{_LOCATION}/queues/[A-Za-z0-9-]{{1,100}}"
_PROJECT_NAME = re.compile(_PROJECT)
_LOCATION_NAME = re.compile(_LOCATION)
_QUEUE_NAME = re.compile(_QUEUE)
_TASK_NAME = re.compile(r"(projects/[^/]+/locations/[^/]+/queues/[^/]+)/tasks/([^/]*)")
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
_REFERENCE = "https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues"
_QUEUE_HELP = Help("Definition of queue name", f"{_REFERENCE}#Queue.FIELDS.name")
_TASK_HELP = Help("Definition of task ID", f"{_REFERENCE}.tasks#Task.FIELDS.name")


def check_location(name: str) -> str:
    """Return a location's name, or refuse what is none."""
    if not _LOCATION_NAME.fullmatch(name):
        raise invalid(LOCATION_NAME_FORMAT)
    return name


def check_project(name: str) -> str:
    """Return a project's name, or refuse what is none."""
    if not _PROJECT_NAME.fullmatch(name):
        raise invalid(PROJECT_NAME_FORMAT)
    return name


def check_queue(name: str) -> str:
    """Return a queue's name, or refuse what is none."""
    if not _QUEUE_NAME.fullmatch(name):
        raise invalid(QUEUE_NAME_FORMAT, _QUEUE_HELP)
    return name


def split_task(name: str) -> tuple[str, str]:
    """Return a task name's queue and id, or refuse what is no task's name."""
    match = _TASK_NAME.fullmatch(name)
    if match is None:
        raise invalid(TASK_NAME_FORMAT)
    queue, task_id = match.groups()
    return check_queue(queue), _check_id(task_id)


def id_under(queue: str, name: str) -> str:
    """Return the id in a task's name, or refuse a name that is not under ``queue``."""
    own, task_id = split_task(name)
    if own != queue:
        raise invalid(f"The queue name from request ('{queue}') must be the same as the queue name in the named task ('{own}').")
    return task_id


def _check_id(task_id: str) -> str:
    if not _TASK_ID.fullmatch(task_id):
        raise invalid(
            f'Task ID "{task_id}" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens (-), or underscores (_). '
            "Task ID must between 1 and 500 characters.",
            _TASK_HELP,
        )
    return task_id
