from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from longcall.queue import EmbeddedQueue
    from tests.queue.conftest import Target

QUEUE = "projects/p/locations/l/queues/q"
LATER = "2026-11-25T08:00:00Z"


@pytest.fixture
async def http(queue: EmbeddedQueue) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a plain HTTP client of the REST face."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{queue.rest_port}") as session:
        yield session


async def _create(http: aiohttp.ClientSession, query: str = "", **fields: Any) -> dict[str, Any]:  # noqa: ANN401 — JSON
    task = {"httpRequest": {"url": "http://target.test/"}, "scheduleTime": LATER} | fields
    async with http.post(f"/v2/{QUEUE}/tasks{query}", json={"task": task}) as answer:
        assert answer.status == 200
        read: dict[str, Any] = await answer.json()
        return read


async def test_a_task_in_json(http: aiohttp.ClientSession) -> None:
    """A task comes back in protobuf's JSON: names of enums, durations with an s, times in RFC 3339."""
    request = {"url": "http://target.test/", "httpMethod": "PUT", "body": "aGk=", "headers": {"A": "b"}}
    made = await _create(http, httpRequest=request, dispatchDeadline="1800s", name=f"{QUEUE}/tasks/one")
    assert made == {
        "name": f"{QUEUE}/tasks/one",
        "httpRequest": {
            "url": "http://target.test/",
            "httpMethod": "PUT",
            "headers": {"A": "b", "User-Agent": "Google-Cloud-Tasks"},
        },
        "scheduleTime": LATER,
        "createTime": "2026-11-24T08:00:00Z",
        "dispatchDeadline": "1800s",
        "view": "BASIC",
    }
    async with http.get(f"/v2/{QUEUE}/tasks/one?responseView=FULL") as answer:
        assert (await answer.json())["httpRequest"]["body"] == "aGk="


async def test_who_asks_for_h2c_in_passing_keeps_its_body(http: aiohttp.ClientSession) -> None:
    """Java's client does, with each first request of plain HTTP."""
    asked = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    task = {"httpRequest": {"url": "http://target.test/"}, "scheduleTime": LATER}
    async with http.post(f"/v2/{QUEUE}/tasks", json={"task": task}, headers=asked) as answer:
        assert answer.status == 200, await answer.text()


@pytest.mark.parametrize("method", ["PUT", 4])
async def test_enums_by_name_and_number(http: aiohttp.ClientSession, method: str | int) -> None:
    """Enums are read as names and as numbers, and answered as numbers to who asks for them."""
    request = {"url": "http://target.test/", "httpMethod": method}
    made = await _create(http, "?%24alt=json%3Benum-encoding%3Dint", httpRequest=request)
    assert (made["httpRequest"]["httpMethod"], made["view"]) == (4, 1)


async def test_an_app_engine_task_with_the_longest_deadline(http: aiohttp.ClientSession, target: Target) -> None:
    """A task as Longcall sends it, with a deadline of 24 h and 15 s and a body, is taken and dispatched."""
    request = {"relativeUri": "/dispatch", "body": "eyJ0YXNrIjogInQifQ==", "headers": {"Content-Type": "application/json"}}
    made = await _create(http, appEngineHttpRequest=request, dispatchDeadline="86415s", httpRequest=None, scheduleTime=None)
    seen = await target.arrived(1)
    assert made["dispatchDeadline"] == "86415s"
    assert (seen.body, seen.headers["Content-Type"]) == (b'{"task": "t"}', "application/json")


async def test_pause_with_and_without_a_body(http: aiohttp.ClientSession) -> None:
    """``:pause`` takes ``{}`` and nothing at all; ``:resume`` undoes it; ``:run`` and ``:purge`` are there."""
    for body in (b"{}", b""):
        async with http.post(f"/v2/{QUEUE}:pause", data=body) as answer:
            assert (answer.status, (await answer.json())["state"]) == (200, "PAUSED")
    async with http.post(f"/v2/{QUEUE}:resume", json={}) as answer:
        assert (await answer.json())["state"] == "RUNNING"
    await _create(http, name=f"{QUEUE}/tasks/one")
    async with http.post(f"/v2/{QUEUE}/tasks/one:run", json={}) as answer:
        assert (await answer.json())["dispatchCount"] == 1
    async with http.post(f"/v2/{QUEUE}:purge", json={}) as answer:
        assert "purgeTime" in await answer.json()


async def test_a_camel_case_mask(http: aiohttp.ClientSession) -> None:
    """The update mask is read in camelCase, and only what it names is changed."""
    body = {"rateLimits": {"maxConcurrentDispatches": 7}, "retryConfig": {"maxAttempts": 9}}
    async with http.patch(f"/v2/{QUEUE}?updateMask=rateLimits.maxConcurrentDispatches", json=body) as answer:
        changed = await answer.json()
    assert (changed["rateLimits"]["maxConcurrentDispatches"], changed["retryConfig"]["maxAttempts"]) == (7, 100)


