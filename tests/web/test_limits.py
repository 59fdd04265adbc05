"""What a sender may do: how large a head, how slow, how deep, how many, how often."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yarl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from longcall.assembly import LaptopOptions, laptop
from longcall.core.errors import LongcallError
from longcall.core.wire import MAX_DEPTH, loads
from longcall.settings import Settings
from longcall.web import body, problems, server
from longcall.web.body import Pace
from longcall.web.edge import MAX_HEAD, MAX_HEADERS
from tests.target import Line, Serve, Target
from tests.web.entrances import READ, TOKENS, WRITE

Start = Callable[[Serve], Awaitable[Target]]
URL = "http://127.0.0.1:9/"


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a whole stack."""
    async with laptop(LaptopOptions(0, 0, 0, tmp_path / "data")) as running, aiohttp.ClientSession(running.api_url) as session:
        yield session


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({f"X-{number}": "x" for number in range(MAX_HEADERS - 10)}, 200),
        ({f"X-{number}": "x" for number in range(MAX_HEADERS)}, 431),
        ({"X-Long": "x" * (MAX_HEAD - 1000)}, 200),
        ({"X-Long": "x" * MAX_HEAD}, 431),
    ],
)
@pytest.mark.parametrize("path", ["/healthz", "/v1/tasks"])
async def test_a_head_has_a_size(http: aiohttp.ClientSession, path: str, headers: dict[str, str], status: int) -> None:
    """So many headers, so many bytes."""
    async with http.get(path, headers=headers) as answer:
        assert answer.status == status
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_long_query_counts(http: aiohttp.ClientSession) -> None:
    """It is part of the head."""
    async with http.get(f"/v1/tasks?reason={'x' * MAX_HEAD}") as answer:
        assert (answer.status, answer.content_type) == (431, "application/problem+json")


SLOW = Pace(silence=0.3, bytes_per_second=1000)


async def take(request: Request) -> Response:
    """Read a body, as the API does, from a sender that may be less slow; /early does not wait for it."""
    if request.url.path == "/early":
        return Response(b"no")
    return Response(str(len(await body.read(request, SLOW))))


@asynccontextmanager
async def taking(head_limit: float) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server of ours with less patience."""
    app = Starlette(
        routes=[Route("/{path}", take, methods=["GET", "POST"])],
        exception_handlers={LongcallError: problems.answer, Exception: problems.answer},
    )
    listening = server.listen("127.0.0.1", 0)
    async with server.serve(app, listening, head_limit):
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def to_the_end(reader: asyncio.StreamReader, limit: float = 3.0) -> bytes:
    """Everything until the other side closes; a TimeoutError when it does not."""
    async with asyncio.timeout(limit):
        return await reader.read()


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bit: bytes) -> bytes:
    """Send bit by bit for as long as the other side bears it, 3 s at most; what it said."""
    answer = asyncio.create_task(to_the_end(reader))
    while not (answer.done() or writer.transport.is_closing()):
        writer.write(bit)
        await asyncio.wait([answer], timeout=0.1)
    return await answer


POST = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n"


async def test_a_connection_on_which_nothing_comes_is_closed() -> None:
    """Without a word: nobody has asked for anything."""
    async with taking(0.3) as (reader, _):
        assert await to_the_end(reader) == b""


@pytest.mark.parametrize(
    "said",
    [
        b"hello there\r\n\r\n",
        b"BREW /x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["words", "a method", "two lengths", "a length that is none", "TLS", "a chunk that is none"],
)
async def test_what_is_no_http_is_answered_with_a_problem(said: bytes) -> None:
    """One answer like any other, and the connection is closed."""
    async with taking(3) as (reader, writer):
        writer.write(said)
        head, _, told = (await to_the_end(reader)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Content-Type: application/problem+json" in head
    assert loads(told)["code"] == "INVALID_ARGUMENT"
    assert f"Content-Length: {len(told)}".encode() in head


async def test_who_asks_for_another_protocol_gets_this_one_and_keeps_its_body() -> None:
    """Java's client asks for h2c with each first request of plain HTTP, also with a POST; what follows on the connection is served too."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    asked = {
        b"POST /x HTTP/1.1\r\nHost: x\r\n" + upgrade + b"Content-Length: 5\r\n\r\nhello": b"5",
        b"POST /x HTTP/1.1\r\nHost: x\r\n" + upgrade + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n": b"7",
        b"GET /x HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n": b"0",
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc": b"3",
    }
    async with taking(3) as (reader, writer):
        for split in (1, 1000):  # as one piece, and byte by byte
            for said, size in asked.items():
                pieces = [said] if split == 1 else [said[n : n + 1] for n in range(len(said))]
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0)
                answer = await asyncio.wait_for(reader.readuntil(b"content-length: 1\r\n\r\n"), 3)
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert await reader.readexactly(1) == size


