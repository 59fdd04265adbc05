"""What is wrong is said to be wrong, and nothing is stored. One stack serves the whole table: it stays empty."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from longcall.assembly import LaptopOptions, laptop

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a whole stack on free ports."""
    options = LaptopOptions(0, 0, 0, tmp_path_factory.mktemp("bad") / "data")
    async with laptop(options) as running, aiohttp.ClientSession(running.api_url) as session:
        yield session


async def get(http: aiohttp.ClientSession, path: str) -> tuple[int, dict[str, Any]]:
    """GET something."""
    async with http.get(path) as answer:
        return answer.status, await answer.json(content_type=None)


URL = "http://127.0.0.1:9/"
BAD: list[tuple[object, str, str]] = [
    ({"httpRequest": {"url": URL}, "retyr": {}}, "/retyr", "did you mean retry?"),
    ({"httpRequest": {"url": URL, "mehtod": "GET"}}, "/httpRequest/mehtod", "did you mean httpMethod?"),
    ({"httpRequest": {"url": URL}, "retryConfig": {}}, "/retryConfig", "retry"),
    ({"httpRequest": {"url": URL}, "dispatchDeadline": "60s"}, "/dispatchDeadline", "attemptTimeout"),
    ({"httpRequest": {"url": 5}}, "/httpRequest/url", "text is expected, not a number"),
    ({"httpRequest": {}}, "/httpRequest/url", "needed"),
    ({}, "/httpRequest", "needed"),
    ([], "", "an object is expected, not a list"),
    ({"httpRequest": {"url": "ftp://x/"}}, "/httpRequest/url", "http:// or https://"),
    ({"httpRequest": {"url": "http://"}}, "/httpRequest/url", "needs a host"),
    ({"httpRequest": {"url": "http://a b/"}}, "/httpRequest/url", "no spaces"),
    ({"httpRequest": {"url": "http://u:p@x/"}}, "/httpRequest/url", "Authorization"),
    ({"httpRequest": {"url": "http://x/" + "a" * 2083}}, "/httpRequest/url", "2083"),
    ({"httpRequest": {"url": "http://[::1/"}}, "/httpRequest/url", "no URL"),
    ({"httpRequest": {"url": URL}, "attemptTimeout": "45m"}, "/attemptTimeout", "seconds with an s"),
    ({"httpRequest": {"url": URL}, "attemptTimeout": 45}, "/attemptTimeout", "text, not a number"),
    ({"httpRequest": {"url": URL}, "attemptTimeout": "-1s"}, "/attemptTimeout", "86400s"),
    ({"httpRequest": {"url": URL}, "attemptTimeout": "86401s"}, "/attemptTimeout", "86400s"),
    ({"httpRequest": {"url": URL}, "attemptTimeout": "999999999999s"}, "/attemptTimeout", "86400s"),
    ({"httpRequest": {"url": URL}, "scheduleTime": "tomorrow"}, "/scheduleTime", "RFC 3339"),
    ({"httpRequest": {"url": URL}, "scheduleTime": "2099-01-01T00:00:00Z"}, "/scheduleTime", "28 days"),
    ({"httpRequest": {"url": URL}, "scheduleTime": "0001-01-01T00:00:00+23:59"}, "/scheduleTime", "beyond"),
    ({"httpRequest": {"url": URL}, "retry": {"jitter": "some"}}, "/retry/jitter", "'none', 'equal' or 'full'"),
    ({"httpRequest": {"url": URL}, "retry": {"maxAttempts": 0}}, "/retry/maxAttempts", "at least 1"),
    ({"httpRequest": {"url": URL}, "retry": {"maxAttempts": -3}}, "/retry/maxAttempts", "at least 1"),
    ({"httpRequest": {"url": URL}, "retry": {"maxAttempts": True}}, "/retry/maxAttempts", "whole number"),
    ({"httpRequest": {"url": URL}, "retry": {"minBackoff": "20s", "maxBackoff": "10s"}}, "/retry", "over maxBackoff"),
    ({"httpRequest": {"url": URL}, "retry": {"maxBackoff": "2419201s"}}, "/retry/maxBackoff", "2419200s"),
    ({"httpRequest": {"url": URL}, "retry": {"multiplier": 0.5}}, "/retry/multiplier", "at least 1"),
    ({"httpRequest": {"url": URL}, "retry": {"retryOn": ["2xx"]}}, "/retry/retryOn/0", "5xx"),
    ({"id": "a/b", "httpRequest": {"url": URL}}, "/id", "letters, digits"),
    ({"id": "", "httpRequest": {"url": URL}}, "/id", "1 to 500"),
    ({"id": "x" * 501, "httpRequest": {"url": URL}}, "/id", "1 to 500"),
    ({"httpRequest": {"url": URL, "auth": "none", "oidcToken": {"serviceAccountEmail": "a@b"}}}, "/httpRequest", "at most one"),
    (
        {"httpRequest": {"url": URL, "oauthToken": {"serviceAccountEmail": "a@b"}, "oidcToken": {"serviceAccountEmail": "a@b"}}},
        "/httpRequest",
        "oidcToken and oauthToken",
    ),
    ({"httpRequest": {"url": URL, "body": "AA==", "json": {}}}, "/httpRequest", "not both"),
    ({"httpRequest": {"url": URL, "body": "not base64!"}}, "/httpRequest/body", "base64"),
    ({"httpRequest": {"url": URL, "httpMethod": "GET", "json": {}}}, "/httpRequest", "POST, PUT and PATCH"),
    ({"httpRequest": {"url": URL, "httpMethod": "BREW"}}, "/httpRequest/httpMethod", "'OPTIONS'"),
    ({"httpRequest": {"url": URL, "headers": {"Longcall-Task": "x"}}}, "/httpRequest/headers", "Longcall-Task"),
    ({"httpRequest": {"url": URL, "headers": {"Content-Length": "5"}}}, "/httpRequest/headers", "Content-Length"),
    ({"httpRequest": {"url": URL, "headers": {"X-A": "a\r\nX-B: b"}}}, "/httpRequest/headers", "X-A"),
    ({"httpRequest": {"url": URL, "headers": {"X-A": "a", "x-a": "b"}}}, "/httpRequest/headers", "once"),
    ({"httpRequest": {"url": URL, "headers": {"X A": "a"}}}, "/httpRequest/headers", "no header name"),
    ({"httpRequest": {"url": URL}, "labels": {"a:b": "c"}}, "/labels/a:b", "no colon"),
    ({"httpRequest": {"url": URL}, "callback": {"url": "x"}}, "/callback/url", "http:// or https://"),
    ({"httpRequest": {"url": URL}, "callback": {"url": URL, "secret": "billing"}}, "/callback/secret", "no webhook secret named billing"),
    ({"httpRequest": {"url": URL}, "callback": {"url": URL, "on": ["done"]}}, "/callback/on/0", "'failed'"),
    ({"httpRequest": {"url": URL}, "callback": {"url": URL, "on": ["failed", "failed"]}}, "/callback/on", "once"),
    ({"httpRequest": {"url": URL}, "callback": {"pubsub": {"topic": "t"}}}, "/callback/pubsub/topic", "projects/my-project/topics/ends"),
    ({"httpRequest": {"url": URL}, "callback": {}}, "/callback", "one of url and pubsub"),
    ({"httpRequest": {"url": URL}, "callback": {"url": URL, "pubsub": {"topic": "projects/p/topics/ends"}}}, "/callback", "one of url"),
    (
        {"httpRequest": {"url": URL}, "callback": {"pubsub": {"topic": "projects/p/topics/ends"}, "secret": "default"}},
        "/callback",
        "goes with url",
    ),
]


