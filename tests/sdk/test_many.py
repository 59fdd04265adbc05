"""Many tasks submitted by one call, by both clients."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from longcall import InvalidArgumentError, NotAllSubmittedError, OutOfReachError
from longcall.core.errors import AlreadyExistsError, UnauthenticatedError
from longcall.sdk.server import new_id
from tests.sdk.conftest import Connect
from tests.sdk.service import Service
from tests.sdk.states import in_a_week
from tests.target import Line, Serve, Target

Start = Callable[[Serve], Awaitable[Target]]
AS_JSON, AS_PROBLEM = "Content-Type: application/json", "Content-Type: application/problem+json"
WHEN = "2026-11-24T12:00:00Z"


def task(task_id: str) -> bytes:
    """A task as the server shows it."""
    shown = {"id": task_id, "state": "SCHEDULED", "version": 1, "createTime": WHEN, "updateTime": WHEN, "attemptCount": 0}
    return json.dumps(shown).encode()


def at(target: Target) -> str:
    """The server's URL."""
    return f"http://127.0.0.1:{target.port}"


async def test_all_are_made_in_their_order(connect: Connect, up: Service) -> None:
    """The tasks come in the order they were asked for, each with its own options; progress counts up to all of them."""
    client, told = await connect(up.api), list[tuple[int, int]]()
    asked = [{"url": f"http://127.0.0.1:9/{n}", "labels": {"n": str(n)}, "schedule_time": in_a_week()} for n in range(40)]
    asked[3]["id"] = given = new_id()
    made = await client.do("submit_many", iter(asked), progress=lambda done, total: told.append((done, total)))
    assert [(each.url, each.labels["n"], each.state) for each in made] == [
        (each["url"], str(n), "SCHEDULED") for n, each in enumerate(asked)
    ]
    assert made[3].id == given
    assert len({each.id for each in made}) == 40
    assert [done for done, _ in told] == list(range(1, 41))
    assert {total for _, total in told} == {40}


async def test_no_more_at_once_than_was_said(connect: Connect, serve: Start) -> None:
    """Three run side by side, never four."""
    now, most = 0, 0

    async def slow(line: Line) -> None:
        nonlocal now, most
        seen = await line.request()
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.03)
        now -= 1
        await line.answer(201, task(json.loads(seen.body)["id"]), AS_JSON)

    client = await connect(at(await serve(slow)))
    assert len(await client.do("submit_many", [{"url": "http://a/"}] * 12, at_once=3)) == 12
    assert most == 3


async def test_a_refusal_of_one_does_not_keep_the_others_back(connect: Connect, up: Service) -> None:
    """The error names it, has the others' tasks, and what to send again."""
    client, known = await connect(up.api), new_id()
    later = in_a_week()
    await client.do("submit", "http://127.0.0.1:9/", id=known, schedule_time=later)
    asked = [{"url": f"http://127.0.0.1:9/{n}", "schedule_time": later, "id": known if n == 1 else None} for n in range(4)]
    with pytest.raises(NotAllSubmittedError, match=f"1 of 4 tasks were not submitted; the first, number 1 \\({known}\\): ") as caught:
        await client.do("submit_many", asked)
    error = caught.value
    assert [each.url[-1] for each in error.tasks] == ["0", "2", "3"]
    assert [(each.index, each.request["id"]) for each in error.failed] == [(1, known)]
    assert isinstance(error.failed[0].error, AlreadyExistsError)
    assert error.__cause__ is error.failed[0].error
    again = await client.do("submit_many", [{**error.failed[0].request, "url": "http://127.0.0.1:9/"}])
    assert [each.id for each in again] == [known]


async def test_what_would_befall_all_stops_the_rest(connect: Connect, serve: Start) -> None:
    """A token that is not taken is asked with once, not a thousand times; the rest has its ids, to be sent again."""

    async def closed(line: Line) -> None:
        await line.request()
        await line.answer(401, b'{"detail": "no token"}', AS_PROBLEM)

    server = await serve(closed)
    client = await connect(at(server))
    with pytest.raises(NotAllSubmittedError) as caught:
        await client.do("submit_many", [{"url": "http://a/"}] * 50, at_once=1)
    failed = caught.value.failed
    assert len(server.seen) == 1
    assert isinstance(failed[0].error, UnauthenticatedError)
    assert [each.error for each in failed[1:]] == [None] * 49
    assert failed[0].request["id"] == json.loads(server.seen[0].body)["id"]
    assert len({each.request["id"] for each in failed}) == 50


async def test_nobody_there(connect: Connect) -> None:
    """It is given up after the tries of those that were under way."""
    client = await connect("http://127.0.0.1:9")
    with pytest.raises(NotAllSubmittedError) as caught:
        await client.do("submit_many", [{"url": "http://a/"}] * 1000, at_once=2)
    assert isinstance(caught.value.failed[0].error, OutOfReachError)
    assert (len(caught.value.tasks), len(caught.value.failed)) == (0, 1000)


async def test_a_lost_answer_is_sent_again_under_its_id(connect: Connect, serve: Start) -> None:
    """The connection breaks after each first request was read: as many tasks as were asked for are the result."""
    heard = dict[str, int]()

    async def forgetful(line: Line) -> None:
        asked = json.loads((await line.request()).body)["id"]
        heard[asked] = heard.get(asked, 0) + 1
        if heard[asked] > 1:
            await line.answer(200, task(asked), AS_JSON)

    client = await connect(at(await serve(forgetful)))
    made = await client.do("submit_many", [{"url": "http://a/"}] * 5)
    assert heard == {each.id: 2 for each in made}


async def test_nothing_is_sent_when_one_can_not_be_written_down(connect: Connect, serve: Start) -> None:
    """The error points at the place in the list; an unknown option is a TypeError, no one at once is refused."""

    async def never(line: Line) -> None:
        await line.request()

    server = await serve(never)
    client = await connect(at(server))
    with pytest.raises(InvalidArgumentError) as caught:
        await client.do("submit_many", [{"url": "http://a/"}, {"url": "http://a/", "attempt_timeout": "soon"}])
    assert [each.pointer for each in caught.value.errors] == ["/1/attemptTimeout"]
    with pytest.raises(InvalidArgumentError, match="/1/url"):
        await client.do("submit_many", [{"url": "http://a/"}, {}])
    with pytest.raises(TypeError, match="timeoutt"):
        await client.do("submit_many", [{"url": "http://a/", "timeoutt": "1s"}])
    with pytest.raises(InvalidArgumentError, match="at_once"):
        await client.do("submit_many", [], at_once=0)
    assert await client.do("submit_many", []) == ()
    assert server.seen == []


async def test_what_progress_raises_ends_it(connect: Connect, serve: Start) -> None:
    """It comes out as it is, and what is not under way is not sent."""

    async def slow(line: Line) -> None:
        seen = await line.request()
        await asyncio.sleep(0.02)
        await line.answer(201, task(json.loads(seen.body)["id"]), AS_JSON)

    def enough(done: int, _: int) -> None:
        if done == 2:
            raise RuntimeError("enough")

    server = await serve(slow)
    client = await connect(at(server))
    with pytest.raises(RuntimeError, match="enough"):
        await client.do("submit_many", [{"url": "http://a/"}] * 100, at_once=2, progress=enough)
    assert len(server.seen) <= 6