async def test_pages(http: aiohttp.ClientSession) -> None:
    """Page size and token are read from the query; an empty list is an empty object."""
    async with http.get(f"/v2/{QUEUE}/tasks") as answer:
        assert await answer.json() == {}
    for name in ("a", "b", "c"):
        await _create(http, name=f"{QUEUE}/tasks/{name}")
    async with http.get(f"/v2/{QUEUE}/tasks?pageSize=2") as answer:
        first = await answer.json()
    async with http.get(f"/v2/{QUEUE}/tasks?pageSize=2&pageToken={first['nextPageToken']}") as answer:
        second = await answer.json()
    assert [task["name"][-1] for task in first["tasks"] + second["tasks"]] == ["a", "b", "c"]
    assert "nextPageToken" not in second


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ("tasks.name", {"tasks": [{"name": f"{QUEUE}/tasks/one"}]}),
        ("tasks/name", {"tasks": [{"name": f"{QUEUE}/tasks/one"}]}),
        (
            "tasks(name,httpRequest(url)),nextPageToken",
            {"tasks": [{"name": f"{QUEUE}/tasks/one", "httpRequest": {"url": "http://target.test/"}}]},
        ),
        ("tasks/httpRequest/headers", {"tasks": [{"httpRequest": {"headers": {"User-Agent": "Google-Cloud-Tasks"}}}]}),
        ("nextPageToken", {}),
    ],
)
async def test_partial_answers(http: aiohttp.ClientSession, fields: str, answer: object) -> None:
    """``fields`` chooses what of an answer is sent, in each of the ways Google writes it."""
    await _create(http, name=f"{QUEUE}/tasks/one")
    async with http.get(f"/v2/{QUEUE}/tasks", params={"fields": fields}) as partial:
        assert (partial.status, await partial.json()) == (200, answer)
    async with http.get(f"/v2/{QUEUE}/tasks?fields=*") as whole, http.get(f"/v2/{QUEUE}/tasks") as plain:
        assert await whole.json() == await plain.json()


@pytest.mark.parametrize("fields", ["nonsense", "tasks/nonsense", "tasks(name/first)", ")", "tasks)(", "((((", "tasks.name.a"])
async def test_fields_that_are_none(http: aiohttp.ClientSession, fields: str) -> None:
    """A field that is none, and brackets that don't fit, are refused with what was asked for."""
    async with http.get(f"/v2/{QUEUE}/tasks", params={"fields": fields}) as answer:
        assert (await answer.json())["error"]["message"] == f"Invalid field selection {fields}"


async def test_the_help_of_a_refusal(http: aiohttp.ClientSession) -> None:
    """A refusal has its details as protobuf's JSON writes them, with their type."""
    async with http.get("/v2/projects/p/locations/l/queues/under_score") as answer:
        (detail,) = (await answer.json())["error"]["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.Help"
    assert detail["links"][0]["description"] == "Definition of queue name"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", f"{QUEUE}/tasks/none", None, 404, "NOT_FOUND"),
        ("GET", "projects/p/locations/l/queues/none", None, 404, "NOT_FOUND"),
        ("POST", "projects/p/locations/l/queues", {"name": QUEUE}, 409, "ALREADY_EXISTS"),
        ("POST", f"{QUEUE}/tasks", {"task": {}}, 400, "INVALID_ARGUMENT"),
        ("POST", f"{QUEUE}/tasks", {"tusk": {}}, 400, "INVALID_ARGUMENT"),
        ("POST", f"{QUEUE}/tasks", [], 400, "INVALID_ARGUMENT"),
        ("POST", f"{QUEUE}/tasks:batchCreate", {}, 501, "UNIMPLEMENTED"),
        ("POST", f"{QUEUE}/tasks:buffer", {}, 501, "UNIMPLEMENTED"),
        ("POST", f"{QUEUE}/tasks/one:buffer", {}, 501, "UNIMPLEMENTED"),
        ("GET", f"{QUEUE}/tasks?fields=nonsense", None, 400, "INVALID_ARGUMENT"),
        ("GET", "projects", None, 404, "NOT_FOUND"),
        ("GET", f"{QUEUE}/", None, 404, "NOT_FOUND"),
        ("PUT", QUEUE, {}, 404, "NOT_FOUND"),
        ("OPTIONS", QUEUE, None, 404, "NOT_FOUND"),
        ("PATCH", f"{QUEUE}/tasks/none", {}, 404, "NOT_FOUND"),
    ],
)
async def test_errors_are_googles(http: aiohttp.ClientSession, method: str, path: str, body: object, status: int, code: str) -> None:
    """An error has its HTTP status, and a body with code, message and status."""
    async with http.request(method, f"/v2/{path}", json=body) as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error["code"], error["status"]) == (status, status, code)
        assert error["message"]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.test"}, {"Host": "evil.test"}])
async def test_web_pages_are_refused(http: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    """A page in the developer's browser can't put tasks on the queue, also not under a name that leads here."""
    async with http.post(f"/v2/{QUEUE}:pause", json={}, headers=headers) as answer:
        assert (answer.status, (await answer.json())["error"]["status"]) == (403, "PERMISSION_DENIED")


async def test_too_large_a_body(http: aiohttp.ClientSession) -> None:
    """A body beyond what gRPC would take is refused before it is read to its end."""
    async with http.post(f"/v2/{QUEUE}/tasks", data=io.BytesIO(bytes(5_000_000))) as answer:
        assert (answer.status, (await answer.json())["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_times_and_durations_out_of_range(http: aiohttp.ClientSession) -> None:
    """A duration longer than can be reckoned with is refused, not an error of the server."""
    task = {"httpRequest": {"url": "http://target.test/"}, "dispatchDeadline": "315576000000s"}
    async with http.post(f"/v2/{QUEUE}/tasks", json={"task": task}) as answer:
        assert answer.status == 400
    task = {"httpRequest": {"url": "http://target.test/"}, "scheduleTime": "9999-12-31T23:59:59Z"}
    async with http.post(f"/v2/{QUEUE}/tasks", json={"task": task}) as answer:
        assert answer.status == 400
