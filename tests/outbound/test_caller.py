import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from longcall.core.attempt import Break, Broken, Outcome, Responded
from longcall.core.request import Limits
from longcall.core.target import TargetRules
from longcall.core.task import HttpRequest, OidcToken, StoredBody
from longcall.engine.ports import CallRequest
from longcall.outbound.caller import HttpCaller
from longcall.outbound.clock import SystemClock
from longcall.stores.bodies import open_bodies
from longcall.stores.bodies_base import ObstoreBodies
from tests.target import Line, Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LONG = timedelta(seconds=20)


def unwatched(_: datetime) -> None:
    """Nobody asks when the request left."""


def limits(total: timedelta = LONG, connect: timedelta = LONG, idle: timedelta | None = None) -> Limits:
    """Clocks that strike only where a test wants them to."""
    return Limits(connect, idle, total)


def to(url: str, method: str = "POST", body: bytes | StoredBody = b"{}", **headers: str) -> CallRequest:
    """A request as the engine hands it over."""
    given = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    carried = body if method in {"POST", "PUT", "PATCH"} else b""
    return CallRequest(HttpRequest(url, method, dict(given), carried), given, "requests/one", "responses/one")


@pytest.fixture
def bodies(tmp_path: Path) -> ObstoreBodies:
    """A body store on disk."""
    return open_bodies((tmp_path / "bodies").as_uri())


@pytest.fixture
async def caller(bodies: ObstoreBodies) -> AsyncIterator[HttpCaller]:
    """The real caller."""
    async with HttpCaller.open(bodies, SystemClock(), max_response_bytes=1_000_000, rules=TargetRules(allow_private=True)) as made:
        yield made


def ended(outcome: Outcome, how: Break, code: str) -> Broken:
    """Check what kind of end it was, and that it is said in a sentence."""
    assert isinstance(outcome, Broken), outcome
    assert (outcome.how, outcome.trouble.code) == (how, code), outcome
    assert len(outcome.trouble.message.split()) > 3
    return outcome


@pytest.mark.parametrize("method", METHODS)
async def test_a_call_is_made_once_and_its_response_is_whole(caller: HttpCaller, serve: Start, method: str) -> None:
    """For every method: one request, sent as given, and everything of the response but its hop's own business."""

    async def handler(line: Line) -> None:
        await line.request()
        await line.answer(207, b"" if method == "HEAD" else b"hello", "X-One: 1", "X-Two: a", "X-Two: b", "Set-Cookie: a=b")

    target = await serve(handler)
    outcome = await caller.call(to(target.url, method, b'{"epochs":40}', Content_Type="application/json"), limits(), unwatched)
    assert isinstance(outcome, Responded), outcome
    assert (outcome.response.status, outcome.response.inline) == (207, b"" if method == "HEAD" else b"hello")
    assert outcome.response.header("x-two") == "a, b"
    assert outcome.sent_time is not None
    assert [seen.line for seen in target.seen] == [f"{method} /train HTTP/1.1"]
    carried = method in {"POST", "PUT", "PATCH"}
    assert target.seen[0].body == (b'{"epochs":40}' if carried else b"")
    unasked = target.seen[0].headers.keys() - {"host", "content-type", "content-length"}
    assert not unasked, "aiohttp adds headers of its own"


