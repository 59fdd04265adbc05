import json
from datetime import UTC, datetime

import pytest
from google.cloud import tasks_v2

from longcall import cloud_task
from longcall.core.errors import InvalidArgumentError

QUEUE = "projects/p/locations/l/queues/q"


def test_it_is_an_app_engine_task_with_a_day_and_a_little() -> None:
    """POST /dispatch as JSON, and the longest deadline that Cloud Tasks has."""
    task = cloud_task("https://a/train", json={"epochs": 40}, attempt_timeout="45m")
    request = task.app_engine_http_request
    assert (request.relative_uri, request.http_method) == ("/dispatch", tasks_v2.HttpMethod.POST)
    assert dict(request.headers) == {"Content-Type": "application/json"}
    assert task.dispatch_deadline.total_seconds() == 86_415  # type: ignore[attr-defined] # proto-plus gives a timedelta
    assert json.loads(request.body) == {
        "httpRequest": {"url": "https://a/train", "httpMethod": "POST", "json": {"epochs": 40}},
        "attemptTimeout": "2700s",
    }


def test_a_callback_goes_with_the_task() -> None:
    """As in `submit`, a URL is enough."""
    task = cloud_task("https://a/train", callback="https://me.example/hook")
    assert json.loads(task.app_engine_http_request.body)["callback"] == {"url": "https://me.example/hook"}


def test_name_and_time_are_the_queues_own() -> None:
    """They go to the queue's task, not into its body."""
    task = cloud_task("https://a", name="train", queue=QUEUE, schedule_time="2026-11-24T08:00:00Z")
    assert task.name == f"{QUEUE}/tasks/train"
    assert task.schedule_time == datetime(2026, 11, 24, 8, tzinfo=UTC)
    assert json.loads(task.app_engine_http_request.body).keys() == {"httpRequest"}
    assert cloud_task("https://a", name=f"{QUEUE}/tasks/x").name == f"{QUEUE}/tasks/x"
    assert not cloud_task("https://a").name


def test_a_bare_name_needs_its_queue() -> None:
    """Cloud Tasks knows only full names."""
    with pytest.raises(InvalidArgumentError, match="queue"):
        cloud_task("https://a", name="train")
