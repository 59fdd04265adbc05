"""Both clients against servers that misbehave, over real sockets."""

import json
from collections.abc import Awaitable, Callable

import pytest

from longcall.core.errors import InvalidArgumentError, UnavailableError
from longcall.sdk.errors import NoResponseError, NotLongcallError, OutOfReachError, WaitTimeout
from tests.sdk.conftest import Connect
from tests.target import Line, Serve, Target

Start = Callable[[Serve], Awaitable[Target]]
AS_JSON, AS_PROBLEM = "Content-Type: application/json", "Content-Type: application/problem+json"
WHEN = "2026-11-24T12:00:00Z"


def task(state: str = "RUNNING", version: int = 1, **more: object) -> bytes:
    """A task as the server shows it."""
    shown = {"id": "train", "state": state, "version": version, "createTime": WHEN, "updateTime": WHEN, "attemptCount": 1, **more}
    return json.dumps(shown).encode()


def at(target: Target) -> str:
    """The server's URL."""
    return f"http://127.0.0.1:{target.port}"


async def test_a_create_whose_answer_is_lost_is_sent_again(connect: Connect, serve: Start) -> None:
    """The connection breaks after the request was read: the same bytes come again, and one task is the result."""

    async def forgetful(line: Line) -> None:
        await line.request()
        if len(line.seen) > 1:
            await line.answer(200, task(), AS_JSON)

    server = await serve(forgetful)
    client = await connect(at(server))
    assert (await client.do("submit", "https://a/x", json={"n": 1})).id == "train"
    first, second = (json.loads(each.body) for each in server.seen)
    assert first == second
    assert len(first["id"]) == 36


@pytest.mark.parametrize("verb", ["cancel", "retry"])
async def test_a_change_whose_answer_is_lost_is_asked_for_again(connect: Connect, serve: Start, verb: str) -> None:
    """The connection breaks after the request was read: the same is asked once more."""

    async def forgetful(line: Line) -> None:
        await line.request()
        if len(line.seen) > 1:
            await line.answer(200, task("CANCELLED"), AS_JSON)

    server = await serve(forgetful)
    assert (await (await connect(at(server))).do(verb, "train")).state == "CANCELLED"
    assert [each.line for each in server.seen] == [f"POST /v1/tasks/train:{verb} HTTP/1.1"] * 2


async def test_a_task_that_a_lost_try_has_forgotten_is_forgotten(connect: Connect, serve: Start) -> None:
    """DELETE breaks, and then there is no such task any more: done."""

    async def forgetful(line: Line) -> None:
        await line.request()
        if len(line.seen) > 1:
            await line.answer(404, b'{"code": "NOT_FOUND", "detail": "there is no task train"}', AS_PROBLEM)

    server = await serve(forgetful)
    await (await connect(at(server))).do("forget", "train")
    assert [each.line for each in server.seen] == ["DELETE /v1/tasks/train HTTP/1.1"] * 2


async def test_a_task_not_yet_answered_has_no_response(connect: Connect, serve: Start) -> None:
    """`response` says so in a sentence, and `has_response` beforehand."""

    async def any_task(line: Line) -> None:
        await line.request()
        await line.answer(200, task(), AS_JSON)

    running = await (await connect(at(await serve(any_task)))).do("get", "train")
    assert not running.has_response
    with pytest.raises(NoResponseError, match="task train has no response: it is RUNNING"):
        _ = running.response


async def test_a_busy_server_is_asked_again(connect: Connect, serve: Start) -> None:
    """503 with Retry-After is not the last word."""

    async def busy(line: Line) -> None:
        await line.request()
        if len(line.seen) < 3:
            await line.answer(503, b'{"code": "UNAVAILABLE", "detail": "restarting"}', AS_PROBLEM, "Retry-After: 0")
        else:
            await line.answer(200, task(), AS_JSON)

    server = await serve(busy)
    assert (await (await connect(at(server))).do("get", "train")).state == "RUNNING"