@pytest.mark.parametrize(
    "said",
    [[b"\r\n"], [b"GET /early HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n"], [POST.replace(b"/x", b"/early").replace(b"2000", b"1"), b"x"]],
    ids=["an empty line", "an empty line after an answer", "the rest of a body after its answer"],
)
async def test_what_is_no_request_holds_no_connection(said: list[bytes]) -> None:
    """Nothing is under way, and nothing comes: the connection is closed, whatever small things were said."""
    async with taking(0.5) as (reader, writer):
        for each in said:
            writer.write(each)
            await asyncio.sleep(0.1)
        await to_the_end(reader)


async def test_upgrades_are_declined_as_many_as_come() -> None:
    """A thousand of them in one piece: each is answered, and the log is not filled with stacks."""
    asked = b"GET /early HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"
    async with taking(3) as (reader, writer):
        writer.write(asked * 1000)
        for _ in range(1000):
            assert (await asyncio.wait_for(reader.readuntil(b"no"), 3)).startswith(b"HTTP/1.1 200 ")


async def test_an_upgrade_with_a_body_that_can_t_be_read_is_400() -> None:
    """The second parser's word counts as the first one's."""
    async with taking(3) as (reader, writer):
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: gzip\r\n\r\nabc")
        assert (await to_the_end(reader)).startswith(b"HTTP/1.1 400 ")


