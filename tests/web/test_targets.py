"""What may not be called is said at the create; what comes off the queue all the same is refused when its attempt is made."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from longcall.assembly import Laptop, LaptopOptions, laptop
from longcall.core.target import HostPattern
from longcall.settings import Settings
from tests.hostile import HOSTILE, answers

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHUT = replace(Settings(), allow_private_targets=False, create_rate=100_000)
AT_CREATE = [url for url in HOSTILE if url.removeprefix("http://").rstrip("/") not in answers()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shut(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Laptop]:
    """A whole stack that calls public addresses only."""
    async with laptop(LaptopOptions(0, 0, 0, tmp_path_factory.mktemp("shut") / "data", SHUT)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(shut: Laptop) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of its API."""
    async with aiohttp.ClientSession(shut.api_url) as session:
        yield session


async def create(http: aiohttp.ClientSession, body: object) -> tuple[int, dict[str, Any]]:
    """POST /v1/tasks."""
    async with http.post("/v1/tasks", json=body) as answer:
        return answer.status, await answer.json(content_type=None)


@pytest.mark.parametrize("part", range(8))
async def test_no_hostile_url_becomes_a_task(http: aiohttp.ClientSession, part: int) -> None:
    """For the target and for the callback alike: 400 that points at the URL, and nothing is stored."""
    labels = {"table": "hostile"}
    good = {"httpRequest": {"url": "https://a.example/"}, "labels": labels}
    for url in AT_CREATE[part::8]:
        for pointer, body in (
            ("/httpRequest/url", {"httpRequest": {"url": url}, "labels": labels}),
            ("/callback/url", good | {"callback": {"url": url}}),
        ):
            status, problem = await create(http, body)
            assert (status, problem["code"]) == (400, "INVALID_ARGUMENT"), url
            assert [each["pointer"] for each in problem["errors"]] == [pointer], url
    async with http.get("/v1/tasks?label=table:hostile") as answer:
        assert (await answer.json())["tasks"] == []


async def test_metadata_is_refused_under_up_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`up` opens loopback by itself, and no more; ALLOWED_TARGETS narrows what may be asked for."""
    only = replace(Settings(), create_rate=100_000, allowed_targets=(HostPattern.of("127.0.0.1"), HostPattern.of("169.254.169.254")))
    options = LaptopOptions(0, 0, 0, tmp_path_factory.mktemp("up") / "data", only)
    async with laptop(options) as running, aiohttp.ClientSession(running.api_url) as session:
        assert (await create(session, {"httpRequest": {"url": "http://127.0.0.1:9/"}, "retry": {"maxAttempts": 1}}))[0] == 201
        for url, says in (
            ("http://169.254.169.254/", "link-local"),
            ("http://metadata.google.internal/", "metadata server"),
            ("https://elsewhere.example/", "LONGCALL_ALLOWED_TARGETS"),
        ):
            status, problem = await create(session, {"httpRequest": {"url": url}})
            assert (status, problem["errors"][0]["pointer"]) == (400, "/httpRequest/url")
            assert says in problem["errors"][0]["detail"]


async def by_hand(running: Laptop, name: str, body: object) -> None:
    """Put a task on the queue by Google's API."""
    queued = {
        "name": f"{running.queue}/tasks/{name}",
        "appEngineHttpRequest": {"relativeUri": "/dispatch", "body": base64.b64encode(json.dumps(body).encode()).decode()},
    }
    url = f"http://127.0.0.1:{running.rest_port}/v2/{running.queue}/tasks"
    async with aiohttp.ClientSession() as session, session.post(url, json={"task": queued}) as answer:
        assert answer.status == 200, await answer.text()


@pytest.mark.parametrize(
    ("name", "url", "code"),
    [
        ("metadata", "http://169.254.169.254/", "FORBIDDEN_ADDRESS"),
        ("loopback", "http://127.0.0.1:9/", "FORBIDDEN_ADDRESS"),
        ("decimal", "http://2852039166/", "FORBIDDEN_TARGET"),
        ("by-name", "https://metadata.google.internal/", "FORBIDDEN_TARGET"),
    ],
)
async def test_a_task_put_by_hand_is_refused_at_its_attempt(
    shut: Laptop, http: aiohttp.ClientSession, name: str, url: str, code: str
) -> None:
    """FAILED, `refused`, certain not to have run, after one attempt: it is there to be read, and it is not tried again."""
    await by_hand(shut, name, {"httpRequest": {"url": url}})
    async with http.get(f"/v1/tasks/{name}?wait=20s") as answer:
        task = await answer.json()
    assert (task["state"], task["failure"]["reason"], task["failure"]["mayHaveRun"]) == ("FAILED", "refused", False)
    assert [(each["outcome"], each["error"]["code"]) for each in task["attempts"]] == [("refused", code)]


async def test_a_callback_goes_the_same_way(shut: Laptop, http: aiohttp.ClientSession) -> None:
    """A callback to a forbidden address, put by hand, is a task that is refused and not tried again."""
    await by_hand(shut, "telling", {"httpRequest": {"url": "http://10.0.0.1/"}, "callback": {"url": "http://169.254.169.254/"}})
    async with asyncio.timeout(20):
        while True:
            async with http.get("/v1/tasks/telling?wait=10s") as answer:
                told = (await answer.json()).get("callbacks", [])
            if told and told[0]["state"] == "FAILED":
                break
            await asyncio.sleep(0.05)
    async with http.get(f"/v1/tasks/{told[0]['taskId']}") as answer:
        callback = await answer.json()
    assert (callback["failure"]["reason"], callback["attemptCount"]) == ("refused", 1)
