"""`events()` and `changes()` of both clients: against servers that misbehave, and against the whole of Longcall."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from longcall.core.errors import NotFoundError
from longcall.sdk.errors import NotLongcallError, OutOfReachError
from longcall.sdk.server import new_id
from tests.sdk.conftest import Connect
from tests.sdk.service import Service
from tests.sdk.states import ONCE, failing
from tests.sdk.test_clients import AS_PROBLEM, at
from tests.sdk.test_listening import event
from tests.target import Line, Serve, Target

Start = Callable[[Serve], Awaitable[Target]]
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


async def test_a_watch_outlives_broken_connections(connect: Connect, serve: Start) -> None:
    """A reset, an event that breaks off, a full stop, 503: each version comes once, and it goes on from the last place."""

    async def shaky(line: Line) -> None:
        await line.request()
        match len(line.seen):
            case 1:
                await line.send(STREAM + b"retry: 10\n\n" + event("SCHEDULED"))
                await asyncio.sleep(0.1)
                line.reset()
            case 2:
                await line.send(STREAM + event(version=2) + event("WAITING", 3)[:40])
            case 3:
                line.reset()
            case 4:
                await line.answer(503, b"", "Retry-After: 0")
            case _:
                await line.send(STREAM + event(version=2) + event("SUCCEEDED", 4))
                await line.gone()

    server = await serve(shaky)
    seen = await (await connect(at(server))).watched("events", "train")
    assert [(task.version, task.state) for task in seen] == [(1, "SCHEDULED"), (2, "RUNNING"), (4, "SUCCEEDED")]
    assert [each.headers.get("last-event-id") for each in server.seen] == [None, "1", "2", "2", "2"]
    assert {each.headers["accept"] for each in server.seen} == {"text/event-stream"}


async def test_an_iterator_that_is_left_closes_its_connection(connect: Connect, serve: Start) -> None:
    """Nobody goes on listening for a loop that was left."""
    closed = asyncio.Event()

    async def patient(line: Line) -> None:
        await line.request()
        await line.send(STREAM + event())
        await line.gone()
        closed.set()

    client = await connect(at(await serve(patient)))
    assert len(await client.watched("events", "train", until=lambda _: True)) == 1
    await asyncio.wait_for(closed.wait(), 5)


async def test_a_server_that_is_not_there_or_another_is_said(connect: Connect, serve: Start) -> None:
    """And so is a task that is not there."""

    async def website(line: Line) -> None:
        await line.request()
        await line.answer(200, b"<h1>Welcome</h1>", "Content-Type: text/html")

    async def empty(line: Line) -> None:
        await line.request()
        await line.answer(404, b'{"code": "NOT_FOUND", "detail": "there is no task train"}', AS_PROBLEM)

    for handler, error in ((website, NotLongcallError), (empty, NotFoundError)):
        with pytest.raises(error):
            await (await connect(at(await serve(handler)))).watched("events", "train")
    with pytest.raises(OutOfReachError):
        await (await connect("http://127.0.0.1:9")).watched("changes")


async def test_a_task_is_watched_to_its_end(connect: Connect, serve: Start, up: Service) -> None:
    """Every state as it comes; the end is given and not raised, whichever it is."""
    going = asyncio.Event()

    async def slow(line: Line) -> None:
        await line.request()
        await going.wait()
        await line.answer(500)

    client = await connect(up.api)
    task = await client.do("submit", (await serve(slow)).url, retry=ONCE)

    def start(seen: object) -> bool:
        if getattr(seen, "state", "") == "RUNNING":
            loop.call_soon_threadsafe(going.set)
        return False

    loop = asyncio.get_running_loop()
    seen = await client.watched("events", of=task, until=start)
    assert [each.state for each in seen][-2:] == ["RUNNING", "FAILED"]
    assert seen[-1].failure.reason == "status"
    assert [each.version for each in await client.watched("events", task.id)] == [seen[-1].version]


async def test_a_task_not_seen_yet_is_waited_for(connect: Connect, serve: Start, up: Service) -> None:
    """One put by hand gets its record at its first dispatch."""
    client, task_id = await connect(up.api), new_id()
    watching = asyncio.create_task(client.watched("events", task_id))
    await asyncio.sleep(0.3)
    await client.do("submit", (await serve(failing)).url, id=task_id, retry=ONCE)
    assert [each.state for each in await asyncio.wait_for(watching, 10)][-1] == "FAILED"


async def test_all_tasks_are_watched(connect: Connect, serve: Start, up: Service) -> None:
    """By a label: what waits is there first, and what comes later is told up to its end."""
    client, team = await connect(up.api), new_id()
    first = await client.do("submit", (await serve(failing)).url, labels={"team": team})
    watching = asyncio.create_task(client.watched("changes", label=f"team:{team}", until=lambda task: task.id != first.id and task.ended))
    await asyncio.sleep(0.5)
    second = await client.do("submit", (await serve(failing)).url, labels={"team": team}, retry=ONCE)
    seen = await asyncio.wait_for(watching, 10)
    assert {task.id for task in seen} == {first.id, second.id}
    assert (seen[0].id, seen[-1].state, seen[-1].attempts) == (first.id, "FAILED", ())
    await client.do("cancel", first.id)