async def test_trailers_are_no_larger_for_a_large_body() -> None:
    """What frames a body's bytes may be more than they are; what follows them may not."""
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with taking(30) as (reader, writer):
        writer.write(head + b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
        assert (await reader.readuntil(b"no")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"0\r\nTrailer: ")
        assert b"HTTP/1.1 400 " in await trickle(reader, writer, b"y" * server.MAX_AROUND)


async def test_who_hangs_up_is_told_to_all_that_asked() -> None:
    """Of two requests on one connection the first is under way, and it hears of it."""
    heard = asyncio.Event()

    async def listen(request: Request) -> Response:
        if (await request.receive())["type"] == "http.request" and (await request.receive())["type"] == "http.disconnect":
            heard.set()
        return Response(b"no")

    listening = server.listen("127.0.0.1", 0)
    async with server.serve(Starlette(routes=[Route("/x", listen)]), listening):
        _, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        await asyncio.sleep(0.1)
        writer.transport.abort()
        await asyncio.wait_for(heard.wait(), 3)


async def test_a_head_has_an_end() -> None:
    """However quickly it comes."""
    async with taking(30) as (reader, writer):
        writer.write(b"GET /x HTTP/1.1\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"X: " + b"y" * server.MAX_AROUND)
        assert (await to_the_end(reader)).startswith(b"HTTP/1.1 400 ")


async def test_what_frames_a_body_has_an_end() -> None:
    """Chunks of one byte are taken; trailers without an end are not, nor kept while they come."""
    head = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with taking(30) as (reader, writer):
        writer.write(head + b"1\r\nx\r\n" * 50_000 + b"0\r\nTrailer: y\r\n\r\n")
        assert (await reader.readuntil(b"50000")).startswith(b"HTTP/1.1 200 ")
        writer.write(head + b"1\r\nx\r\n0\r\n")
        await asyncio.sleep(0.05)
        assert (await trickle(reader, writer, b"Trailer: " + b"y" * server.MAX_AROUND + b"\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_a_head_that_does_not_end_is_408() -> None:
    """However steadily it goes on."""
    async with taking(0.5) as (reader, writer):
        writer.write(b"GET /x HTTP/1.1\r\n")
        assert (await trickle(reader, writer, b"X: y\r\n")).startswith(b"HTTP/1.1 408 ")


async def test_the_second_head_is_timed_too() -> None:
    """A connection that has been of use may not be held open for ever after it."""
    async with taking(0.5) as (reader, writer):
        writer.write(b"GET /early HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"no")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"GET /early HTTP/1.1\r\n")
        assert (await to_the_end(reader)).startswith(b"HTTP/1.1 408 ")


async def test_who_asks_again_in_time_is_served() -> None:
    """The limit is each head's, not the connection's."""
    async with taking(0.5) as (reader, writer):
        for _ in range(5):
            writer.write(b"GET /early HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"no")).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.2)


async def test_what_is_left_of_a_body_after_its_answer_is_timed() -> None:
    """A refused sender that goes on sending, byte by byte, is left."""
    async with taking(0.5) as (reader, writer):
        writer.write(POST.replace(b"/x", b"/early"))
        assert (await trickle(reader, writer, b"x")).startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_stops_is_408() -> None:
    """As a problem, and the connection is closed."""
    async with taking(30) as (reader, writer):
        writer.write(POST + b"x" * 100)
        answer = await to_the_end(reader)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


async def test_a_body_that_trickles_is_408() -> None:
    """Never silent for long, and never done: the average counts too."""
    async with taking(30) as (reader, writer):
        writer.write(POST)
        assert (await trickle(reader, writer, b"x")).startswith(b"HTTP/1.1 408 ")


async def test_a_steady_body_has_its_time() -> None:
    """Longer than the silence that is borne, at a fair pace."""
    async with taking(30) as (reader, writer):
        writer.write(POST)
        for _ in range(10):
            writer.write(b"x" * 200)
            await asyncio.sleep(0.1)
        assert (await reader.readuntil(b"2000")).startswith(b"HTTP/1.1 200 ")


def nested(depth: int) -> str:
    """JSON so deep."""
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 200, 500, 900, 960, 990, 5000, 100_000])
async def test_deep_json_is_refused(http: aiohttp.ClientSession, depth: int) -> None:
    """Also what the parser just takes, and the writer, called from a deeper place, would not."""
    raw = f'{{"httpRequest":{{"url":"{URL}","json":{nested(depth)}}}}}'.encode()
    async with http.post("/v1/tasks", data=raw, headers={"Content-Type": "application/json"}) as answer:
        problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (400, "INVALID_ARGUMENT")
    assert "nested" in problem["detail"]


async def test_reasonable_json_is_taken(http: aiohttp.ClientSession) -> None:
    """And many brackets side by side are not deep."""
    wide = [[number] for number in range(1000)]
    for data in (json.loads(nested(MAX_DEPTH - 3)), wide):
        async with http.post("/v1/tasks", json={"httpRequest": {"url": URL, "json": data}}) as answer:
            assert answer.status == 201


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 960, 990, 3000])
async def test_a_target_s_deep_answer_can_be_read(http: aiohttp.ClientSession, serve: Start, depth: int) -> None:
    """As the text that it is."""

    async def deep(line: Line) -> None:
        await line.request()
        await line.answer(200, nested(depth).encode(), "Content-Type: application/json")

    target = await serve(deep)
    async with http.post("/v1/tasks", json={"id": "deep", "httpRequest": {"url": target.url}}) as answer:
        assert answer.status == 201
    for path in ("/v1/tasks/deep?wait=10s", "/v1/tasks"):
        async with http.get(path) as answer:
            assert answer.status == 200
            found = await answer.json()
    async with http.get("/v1/tasks/deep") as answer:
        found = await answer.json()
    assert (found["state"], found["response"]["text"]) == ("SUCCEEDED", nested(depth))


LABELS = [
    ({f"label-{number}": "x" for number in range(64)}, 201),
    ({f"label-{number}": "x" for number in range(65)}, 400),
    ({"a" * 63: "x"}, 201),
    ({"a" * 64: "x"}, 400),
    ({"a": "x" * 255}, 201),
    ({"a": "x" * 256}, 400),
]


@pytest.mark.parametrize(("labels", "status"), LABELS)
async def test_labels_have_a_number_and_a_size(http: aiohttp.ClientSession, labels: dict[str, str], status: int) -> None:
    """64 of them, names of 63 characters, values of 255."""
    async with http.post("/v1/tasks", json={"httpRequest": {"url": URL}, "labels": labels}) as answer:
        assert answer.status == status


async def creates(http: aiohttp.ClientSession, times: int, token: str = "") -> list[aiohttp.ClientResponse]:
    """So many creates, one after the other."""
    answers = []
    for _ in range(times):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with http.post("/v1/tasks", json={"httpRequest": {"url": URL}}, headers=headers) as answer:
            await answer.read()
            answers.append(answer)
    return answers


async def test_creates_have_a_rate(tmp_path: Path) -> None:
    """Twice the rate at once; then 429 until there is room. Every answer says how much is left, and reads are not counted."""
    options = LaptopOptions(0, 0, 0, tmp_path / "data", Settings(create_rate=3))
    async with laptop(options) as running, aiohttp.ClientSession(running.api_url) as http:
        first = await creates(http, 6)
        over = (await creates(http, 1))[0]
        async with http.get("/v1/tasks") as read:
            assert read.status == 200
            assert "RateLimit" not in read.headers
        await asyncio.sleep(int(over.headers["Retry-After"]))
        after = (await creates(http, 1))[0]
    assert [answer.status for answer in [*first, over, after]] == [201] * 6 + [429, 201]
    assert first[0].headers["RateLimit-Policy"] == '"create";q=6;w=2'
    assert [answer.headers["RateLimit"].split(";")[1] for answer in first] == [f"r={left}" for left in (5, 4, 3, 2, 1, 0)]
    assert (over.content_type, over.headers["RateLimit"], over.headers["Retry-After"]) == (
        "application/problem+json",
        '"create";r=0;t=2',
        "1",
    )
    assert (await over.json(content_type=None))["code"] == "RESOURCE_EXHAUSTED"


async def test_a_create_is_one_however_its_path_is_written(tmp_path: Path) -> None:
    """Percent-encoding is no way around the rate."""
    options = LaptopOptions(0, 0, 0, tmp_path / "data", Settings(create_rate=1))
    async with laptop(options) as running, aiohttp.ClientSession() as http:
        statuses = []
        for path in ("/v1/tasks", "/v1/task%73", "/%761/tasks", "/v1/tasks?x=1"):
            where = yarl.URL(f"{running.api_url}{path}", encoded=True)
            async with http.post(where, json={"httpRequest": {"url": URL}}) as answer:
                statuses.append(answer.status)
    assert statuses == [201, 201, 429, 429]


async def test_a_rate_is_each_caller_s_own(tmp_path: Path) -> None:
    """One who creates too often is in nobody else's way; who may not create is not counted."""
    more = Settings(auth="token", tokens=TOKENS, create_rate=1)
    async with laptop(LaptopOptions(0, 0, 0, tmp_path / "data", more)) as running, aiohttp.ClientSession(running.api_url) as http:
        assert [answer.status for answer in await creates(http, 3, READ)] == [403] * 3
        assert [answer.status for answer in await creates(http, 3, WRITE)] == [201, 201, 429]
        assert [answer.status for answer in await creates(http, 3)] == [401] * 3