async def test_what_comes_is_told_while_it_comes(caller: HttpCaller, serve: Start) -> None:
    """The bytes of the body are counted before the call has ended: of a call of hours one knows whether it says anything."""
    told: list[int] = []
    heard, halfway = asyncio.Event(), asyncio.Event()

    def hear(size: int) -> None:
        told.append(size)
        heard.set()

    async def handler(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        await halfway.wait()
        await line.send(b"more")

    target = await serve(handler)
    call = asyncio.create_task(caller.call(replace(to(target.url), on_received=hear), limits(), unwatched))
    await asyncio.wait_for(heard.wait(), 10)
    assert (told, call.done()) == ([5], False)
    halfway.set()
    outcome = await call
    assert isinstance(outcome, Responded), outcome
    assert sum(told) == outcome.response.size == 9


async def close_after_head(line: Line) -> None:
    """Read the request and hang up."""
    await line.request()


async def reset_after_head(line: Line) -> None:
    """Read the request and reset."""
    await line.request()
    line.reset()


async def reset_on_accept(line: Line) -> None:
    """Reset before anything is read."""
    line.reset()


async def close_in_body(line: Line) -> None:
    """Promise ten bytes, send three, hang up."""
    await line.request()
    await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")


async def reset_in_body(line: Line) -> None:
    """Promise ten bytes, send three, reset."""
    await line.request()
    await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    await asyncio.sleep(0.05)
    line.reset()


async def broken_chunk(line: Line) -> None:
    """Send a chunk whose size is no number."""
    await line.request()
    await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n")


async def no_http(line: Line) -> None:
    """Speak something else."""
    await line.request()
    await line.send(b"220 mail.example ESMTP\r\n\r\n")


async def large_head(line: Line) -> None:
    """Send a header of 100 KB."""
    await line.request()
    await line.send(b"HTTP/1.1 200 OK\r\nX-Much: " + b"x" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n")


MISBEHAVIOUR = [
    (close_after_head, {"CLOSED"}),
    (reset_after_head, {"RESET"}),
    (reset_on_accept, {"RESET", "CLOSED"}),
    (close_in_body, {"CUT"}),
    (reset_in_body, {"RESET", "CUT"}),
    (broken_chunk, {"CUT", "BAD_HTTP"}),
    (no_http, {"BAD_HTTP"}),
    (large_head, {"BAD_HTTP"}),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("handler", "codes"), MISBEHAVIOUR, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_broken_connection_is_one_attempt(caller: HttpCaller, serve: Start, handler: Serve, codes: set[str], method: str) -> None:
    """Whatever breaks after the connection stood is `disconnected`, may have run, says how far the call came, and is never sent again."""
    if method == "HEAD" and handler in {close_in_body, reset_in_body, broken_chunk}:
        handler = close_after_head  # a response to HEAD has no body that could break
        codes = {"CLOSED"}
    target = await serve(handler)
    outcome = await caller.call(to(target.url, method), limits(), unwatched)
    assert isinstance(outcome, Broken), outcome
    assert outcome.trouble.code in codes, outcome
    ended(outcome, Break.DISCONNECTED, outcome.trouble.code)
    assert outcome.may_have_run
    assert " s into the call" in outcome.trouble.message
    await asyncio.sleep(0.05)
    assert target.connections == 1
    assert len(target.seen) == (0 if handler is reset_on_accept else 1)


async def test_a_name_that_is_not_found_was_never_called(caller: HttpCaller) -> None:
    """DNS said no: nothing was sent, so sending again is always safe."""
    outcome = ended(await caller.call(to("http://nowhere.invalid/"), limits(), unwatched), Break.UNREACHABLE, "NAME_NOT_FOUND")
    assert (outcome.may_have_run, outcome.sent_time) == (False, None)
    assert "nowhere.invalid" in outcome.trouble.message


async def test_a_port_where_nobody_listens_was_never_called(caller: HttpCaller, serve: Start) -> None:
    """Refused: the sentence says where."""
    target = await serve(well_behaved)
    await target.stop()
    outcome = ended(await caller.call(to(target.url), limits(), unwatched), Break.UNREACHABLE, "CONNECTION_REFUSED")
    assert f"127.0.0.1:{target.port}" in outcome.trouble.message


async def test_a_port_that_speaks_no_tls_was_never_called(caller: HttpCaller, serve: Start) -> None:
    """The handshake failed: the request was not sent."""

    async def plain(line: Line) -> None:
        await line.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    target = await serve(plain)
    outcome = await caller.call(to(target.url.replace("http:", "https:")), limits(), unwatched)
    assert not ended(outcome, Break.UNREACHABLE, "TLS").may_have_run


async def test_connect_timeout_is_unreachable(caller: HttpCaller) -> None:
    """A host that drops the packets: connectTimeout strikes, nothing was sent."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        fillers = [await asyncio.open_connection("127.0.0.1", port)]
        outcome = await caller.call(to(f"http://127.0.0.1:{port}/"), limits(connect=timedelta(seconds=0.3)), unwatched)
        for _, writer in fillers:
            writer.close()
    assert not ended(outcome, Break.UNREACHABLE, "CONNECT_TIMEOUT").may_have_run


async def silent(line: Line) -> None:
    """Read the request and say nothing for ever."""
    await line.request()
    await line.gone()


async def test_attempt_timeout_ends_a_call_that_never_answers(caller: HttpCaller, serve: Start) -> None:
    """Silence for ever: the attempt's clock strikes, the target may be at work, and its connection is closed."""
    target = await serve(silent)
    outcome = ended(await caller.call(to(target.url), limits(timedelta(seconds=0.3)), unwatched), Break.TIMED_OUT, "ATTEMPT_TIMEOUT")
    assert outcome.may_have_run
    assert "0.3s" in outcome.trouble.message
    await asyncio.wait_for(target.quiet(), 2)


async def test_task_timeout_is_said_apart(caller: HttpCaller, serve: Start) -> None:
    """When what was left of taskTimeout was shorter, that is what ended the call."""
    target = await serve(silent)
    clocks = Limits(LONG, None, timedelta(seconds=0.2), by_task=True)
    ended(await caller.call(to(target.url), clocks, unwatched), Break.TIMED_OUT, "TASK_TIMEOUT")


async def test_idle_timeout_ends_a_call_that_falls_silent(caller: HttpCaller, serve: Start) -> None:
    """The idle clock counts from the target's last byte, in the middle of a body too."""

    async def falls_silent(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab")
        await line.gone()

    target = await serve(falls_silent)
    outcome = await caller.call(to(target.url), limits(idle=timedelta(seconds=0.5)), unwatched)
    ended(outcome, Break.TIMED_OUT, "IDLE_TIMEOUT")


@pytest.mark.parametrize("sign", [b"HTTP/1.1 102 Processing\r\n\r\n", b" "], ids=["102", "whitespace"])
async def test_a_sign_of_life_stops_the_idle_clock(caller: HttpCaller, serve: Start, sign: bytes) -> None:
    """102 Processing, or whitespace before a JSON answer, keeps a call alive with nothing to install at the target."""

    async def hums(line: Line) -> None:
        await line.request()
        if sign == b" ":
            await line.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.4)
            await line.send(sign)
        await (line.send(b"{}") if sign == b" " else line.answer(200, b"     {}"))

    target = await serve(hums)
    outcome = await caller.call(to(target.url), limits(idle=timedelta(seconds=1)), unwatched)
    assert isinstance(outcome, Responded), outcome
    assert outcome.response.inline == b"     {}"


async def test_a_used_connection_has_a_fresh_idle_clock(caller: HttpCaller, serve: Start) -> None:
    """The silence between two calls on one pooled connection counts for neither."""

    async def pauses(line: Line) -> None:
        while not line.reader.at_eof():
            await line.request()
            await asyncio.sleep(0.8)
            await line.answer()

    target = await serve(pauses)
    first = await caller.call(to(target.url), limits(), unwatched)
    await asyncio.sleep(1)
    second = await caller.call(to(target.url), limits(idle=timedelta(seconds=1.5)), unwatched)
    assert isinstance(first, Responded)
    assert isinstance(second, Responded), second
    assert target.connections == 1, "the second call was to use the pooled connection"


@pytest.mark.parametrize("method", METHODS)
async def test_a_pooled_connection_closed_as_it_is_used_is_unknown(caller: HttpCaller, serve: Start, method: str) -> None:
    """The target may have taken the request before it closed: it is not sent again, whatever the method."""

    async def once(line: Line) -> None:
        await line.request()
        await line.answer(200, b"" if method == "HEAD" else b"ok")
        await line.reader.readexactly(1)  # the next request has begun

    target = await serve(once)
    assert isinstance(await caller.call(to(target.url, method), limits(), unwatched), Responded)
    outcome = await caller.call(to(target.url, method), limits(), unwatched)
    assert isinstance(outcome, Broken), outcome
    assert outcome.how is Break.DISCONNECTED
    assert target.connections == 1


async def test_a_connection_idle_for_over_two_seconds_is_not_used_again(caller: HttpCaller, serve: Start) -> None:
    """It may be gone without a word: a new one is made."""
    target = await serve(well_behaved)
    await caller.call(to(target.url), limits(), unwatched)
    await asyncio.sleep(2.6)
    assert isinstance(await caller.call(to(target.url), limits(), unwatched), Responded)
    assert target.connections == 2


async def test_an_answer_that_ends_by_closing_is_marked(caller: HttpCaller, serve: Start) -> None:
    """Without length and chunks a whole answer can't be told from a cut one."""

    async def closes(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

    target = await serve(closes)
    outcome = await caller.call(to(target.url), limits(), unwatched)
    assert isinstance(outcome, Responded), outcome
    assert (outcome.response.inline, outcome.response.close_delimited) == (b"hello", True)


async def test_redirects_cookies_and_compression_are_left_alone(caller: HttpCaller, serve: Start) -> None:
    """A redirect is the answer, a cookie stays with the call it came with, and bytes are kept as they came."""

    async def tempting(line: Line) -> None:
        while not line.reader.at_eof():
            await line.request()
            await line.answer(302, b"\x1f\x8b", "Location: /elsewhere", "Set-Cookie: sid=1", "Content-Encoding: gzip")

    target = await serve(tempting)
    for _ in range(2):
        outcome = await caller.call(to(target.url), limits(), unwatched)
        assert isinstance(outcome, Responded), outcome
        assert (outcome.response.status, outcome.response.inline) == (302, b"\x1f\x8b")
    assert [seen.line for seen in target.seen] == ["POST /train HTTP/1.1"] * 2
    assert not any("cookie" in seen.headers for seen in target.seen)


async def test_a_url_goes_out_as_it_was_given(caller: HttpCaller, serve: Start) -> None:
    """Percent-encodings and odd characters of a signed URL are the caller's: nothing is quoted again."""
    target = await serve(well_behaved)
    odd = "/a%2Fb//c?x=%20+&y=%e4&sig=a%2Bb=="
    await caller.call(to(f"http://127.0.0.1:{target.port}{odd}", "GET"), limits(), unwatched)
    assert target.seen[0].line == f"GET {odd} HTTP/1.1"


async def test_a_large_response_goes_to_the_body_store(caller: HttpCaller, serve: Start, bodies: ObstoreBodies) -> None:
    """Over 16 KiB a body is kept whole beside the record, with its size and SHA-256."""
    sent = bytes(range(256)) * 2000

    async def much(line: Line) -> None:
        await line.request()
        await line.answer(200, sent)

    outcome = await caller.call(to((await serve(much)).url), limits(), unwatched)
    assert isinstance(outcome, Responded), outcome
    response = outcome.response
    assert (response.location, response.inline, response.size, response.truncated) == ("responses/one", None, len(sent), False)
    assert response.sha256 == hashlib.sha256(sent).hexdigest()
    assert b"".join([chunk async for chunk in bodies.open("responses/one")]) == sent


@pytest.mark.parametrize(("size", "inline"), [(0, True), (16 * 1024, True), (16 * 1024 + 1, False)])
async def test_sixteen_kib_is_the_border(caller: HttpCaller, serve: Start, size: int, inline: bool) -> None:  # noqa: FBT001 — a row of the table
    """Up to 16 KiB a body is in the record itself."""

    async def some(line: Line) -> None:
        await line.request()
        await line.answer(200, b"x" * size)

    outcome = await caller.call(to((await serve(some)).url), limits(), unwatched)
    assert isinstance(outcome, Responded), outcome
    assert (outcome.response.inline is not None) is inline
    assert outcome.response.size == size


async def test_a_response_over_the_limit_is_cut_and_says_so(caller: HttpCaller, serve: Start) -> None:
    """A finished call does not fail because its answer is long."""

    async def too_much(line: Line) -> None:
        await line.request()
        await line.answer(200, b"x" * 3_000_000)

    outcome = await caller.call(to((await serve(too_much)).url), limits(), unwatched)
    assert isinstance(outcome, Responded), outcome
    assert (outcome.response.size, outcome.response.truncated) == (1_000_000, True)


@pytest.mark.parametrize("end", ["close", "reset", "silence"])
async def test_a_large_response_that_breaks_is_no_response(caller: HttpCaller, serve: Start, end: str) -> None:
    """A body that breaks while it is streamed to the store is told as what broke, and leaves no half body behind."""

    async def breaks(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 300_000)
        await asyncio.sleep(0.1)
        if end == "reset":
            line.reset()
        if end == "silence":
            await line.gone()

    clocks = limits(timedelta(seconds=1)) if end == "silence" else limits()
    outcome = await caller.call(to((await serve(breaks)).url), clocks, unwatched)
    assert isinstance(outcome, Broken), outcome
    how, codes = (Break.TIMED_OUT, {"ATTEMPT_TIMEOUT"}) if end == "silence" else (Break.DISCONNECTED, {"CUT", "RESET"})
    assert outcome.how is how
    assert outcome.trouble.code in codes
    await asyncio.sleep(0.1)


async def test_a_body_store_that_fails_does_not_fail_the_call(caller: HttpCaller, serve: Start, tmp_path: Path) -> None:
    """The target's work is done: its status is kept, with the beginning of its answer, marked as cut."""

    async def much(line: Line) -> None:
        await line.request()
        await line.answer(200, b"y" * 300_000)

    (tmp_path / "bodies" / "responses").write_text("a file where a folder should be")
    outcome = await caller.call(to((await serve(much)).url), limits(), unwatched)
    assert isinstance(outcome, Responded), outcome
    assert (outcome.response.status, outcome.response.truncated, outcome.response.location) == (200, True, None)
    assert outcome.response.inline == b"y" * 16 * 1024


async def test_a_stored_request_body_is_streamed_out(caller: HttpCaller, serve: Start, bodies: ObstoreBodies) -> None:
    """A body too large for a message is read from the body store and sent whole."""
    sent = b"z" * 700_000

    async def chunks() -> AsyncIterator[bytes]:
        yield sent

    await bodies.put("requests/one", chunks())
    target = await serve(well_behaved)
    outcome = await caller.call(to(target.url, body=StoredBody(len(sent), hashlib.sha256(sent).hexdigest())), limits(), unwatched)
    assert isinstance(outcome, Responded), outcome
    assert target.seen[0].body == sent
    assert target.seen[0].headers["content-length"] == str(len(sent))


async def test_cancelling_closes_the_connection(caller: HttpCaller, serve: Start) -> None:
    """A call that is given up hangs up at once."""
    target = await serve(silent)
    left: list[datetime] = []
    call = asyncio.create_task(caller.call(to(target.url), limits(), left.append))
    await target.called.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(left) == 1
    await asyncio.wait_for(target.quiet(), 2)


async def test_a_token_that_can_t_be_had_leaves_the_target_alone(caller: HttpCaller, serve: Start) -> None:
    """No token to be had: the target is not called without one."""
    target = await serve(well_behaved)
    asked = HttpRequest(target.url, auth=OidcToken("caller@p.iam.gserviceaccount.com"))
    ended(await caller.call(CallRequest(asked, (), None, "responses/one"), limits(), unwatched), Break.UNREACHABLE, "NO_TOKEN")
    assert target.connections == 0


async def test_sockets_are_kept_alive(caller: HttpCaller, serve: Start) -> None:
    """Clouds drop a silent flow: keepalive after 30 s, every 15 s, 5 times, and a user timeout to match."""
    found: dict[str, int] = {}

    async def looks(line: Line) -> None:
        await line.request()
        connector = caller.session.connector
        assert connector is not None
        transport = next(iter(connector._acquired)).transport  # noqa: SLF001 — the only way to the socket
        assert transport is not None
        raw = transport.get_extra_info("socket")
        found["alive"] = raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"):
            found[name] = raw.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
        await line.answer()

    assert isinstance(await caller.call(to((await serve(looks)).url), limits(), unwatched), Responded)
    assert found == {"alive": 1, "TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 5, "TCP_USER_TIMEOUT": 105_000}


async def test_any_byte_in_a_header_can_be_kept(caller: HttpCaller, serve: Start) -> None:
    """Bytes beyond ASCII are read as Latin-1, which any byte is."""

    async def named(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nContent-Length: 0\r\n\r\n")

    outcome = await caller.call(to((await serve(named)).url), limits(), unwatched)
    assert isinstance(outcome, Responded), outcome
    assert outcome.response.header("x-name") == "caf\xe9"


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"])
async def test_a_link_local_address_is_never_called(caller: HttpCaller, host: str) -> None:
    """Clouds keep their metadata servers, which hand out tokens, at such addresses."""
    outcome = ended(await caller.call(to(f"http://{host}/latest"), limits(), unwatched), Break.REFUSED, "FORBIDDEN_ADDRESS")
    assert (outcome.may_have_run, outcome.sent_time) == (False, None)


async def test_a_request_body_that_is_gone_leaves_the_target_alone(caller: HttpCaller, serve: Start) -> None:
    """It is not the target's fault: nothing is sent, and it is said what was missing."""
    target = await serve(well_behaved)
    outcome = await caller.call(to(target.url, body=StoredBody(5, "00" * 32)), limits(), unwatched)
    ended(outcome, Break.UNREACHABLE, "NO_BODY")
    assert target.connections == 0


async def test_the_watch_over_silence_outlives_a_closed_connection(caller: HttpCaller, serve: Start) -> None:
    """A connection that closes while its answer is still being written away is no reason to stop watching the others."""

    async def much(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000)

    class Slow:
        async def put(self, _: str, chunks: AsyncIterator[bytes]) -> None:
            async for _chunk in chunks:
                await asyncio.sleep(0.2)

    object.__setattr__(caller, "bodies", Slow())
    first = await caller.call(to((await serve(much)).url), limits(idle=LONG), unwatched)
    assert isinstance(first, Responded), first
    second = await caller.call(to((await serve(silent)).url), limits(idle=timedelta(seconds=0.5), total=timedelta(seconds=8)), unwatched)
    ended(second, Break.TIMED_OUT, "IDLE_TIMEOUT")