async def test_a_server_that_stays_busy_is_unavailable(connect: Connect, serve: Start) -> None:
    """After a few tries the server's own sentence is raised."""

    async def busy(line: Line) -> None:
        await line.request()
        await line.answer(503, b'{"code": "UNAVAILABLE", "detail": "the store is out of reach"}', AS_PROBLEM, "Retry-After: 0")

    server = await serve(busy)
    with pytest.raises(UnavailableError, match="the store is out of reach"):
        await (await connect(at(server))).do("get", "train")
    assert len(server.seen) == 3


async def test_a_wait_outlives_broken_connections(connect: Connect, serve: Start) -> None:
    """Reset, half an answer, a full stop, 503: the wait goes on until the task has ended."""

    async def shaky(line: Line) -> None:
        await line.request()
        match len(line.seen):
            case 1:
                await line.answer(200, task(), AS_JSON)
            case 2:
                line.reset()
            case 3:
                await line.send(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{")
            case 4:
                await line.answer(503, b"", "Retry-After: 0")
            case _:
                await line.answer(200, task("SUCCEEDED", 2), AS_JSON)

    server = await serve(shaky)
    client = await connect(at(server))
    known = await client.do("get", "train")
    assert (await client.do("wait", of=known)).state == "SUCCEEDED"
    assert len(server.seen) == 5


async def test_a_wait_keeps_its_own_timeout(connect: Connect, serve: Start) -> None:
    """A server that answers nothing does not hold a wait for longer than was asked for."""

    async def shut(line: Line) -> None:
        await line.request()
        if len(line.seen) == 1:
            await line.answer(200, task(), AS_JSON)
        else:
            line.reset()

    client = await connect(at(await serve(shut)))
    known = await client.do("get", "train")
    with pytest.raises(WaitTimeout) as over:
        await client.do("wait", timeout="0.5s", of=known)
    assert over.value.task == known


async def test_who_talks_is_said(connect: Connect, serve: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """LONGCALL_URL and LONGCALL_TOKEN are read, and what is given goes before them; the token is a bearer's."""

    async def any_task(line: Line) -> None:
        await line.request()
        await line.answer(200, task(), AS_JSON)

    server = await serve(any_task)
    monkeypatch.setenv("LONGCALL_URL", f"{at(server)}/")
    monkeypatch.setenv("LONGCALL_TOKEN", "from-outside\n")
    await (await connect()).do("get", "train")
    await (await connect(at(server), "given")).do("get", "a/b")
    assert [each.headers["authorization"] for each in server.seen] == ["Bearer from-outside", "Bearer given"]
    assert [each.line for each in server.seen] == ["GET /v1/tasks/train HTTP/1.1", "GET /v1/tasks/a%2Fb HTTP/1.1"]
    assert server.seen[0].headers["user-agent"].startswith("longcall/")


async def test_loopback_needs_no_proxy(connect: Connect, serve: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not asked for what is on this machine."""

    async def any_task(line: Line) -> None:
        await line.request()
        await line.answer(200, task(), AS_JSON)

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await (await connect(at(await serve(any_task)))).do("get", "train")).id == "train"


async def test_nobody_there_is_said_so(connect: Connect, serve: Start) -> None:
    """A port where nobody listens is OutOfReachError, which names the URL."""

    async def never(line: Line) -> None:
        await line.request()

    gone = await serve(never)
    await gone.stop()
    with pytest.raises(OutOfReachError, match=f"nothing answers at http://127.0.0.1:{gone.port} "):
        await (await connect(at(gone))).do("get", "train")


async def test_another_server_is_no_longcall(connect: Connect, serve: Start) -> None:
    """A page of HTML is said to be no answer of ours."""

    async def website(line: Line) -> None:
        await line.request()
        await line.answer(200, b"<h1>Welcome</h1>", "Content-Type: text/html")

    with pytest.raises(NotLongcallError, match="200 with text/html"):
        await (await connect(at(await serve(website)))).do("get", "train")


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://a", "http://", "http://a:b:c"])
async def test_a_url_that_is_none_is_refused(connect: Connect, url: str) -> None:
    """The client is not made for what can't be a server."""
    with pytest.raises(InvalidArgumentError, match="is no URL"):
        await connect(url)


async def test_a_filter_that_does_not_exist_is_a_type_error(connect: Connect) -> None:
    """A misspelt filter does not list everything."""
    with pytest.raises(TypeError, match="stat"):
        await (await connect()).listed(stat="RUNNING")
