"""Server-sent events over real sockets, byte by byte."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from longcall.core import lifecycle
from longcall.core.task import State, Task
from longcall.engine.requeue import Requeue
from longcall.engine.stats import Stats
from longcall.web import api, events, server
from longcall.web.render import Renderer
from longcall.web.schema import Reader
from tests.engine.house import House
from tests.making import NOON, responded, running, scheduled, spec

Json = dict[str, Any]
Serving = Callable[..., AbstractAsyncContextManager["Site"]]


@dataclass
class Stream:
    """One connection's answer, as it comes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    async def begin(self) -> None:
        """Read the head."""
        first, *rest = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}

    async def chunk(self) -> bytes:
        """One chunk of the body; the last one is empty."""
        size = int(await self.reader.readline(), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def event(self) -> tuple[str, Json]:
        """The next event's id and data, whatever signs of life come before it."""
        while True:
            lines = (await self.chunk()).decode().split("\n")
            if lines[0] == "event: task":
                *where, data, blank, end = lines[1:]
                assert (blank, end) == ("", "")
                return "".join(where).removeprefix("id: "), json.loads(data.removeprefix("data: "))

    async def told(self) -> tuple[str, str, str]:
        """The next event's id, and the id and state of its task."""
        where, data = await self.event()
        return where, data["id"], data["state"]

    async def rest(self) -> bytes:
        """Everything up to a proper end."""
        body = b""
        while chunk := await self.chunk():
            body += chunk
        return body

    async def json(self) -> Json:
        """An answer that is no stream."""
        found: Json = json.loads(await self.reader.readexactly(int(self.headers["content-length"])))
        return found


@dataclass
class Site:
    """A server, and the connections to it."""

    house: House
    port: int
    open: list[Stream] = field(default_factory=list)

    async def get(self, path: str, **headers: str) -> Stream:
        """Ask for something."""
        async with asyncio.timeout(10):
            stream = Stream(*await asyncio.open_connection("127.0.0.1", self.port, limit=2**20))
            self.open.append(stream)
            lines = [f"GET {path} HTTP/1.1", "Host: longcall", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
            stream.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
            await stream.begin()
        return stream


@asynccontextmanager
async def serving(house: House, **parts: Any) -> AsyncIterator[Site]:  # noqa: ANN401 — fields of Parts
    """Serve the API of a house."""
    made = api.Parts(
        house.submitter,
        house.control,
        Requeue(house.control),
        house.clock,
        Reader(frozenset()),
        Renderer("http://longcall"),
        Stats.of(house.store, house.clock),
        **parts,
    )
    with server.listen("127.0.0.1", 0) as listening:
        site = Site(house, listening.getsockname()[1])
        async with server.serve(api.make(made), listening):
            try:
                yield site
            finally:
                house.control.closing.set()
                for stream in site.open:
                    stream.writer.transport.abort()


async def rewrite(house: House, task: Task) -> None:
    """Write a record's next version."""
    stored = await house.stored(task.id)
    assert await house.store.replace(replace(task, version=stored.task.version + 1), stored.tag)


async def end(house: House) -> None:
    """Let the task succeed."""
    await rewrite(house, lifecycle.settle(running(), responded(), NOON, 0.5))


@pytest.fixture
def house() -> House:
    """An engine."""
    return House()


async def test_a_task_s_versions_come_as_they_are_written(house: House) -> None:
    """The bytes of a stream from its head to its end; coming back after that is answered 204."""
    await house.submit()
    async with serving(house) as site:
        stream = await site.get("/v1/tasks/train/events")
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert (stream.headers["cache-control"], stream.headers["x-accel-buffering"]) == ("no-cache, no-transform", "no")
        assert await stream.chunk() == b"retry: 1000\n\n"
        assert (await stream.chunk()).startswith(b'event: task\nid: 1\ndata: {"id":"train",')
        await rewrite(house, running())
        where, view = await asyncio.wait_for(stream.event(), 5)
        assert (where, view["state"], view["links"]["events"]) == ("2", "RUNNING", "http://longcall/v1/tasks/train/events")
        assert len(view["attempts"]) == 1
        await end(house)
        assert await asyncio.wait_for(stream.told(), 5) == ("3", "train", "SUCCEEDED")
        assert await stream.rest() == b""
        again = await site.get("/v1/tasks/train/events", Last_Event_ID="3")
        assert (again.status, "content-type" in again.headers) == (204, False)


@pytest.mark.parametrize("seen", ["1", "7"])
async def test_whoever_comes_back_gets_the_present_version(house: House, seen: str) -> None:
    """Also one who has seen a later version: of an older record under this id."""
    await house.submit()
    await rewrite(house, running())
    async with serving(house) as site:
        stream = await site.get("/v1/tasks/train/events", Last_Event_ID=seen)
        assert await asyncio.wait_for(stream.told(), 5) == ("2", "train", "RUNNING")


async def test_the_version_that_was_seen_is_not_sent_again(house: House) -> None:
    """The next one is the first event."""
    await house.submit()
    async with serving(house) as site:
        stream = await site.get("/v1/tasks/train/events", Last_Event_ID="1")
        await rewrite(house, running())
        assert await asyncio.wait_for(stream.told(), 5) == ("2", "train", "RUNNING")


async def test_an_end_that_was_not_seen_is_sent_on_coming_back(house: House) -> None:
    """204 is only for those who have it."""
    await house.submit()
    await rewrite(house, running())
    await end(house)
    async with serving(house) as site:
        stream = await site.get("/v1/tasks/train/events", Last_Event_ID="2")
        assert await asyncio.wait_for(stream.told(), 5) == ("3", "train", "SUCCEEDED")
        assert await stream.rest() == b""


async def test_an_id_that_is_not_there_is_said_at_once_or_waited_for(house: House) -> None:
    """404 as a problem; with `wait` the stream begins when the task is seen."""
    async with serving(house) as site:
        missing = await site.get("/v1/tasks/train/events")
        assert (missing.status, (await missing.json())["code"]) == (404, "NOT_FOUND")
        assert (await site.get("/v1/tasks/train/events?wait=0.1s")).status == 404
        coming = asyncio.create_task(site.get("/v1/tasks/train/events?wait=30s"))
        await asyncio.sleep(0.1)
        await house.submit()
        assert await (await coming).told() == ("1", "train", "SCHEDULED")


@pytest.mark.parametrize(
    ("path", "seen", "pointer"),
    [
        ("/v1/tasks/train/events", "yesterday", "/Last-Event-ID"),
        ("/v1/tasks/train/events", "-1", "/Last-Event-ID"),
        ("/v1/tasks/train/events?wait=61s", "", "/wait"),
        ("/v1/tasks/train/events?wiat=1s", "", "/wiat"),
        ("/v1/events", "7", "/Last-Event-ID"),
        ("/v1/events?state=DONE", "", "/state/0"),
        ("/v1/events?label=team", "", "/label"),
        ("/v1/events?pageSize=7", "", "/pageSize"),
    ],
)
async def test_what_is_wrong_is_said(house: House, path: str, seen: str, pointer: str) -> None:
    """400 that names the place, before any stream."""
    await house.submit()
    async with serving(house) as site:
        wrong = await site.get(path, Last_Event_ID=seen)
        assert (wrong.status, [each["pointer"] for each in (await wrong.json())["errors"]]) == (400, [pointer])


async def test_silence_is_broken_by_comments(house: House) -> None:
    """A line that readers skip, again and again."""
    await house.submit()
    async with serving(house, silence=1.0) as site, asyncio.timeout(10):
        stream = await site.get("/v1/tasks/train/events", Last_Event_ID="1")
        assert [await stream.chunk() for _ in range(3)] == [b"retry: 1000\n\n", b":\n\n", b":\n\n"]


async def test_a_task_that_is_forgotten_ends_the_stream(house: House) -> None:
    """A proper end, and 404 for whoever comes back."""
    await house.submit()
    async with serving(house) as site, asyncio.timeout(10):
        stream = await site.get("/v1/tasks/train/events")
        await stream.told()
        await asyncio.sleep(0.05)
        assert await house.store.delete(*await house.stored())
        assert await stream.rest() == b""
        assert (await site.get("/v1/tasks/train/events", Last_Event_ID="1")).status == 404


async def test_a_process_that_stops_ends_all_streams_at_once(house: House) -> None:
    """Each with a proper end, and each told at its beginning to be back in a second."""
    await house.submit()
    async with serving(house) as site, asyncio.timeout(10):
        streams = [await site.get(path) for path in ("/v1/tasks/train/events", "/v1/events", "/v1/events") * 5]
        await asyncio.sleep(0.1)
        house.control.closing.set()
        async with asyncio.timeout(1):
            for stream in streams:
                assert (await stream.rest()).startswith(b"retry: 1000\n\n")


@pytest.mark.parametrize("path", ["/v1/tasks/train/events", "/v1/events"])
async def test_a_reader_who_has_gone_is_not_watched_for(house: House, path: str) -> None:
    """Nothing is left of his stream a moment later."""
    await house.submit()
    async with serving(house) as site:
        before = len(asyncio.all_tasks())
        streams = [await site.get(path) for _ in range(20)]
        for stream in streams:
            await stream.event()
        assert len(asyncio.all_tasks()) > before + 20
        for number, stream in enumerate(streams):
            if number % 2:
                stream.writer.transport.abort()
            else:
                stream.writer.close()
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110 — nobody is told when a server is done with a reader
                await asyncio.sleep(0.02)


async def test_a_reader_who_does_not_read_has_nothing_piled_up_for_him(house: House) -> None:
    """Of 200 versions of half a megabyte he gets those that were there when he could take one, and the last one."""
    await house.store.insert(scheduled(asked=spec(labels={"long": "x" * 500_000})))
    async with serving(house) as site, asyncio.timeout(30):
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)  # noqa: FBT003 — the socket's own method
        await asyncio.get_running_loop().sock_connect(slow, ("127.0.0.1", site.port))
        await asyncio.get_running_loop().sock_sendall(slow, b"GET /v1/tasks/train/events HTTP/1.1\r\nHost: longcall\r\n\r\n")
        await asyncio.sleep(0.2)
        for _ in range(200):
            await rewrite(house, (await house.stored()).task)
            await asyncio.sleep(0)
        stored = await house.stored()
        await rewrite(house, replace(stored.task, state=State.CANCELLED))
        stream = Stream(*await asyncio.open_connection(sock=slow, limit=2**22))
        await stream.begin()
        told = [line for line in (await stream.rest()).split(b"\n") if line.startswith(b"id: ")]
        stream.writer.close()
    assert told[-1] == b"id: 202"
    assert len(told) < 40


async def test_where_answers_are_collected_each_ends_after_its_first_event(house: House) -> None:
    """A version, and the end of the answer; coming back gives the next one."""
    await house.submit()
    async with serving(house, short=True) as site, asyncio.timeout(10):
        first = await site.get("/v1/tasks/train/events")
        assert (await first.rest()).startswith(b"retry: 1000\n\nevent: task\nid: 1\n")
        second = await site.get("/v1/tasks/train/events", Last_Event_ID="1")
        await rewrite(house, running())
        assert b"id: 2\n" in await second.rest()


@pytest.mark.parametrize("path", ["/v1/tasks/train/events", "/v1/events"])
async def test_where_answers_are_collected_each_ends_without_news_too(house: House, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 25 s, which are one here."""
    monkeypatch.setattr(events, "SHORT", 1.0)
    await house.submit()
    await rewrite(house, replace(running(), state=State.FAILED) if path == "/v1/events" else running())
    async with serving(house, short=True) as site, asyncio.timeout(10):
        stream = await site.get(path, **({} if path == "/v1/events" else {"Last_Event_ID": "2"}))
        assert b"event:" not in await stream.rest()


async def test_where_answers_are_collected_all_changes_come_by_coming_back(house: House) -> None:
    """What has not ended at first; then, from the place in the first answer on, what has changed since."""
    await house.submit()
    async with serving(house, short=True) as site, asyncio.timeout(10):
        first = (await (await site.get("/v1/events")).rest()).decode()
        assert first.count("event: task") == 1
        place = first.strip().rpartition("id: ")[2]
        await house.clock.advance(1)
        await end(house)
        second = (await (await site.get("/v1/events", Last_Event_ID=place)).rest()).decode()
        assert '"state":"SUCCEEDED"' in second


async def test_all_changes_come_as_lists_show_them(house: House) -> None:
    """First what has not ended, then each change with a place to come back to; without bodies and attempts."""
    await house.submit("one")
    await house.submit("two", spec(labels={"team": "ml"}))
    async with serving(house) as site, asyncio.timeout(10):
        everything, labelled = await site.get("/v1/events"), await site.get("/v1/events?label=team:ml")
        assert sorted([await everything.told(), await everything.told()]) == [("", "one", "SCHEDULED"), ("", "two", "SCHEDULED")]
        assert (await labelled.told())[1] == "two"
        await asyncio.sleep(0.1)
        for task_id in ("one", "two"):
            await rewrite(house, running(task_id, (await house.task(task_id)).spec))  # type: ignore[arg-type] # both can be read
        await house.clock.advance(2)
        places = set()
        for _ in range(2):
            where, row = await everything.event()
            places.add(where)
            assert (row["state"], "attempts" in row, "body" in row["httpRequest"]) == ("RUNNING", False, False)
        assert (await labelled.told())[1:] == ("two", "RUNNING")
        again = await site.get("/v1/events", Last_Event_ID=min(places))
        assert {(await again.told())[1] for _ in range(2)} == {"one", "two"}


async def test_the_schema_has_the_streams(house: House) -> None:
    """What they answer, and as what."""
    async with serving(house) as site:
        paths = (await (await site.get("/openapi.json")).json())["paths"]
    assert set(paths["/v1/tasks/{task_id}/events"]["get"]["responses"]) >= {"200", "204", "400", "404", "503"}
    assert set(paths["/v1/events"]["get"]["responses"]["200"]["content"]) == {"text/event-stream"}