@pytest.mark.parametrize(("body", "pointer", "says"), BAD)
async def test_a_mistake_is_pointed_at(http: aiohttp.ClientSession, body: object, pointer: str, says: str) -> None:
    """400 problem+json with the field and what would be right; nothing is stored."""
    async with http.post("/v1/tasks", json=body) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, answer.content_type) == (400, "application/problem+json"), problem
    assert problem["code"] == "INVALID_ARGUMENT"
    assert any(each["pointer"] == pointer and says in each["detail"] for each in problem["errors"]), problem["errors"]
    assert (await get(http, "/v1/tasks"))[1]["tasks"] == []


BROKEN = (b"{", b"", b'{"a": 1e400}', b'{"a": "\\ud800"}', b'{"httpRequest": NaN}', b"\xff", b"[" * 100_000, b'{"a":1}x')


@pytest.mark.parametrize("raw", BROKEN)
async def test_broken_json_is_refused(http: aiohttp.ClientSession, raw: bytes) -> None:
    """What is no JSON is said to be none, whatever it does to a parser."""
    async with http.post("/v1/tasks", data=raw, headers={"Content-Type": "application/json"}) as answer:
        problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (400, "INVALID_ARGUMENT")
    assert "not JSON" in problem["detail"]


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/v1/tasks?stat=FAILED", "/stat"),
        ("/v1/tasks?state=LOST", "/state/0"),
        ("/v1/tasks?pageSize=501", "/pageSize"),
        ("/v1/tasks?pageToken=***", "/pageToken"),
        ("/v1/tasks?label=team", "/label"),
        ("/v1/tasks?createdAfter=yesterday", "/createdAfter"),
        ("/v1/tasks?createdAfter=0001-01-01T00:00:00%2B23:59", "/createdAfter"),
        ("/v1/tasks/a?wait=61s", "/wait"),
        ("/v1/tasks/a?wait=soon", "/wait"),
        ("/v1/tasks/a?patience=1s", "/patience"),
    ],
)
async def test_a_mistaken_question_is_pointed_at(http: aiohttp.ClientSession, path: str, pointer: str) -> None:
    """A filter with a typo must not list everything as if nothing had been asked."""
    status, problem = await get(http, path)
    assert (status, problem["errors"][0]["pointer"]) == (400, pointer), problem


@pytest.mark.parametrize("secret", ["", "wrong", "Bearer x"])
async def test_the_queue_s_door_opens_only_for_the_queue(http: aiohttp.ClientSession, secret: str) -> None:
    """Without the queue's secret 403, whatever else the request says of itself."""
    headers = {"Longcall-Queue-Secret": secret, "X-AppEngine-QueueName": "default", "X-AppEngine-TaskName": "forged"}
    async with http.post("/dispatch", json={"httpRequest": {"url": URL}}, headers=headers) as answer:
        problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (403, "PERMISSION_DENIED")
    assert (await get(http, "/v1/tasks/forged"))[0] == 404
