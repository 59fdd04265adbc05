"""The fixture `longcall_queue` as another project has it: in a pytest of its own, with nothing of ours around."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENTED = Path(__file__).parents[2] / "docs" / "queue.md"
SCHEDULED = """
from datetime import datetime, timedelta, timezone
import pytest
from google.api_core.exceptions import NotFound

def make(queue, uri, **more):
    return queue.client.create_task(parent=queue.queue, task={"app_engine_http_request": {"relative_uri": uri}, **more})

def test_what_is_scheduled_comes_in_its_order(longcall_queue):
    now = datetime.now(timezone.utc)
    for days in (3, 1, 2):
        make(longcall_queue, f"/{days}", schedule_time=now + timedelta(days=days))
    longcall_queue.drain()
    assert [delivery.url.rpartition("/")[2] for delivery in longcall_queue.deliveries] == ["1", "2", "3"]
    etas = [float(delivery.headers["X-AppEngine-TaskETA"]) for delivery in longcall_queue.deliveries]
    assert [round((eta - now.timestamp()) / 86400) for eta in etas] == [1, 2, 3]

def test_retries_are_made_without_waiting(longcall_queue):
    longcall_queue.answers.extend([500, 429])
    task = make(longcall_queue, "/x", retry_config={"min_backoff": timedelta(minutes=30)})
    longcall_queue.drain()
    assert [delivery.status for delivery in longcall_queue.deliveries] == [500, 429, 200]
    assert {delivery.task for delivery in longcall_queue.deliveries} == {task.name}
    with pytest.raises(NotFound):
        longcall_queue.client.get_task(name=task.name)

def test_every_test_has_its_own(longcall_queue):
    assert longcall_queue.deliveries == []
    assert list(longcall_queue.client.list_tasks(parent=longcall_queue.queue)) == []

def test_a_paused_queue_is_left_alone(longcall_queue):
    longcall_queue.client.pause_queue(name=longcall_queue.queue)
    make(longcall_queue, "/x")
    longcall_queue.drain()
    assert longcall_queue.deliveries == []

def test_what_never_ends_says_so(longcall_queue):
    longcall_queue.answers.extend([500] * 100_000)
    make(longcall_queue, "/x", retry_config={"max_attempts": -1})
    with pytest.raises(TimeoutError, match="still has something to do after 0.2 s"):
        longcall_queue.drain(limit=0.2)

def test_a_target_that_is_not_there(longcall_queue):
    task = {"http_request": {"url": "http://127.0.0.1:1/"}, "retry_config": {"max_attempts": 2}}
    longcall_queue.client.create_task(parent=longcall_queue.queue, task=task)
    longcall_queue.drain()
    assert [delivery.status for delivery in longcall_queue.deliveries] == [None, None]
"""
APP_ENGINE = """
import pytest

@pytest.fixture
def longcall_queue_app_engine():
    return "http://127.0.0.1:1/app"

def test_app_engine_tasks_go_to_the_app(longcall_queue):
    task = {"app_engine_http_request": {"relative_uri": "/x"}, "retry_config": {"max_attempts": 1}}
    longcall_queue.client.create_task(parent=longcall_queue.queue, task=task)
    longcall_queue.drain()
    assert [delivery.url for delivery in longcall_queue.deliveries] == ["http://127.0.0.1:1/app/x"]
"""
ASYNCIO = """
import grpc
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

async def test_with_an_event_loop(longcall_queue):
    async with grpc.aio.insecure_channel(longcall_queue.grpc) as channel:
        client = tasks_v2.CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))
        task = {"http_request": {"url": longcall_queue.target + "/x", "body": b"hello"}}
        await client.create_task(parent=longcall_queue.queue, task=tasks_v2.Task(task))
        await longcall_queue.drained()
    assert [delivery.body for delivery in longcall_queue.deliveries] == [b"hello"]
"""
WITHOUT = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("aiohttp", "google", "grpc", "joserfc", "starlette", "uvicorn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone())
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
ASYNCIO_SETTINGS = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
PLUGIN = ("-p", "longcall.testing.pytest_plugin", *ASYNCIO_SETTINGS, "-W", "error", "-q")


def _ended(folder: Path, *command: str) -> str:
    # The environment of this run would bring its own plugins' settings along.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # noqa: TID251 — given on
    ended = subprocess.run([sys.executable, *command, *PLUGIN], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    return ended.stdout + ended.stderr


@pytest.mark.parametrize(("suite", "passed"), [(SCHEDULED, 6), (APP_ENGINE, 1), (ASYNCIO, 1)])
def test_the_fixture(tmp_path: Path, suite: str, passed: int) -> None:
    """A project's tests, with and without an event loop, have a server, time that moves on, and what was delivered."""
    (tmp_path / "test_mine.py").write_text(suite)
    assert f"{passed} passed" in _ended(tmp_path, "-m", "pytest")


def test_the_documented_test(tmp_path: Path) -> None:
    """What the page shows passes as it stands."""
    snippets = [text.partition("```")[0] for text in DOCUMENTED.read_text().split("```python\n")[1:]]
    (snippet,) = [snippet for snippet in snippets if "def test_" in snippet]
    (tmp_path / "test_mine.py").write_text(snippet)
    assert "1 passed" in _ended(tmp_path, "-m", "pytest")


def test_pytest_starts_without_the_queues_parts(tmp_path: Path) -> None:
    """Where the queue's parts are not installed pytest runs as ever, and only a test that asks for the fixture is told."""
    (tmp_path / "test_mine.py").write_text("def test_mine(): pass\ndef test_ours(longcall_queue): pass\n")
    out = _ended(tmp_path, "-c", WITHOUT)
    assert "1 passed, 1 error" in out
    assert "pip install 'longcall[queue]'" in out
