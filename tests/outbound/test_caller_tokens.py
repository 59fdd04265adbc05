import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import google.auth.exceptions
import google.auth.transport.requests
import pytest
from aiohttp import web
from google.oauth2.id_token import verify_token

from longcall.core.attempt import Break, Broken, Responded
from longcall.core.audience import IdTokenWanted, Wanted
from longcall.core.request import Limits
from longcall.core.target import TargetRules
from longcall.core.task import HttpRequest, NoAuth, OAuthToken, OidcToken, StoredBody
from longcall.engine.ports import CallRequest
from longcall.outbound.caller import HttpCaller
from longcall.outbound.clock import SystemClock
from longcall.outbound.connections import FlightRequest, ForbiddenAddressError
from longcall.outbound.google import google_tokens
from longcall.outbound.minted import Minted, NoTokenError
from longcall.outbound.tokens import Tokens
from longcall.outbound.trouble import broken
from longcall.stores.bodies import open_bodies
from longcall.stores.bodies_base import ObstoreBodies
from tests.outbound.issuers import KEY, OTHER, Iam, Metadata, google_hosts, serving, started
from tests.target import Line, Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]
ASKED = OidcToken(OTHER, "mine")
LONG = Limits(timedelta(seconds=10), None, timedelta(seconds=20))
NOW = SystemClock().now
OPEN = TargetRules(allow_private=True)


@dataclass
class Numbered:
    """An issuer whose tokens are numbered; after `most` it has none, and `delay` seconds it takes."""

    most: int = 100
    delay: float = 0
    wanted: list[Wanted] = field(default_factory=list)

    async def mint(self, wanted: Wanted) -> Minted:
        """Mint the next."""
        self.wanted.append(wanted)
        await asyncio.sleep(self.delay)
        if len(self.wanted) > self.most:
            raise NoTokenError("the issuer has no more tokens to give")
        return Minted(f"token-{len(self.wanted)}", NOW() + timedelta(hours=1))


@asynccontextmanager
async def calling(source: Numbered, bodies: ObstoreBodies, *, implied: bool = True) -> AsyncIterator[HttpCaller]:
    """The real caller with tokens of that issuer."""
    async with (
        Tokens.open(source, NOW, implied=implied) as tokens,
        HttpCaller.open(bodies, SystemClock(), 1_000_000, OPEN, tokens) as caller,
    ):
        yield caller


@pytest.fixture
def bodies(tmp_path: Path) -> ObstoreBodies:
    """A body store on disk."""
    return open_bodies((tmp_path / "bodies").as_uri())


@pytest.fixture
def source() -> Numbered:
    """An issuer."""
    return Numbered()


@pytest.fixture
async def caller(bodies: ObstoreBodies, source: Numbered) -> AsyncIterator[HttpCaller]:
    """The real caller."""
    async with calling(source, bodies) as made:
        yield made


def to(url: str, auth: OidcToken | OAuthToken | NoAuth | None = ASKED, body: bytes | StoredBody = b"{}", **headers: str) -> CallRequest:
    """A request as the engine hands it over."""
    given = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    ours = (("Longcall-Task", "train"), ("Longcall-Attempt", "1"))
    return CallRequest(HttpRequest(url, "POST", dict(given), body, auth), given + ours, "requests/one", "responses/one")


def unwatched(_: datetime) -> None:
    """Nobody asks when the request left."""


def answers(*statuses: int) -> Serve:
    """Answer requests with these, whatever connection they come on."""
    left = list(statuses)

    async def handler(line: Line) -> None:
        while not line.reader.at_eof():
            await line.request()
            status = left.pop(0)
            await line.answer(status, f"answer {status}".encode())

    return handler


def bearers(target: Target) -> list[str | None]:
    """The tokens that the target saw."""
    return [seen.headers.get("authorization") for seen in target.seen]


async def test_a_call_carries_the_token_that_was_asked_for(caller: HttpCaller, serve: Start, source: Numbered) -> None:
    """As a bearer, beside the headers that were there; kept for the next call."""
    target = await serve(well_behaved)
    for _ in range(2):
        assert isinstance(await caller.call(to(target.url), LONG, unwatched), Responded)
    assert bearers(target) == ["Bearer token-1"] * 2
    assert target.seen[0].headers["longcall-task"] == "train"
    assert len(source.wanted) == 1


@pytest.mark.parametrize("end", [200, 401, 500])
async def test_a_401_gets_one_fresh_token_and_one_more_try(caller: HttpCaller, serve: Start, end: int) -> None:
    """Two requests, one outcome: the second answer counts whatever it is, and the requests differ in nothing but the token."""
    target = await serve(answers(401, end))
    left: list[datetime] = []
    outcome = await caller.call(to(target.url, body=b"work"), LONG, left.append)
    assert isinstance(outcome, Responded), outcome
    assert (outcome.response.status, outcome.response.inline) == (end, f"answer {end}".encode())
    assert bearers(target) == ["Bearer token-1", "Bearer token-2"]
    first, second = ({**seen.headers, "authorization": "", "body": seen.body} for seen in target.seen)
    assert first == second
    assert len(left) == 2
    assert outcome.sent_time == left[1]


async def test_a_fresh_token_is_kept_for_the_calls_after(caller: HttpCaller, serve: Start) -> None:
    """Whoever comes next does not begin with the rejected one."""
    target = await serve(answers(401, 200, 200))
    for _ in range(2):
        await caller.call(to(target.url), LONG, unwatched)
    assert bearers(target) == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]


async def test_a_401_to_the_caller_s_own_header_is_the_answer(caller: HttpCaller, serve: Start, source: Numbered) -> None:
    """It is not ours to try again, and no token of ours takes its place."""
    target = await serve(answers(401, 200))
    outcome = await caller.call(to(target.url, authorization="Basic mine"), LONG, unwatched)
    assert isinstance(outcome, Responded), outcome
    assert outcome.response.status == 401
    assert bearers(target) == ["Basic mine"]
    assert not source.wanted


async def test_a_401_to_no_token_is_the_answer(caller: HttpCaller, serve: Start) -> None:
    """Nothing was minted, so nothing is minted anew."""
    target = await serve(answers(401, 200))
    outcome = await caller.call(to(target.url, NoAuth()), LONG, unwatched)
    assert isinstance(outcome, Responded), outcome
    assert (outcome.response.status, bearers(target)) == (401, [None])


async def test_a_fresh_token_that_can_t_be_had_leaves_the_401(bodies: ObstoreBodies, serve: Start) -> None:
    """The target has answered: that is what became of the attempt."""
    target = await serve(answers(401, 200))
    async with calling(Numbered(most=1), bodies) as caller:
        outcome = await caller.call(to(target.url), LONG, unwatched)
    assert isinstance(outcome, Responded), outcome
    assert (outcome.response.status, outcome.response.inline) == (401, b"answer 401")
    assert len(target.seen) == 1


async def test_a_stored_body_is_sent_whole_again(caller: HttpCaller, serve: Start, bodies: ObstoreBodies) -> None:
    """It is read from its store anew."""
    sent = b"z" * 700_000

    async def chunks() -> AsyncIterator[bytes]:
        yield sent

    await bodies.put("requests/one", chunks())
    target = await serve(answers(401, 200))
    outcome = await caller.call(to(target.url, body=StoredBody(len(sent), hashlib.sha256(sent).hexdigest())), LONG, unwatched)
    assert isinstance(outcome, Responded), outcome
    assert outcome.response.status == 200
    assert [seen.body for seen in target.seen] == [sent, sent]


async def test_a_stored_body_that_is_gone_meanwhile_leaves_the_401(caller: HttpCaller, serve: Start, bodies: ObstoreBodies) -> None:
    """A request that can't be made whole again is not sent again."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"five!"

    async def deletes(line: Line) -> None:
        await line.request()
        await bodies.delete("requests/one")
        await line.answer(401)

    await bodies.put("requests/one", chunks())
    target = await serve(deletes)
    outcome = await caller.call(to(target.url, body=StoredBody(5, "00" * 32)), LONG, unwatched)
    assert isinstance(outcome, Responded), outcome
    assert (outcome.response.status, len(target.seen)) == (401, 1)


@pytest.mark.parametrize("early", [True, False])
async def test_a_401_that_never_ends_holds_nobody(  # the request is more than fits into the sockets' buffers
    caller: HttpCaller, serve: Start, bodies: ObstoreBodies, *, early: bool
) -> None:
    """Its body is dropped unread, and so is what of a large request had not been written when the 401 came."""
    connections: list[Line] = []

    async def drip(line: Line) -> None:
        connections.append(line)
        if len(connections) > 1:
            await line.request()
            await line.answer()
            return
        if not early:
            await line.request()
        await line.send(b"HTTP/1.1 401 X\r\nContent-Length: 1000000\r\n\r\nno")
        await (asyncio.sleep(5) if early else line.gone())

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"y" * 1_000_000

    await bodies.put("requests/one", chunks())
    body = StoredBody(20_000_000, "00" * 32)
    outcome = await asyncio.wait_for(caller.call(to((await serve(drip)).url, body=body), LONG, unwatched), 4)
    assert isinstance(outcome, Responded), outcome
    assert (outcome.response.status, len(connections)) == (200, 2)


async def test_a_target_that_is_gone_after_its_401_is_not_called_unreachable(caller: HttpCaller, serve: Start) -> None:
    """It has seen a request, so `unreachable`, which says that nothing was sent, would be a lie."""
    targets: list[Target] = []

    async def last_words(line: Line) -> None:
        await line.request()
        targets[0]._server.close()  # noqa: SLF001 — nobody listens any more
        await line.answer(401, b"", "Connection: close")

    targets.append(await serve(last_words))
    outcome = await caller.call(to(targets[0].url), LONG, unwatched)
    assert isinstance(outcome, Broken), outcome
    assert (outcome.how, outcome.trouble.code, outcome.may_have_run) == (Break.DISCONNECTED, "CONNECTION_REFUSED", True)
    assert "answered 401" in outcome.trouble.message
    assert outcome.sent_time is not None


def test_an_address_that_is_forbidden_only_at_the_second_try_is_not_called_refused() -> None:
    """`refused` says that nothing was sent: a name that leads elsewhere after a 401 breaks the call instead."""
    elsewhere = ForbiddenAddressError("169.254.169.254 is a link-local address, which is never called")
    assert broken(elsewhere, None, NOW()).how is Break.REFUSED
    assert broken(elsewhere, NOW(), NOW()).how is Break.DISCONNECTED


async def test_the_second_try_has_the_attempt_s_clock(caller: HttpCaller, serve: Start) -> None:
    """Both requests share one attemptTimeout."""

    async def slow(line: Line) -> None:
        await line.request()
        await asyncio.sleep(0.3)
        await line.answer(401)
        await line.request()
        await line.gone()

    clocks = Limits(LONG.connect, None, timedelta(seconds=0.6))
    began = asyncio.get_running_loop().time()
    outcome = await caller.call(to((await serve(slow)).url), clocks, unwatched)
    assert isinstance(outcome, Broken), outcome
    assert (outcome.how, outcome.trouble.code) == (Break.TIMED_OUT, "ATTEMPT_TIMEOUT")
    assert asyncio.get_running_loop().time() - began < 0.85


async def test_the_idle_clock_does_not_count_our_own_minting(bodies: ObstoreBodies, serve: Start) -> None:
    """Between a 401 and the second try the silence is ours, not the target's; after it the clock is a fresh one."""
    source = Numbered(delay=1.2)
    clocks = Limits(LONG.connect, timedelta(seconds=0.6), LONG.total)
    async with calling(source, bodies) as caller:
        target = await serve(answers(401, 200))
        outcome = await caller.call(to(target.url), clocks, unwatched)
        assert isinstance(outcome, Responded), outcome
        assert (outcome.response.status, target.connections) == (200, 1)

        async def silent(line: Line) -> None:
            await line.request()
            await line.answer(401)
            await line.request()
            await line.gone()

        outcome = await caller.call(to((await serve(silent)).url), clocks, unwatched)
    assert isinstance(outcome, Broken), outcome
    assert outcome.trouble.code == "IDLE_TIMEOUT"


async def test_no_token_no_call(bodies: ObstoreBodies, serve: Start) -> None:
    """It was never sent, it is always safe to send again, and it is said why."""
    target = await serve(well_behaved)
    async with calling(Numbered(most=0), bodies) as caller:
        outcome = await caller.call(to(target.url), LONG, unwatched)
    assert isinstance(outcome, Broken), outcome
    assert (outcome.how, outcome.trouble.code, outcome.may_have_run, outcome.sent_time) == (Break.UNREACHABLE, "NO_TOKEN", False, None)
    assert "no more tokens" in outcome.trouble.message
    assert target.connections == 0


@pytest.mark.parametrize(
    ("clocks", "code", "says"),
    [
        (Limits(timedelta(seconds=0.2), None, LONG.total), "NO_TOKEN", "connectTimeout, 0.2s"),
        (Limits(LONG.connect, None, timedelta(seconds=0.2)), "ATTEMPT_TIMEOUT", "attemptTimeout"),
        (Limits(LONG.connect, None, timedelta(seconds=0.2), by_task=True), "TASK_TIMEOUT", "taskTimeout"),
    ],
    ids=["connect", "attempt", "task"],
)
async def test_minting_is_within_the_clocks(bodies: ObstoreBodies, serve: Start, clocks: Limits, code: str, says: str) -> None:
    """A slow issuer costs the attempt its own time, and nothing was sent."""
    target = await serve(well_behaved)
    async with calling(Numbered(delay=5), bodies) as caller:
        outcome = await asyncio.wait_for(caller.call(to(target.url), clocks, unwatched), 2)
    assert isinstance(outcome, Broken), outcome
    assert (outcome.how, outcome.trouble.code, outcome.may_have_run) == (Break.UNREACHABLE, code, False)
    assert says in outcome.trouble.message
    assert target.connections == 0


async def test_a_cancelled_call_does_not_wait_for_its_token(bodies: ObstoreBodies, serve: Start) -> None:
    """Its cancel was asked for while the issuer thought."""
    target = await serve(well_behaved)
    async with calling(Numbered(delay=5), bodies) as caller:
        call = asyncio.create_task(caller.call(to(target.url), LONG, unwatched))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 1)
    assert target.connections == 0


async def test_an_access_token_is_not_sent_where_others_can_read_it(caller: HttpCaller, serve: Start, source: Numbered) -> None:
    """It opens Google's APIs to whoever sees it: over plain http it goes to this machine only."""
    outcome = await caller.call(to("http://storage.invalid/b", OAuthToken(OTHER)), LONG, unwatched)
    assert isinstance(outcome, Broken), outcome
    assert (outcome.how, outcome.trouble.code) == (Break.UNREACHABLE, "NO_TOKEN")
    assert "https" in outcome.trouble.message
    assert not source.wanted
    target = await serve(well_behaved)
    assert isinstance(await caller.call(to(target.url, OAuthToken(OTHER)), LONG, unwatched), Responded)
    assert bearers(target) == ["Bearer token-1"]


@pytest.mark.parametrize("implied", [True, False, None])
async def test_google_s_hosts_get_a_token_unasked_only_from_google(
    tmp_path: Path, bodies: ObstoreBodies, source: Numbered, *, implied: bool | None
) -> None:
    """Over TLS, for the service's root; a laptop's own issuer, or none, adds nothing to a call that asked for nothing."""
    seen: list[str | None] = []

    async def service(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response()

    name = "train-abc-uc.a.run.app"
    async with (
        google_hosts(tmp_path, service, [name], request_class=FlightRequest) as session,
        Tokens.open(source, NOW, implied=bool(implied)) as tokens,
        HttpCaller.open(bodies, SystemClock(), 1_000, OPEN, None if implied is None else tokens) as caller,
    ):
        finds_it = replace(caller, session=session)
        for url in (f"https://{name}/train?x=1", f"https://{name}/other"):
            assert isinstance(await finds_it.call(to(url, None), LONG, unwatched), Responded)
        assert isinstance(await finds_it.call(to(f"https://{name}/", NoAuth()), LONG, unwatched), Responded)
    assert seen == (["Bearer token-1", "Bearer token-1", None] if implied else [None] * 3)
    assert source.wanted == ([IdTokenWanted(f"https://{name}")] if implied else [])


async def test_a_token_is_shown_nowhere(caller: HttpCaller, serve: Start) -> None:
    """Not in an outcome's words, nor in what holds it, whatever the target does with it."""

    async def echoes(line: Line) -> None:
        seen = await line.request()
        await line.send(f"HTTP/1.1 {seen.headers['authorization']}\r\n\r\n".encode())

    async def hangs_up(line: Line) -> None:
        await line.request()

    for handler in (echoes, hangs_up):
        outcome = await caller.call(to((await serve(handler)).url), LONG, unwatched)
        assert isinstance(outcome, Broken), outcome
        assert "token-1" not in repr(outcome)
    assert "token-1" not in repr(caller)


@pytest.mark.parametrize("account", ["", OTHER], ids=["own", "other"])
async def test_a_target_that_checks_with_google_auth_lets_us_in(bodies: ObstoreBodies, account: str) -> None:
    """The whole way: metadata server, IAM Credentials, caller, and a target with google-auth at its door."""
    seen: list[object] = []

    async def guarded(request: web.Request) -> web.Response:
        if request.path == "/certs":
            return web.json_response({str(KEY.kid): KEY.as_pem(private=False).decode()})
        token = request.headers["Authorization"].removeprefix("Bearer ")
        transport = google.auth.transport.requests.Request()
        try:
            claims = await asyncio.to_thread(verify_token, token, transport, "mine", f"http://{request.host}/certs")
        except google.auth.exceptions.GoogleAuthError:
            return web.Response(status=401)
        seen.append(claims["email"])
        return web.Response(text="in")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", guarded)
    metadata, iam = Metadata(NOW), Iam(NOW)
    async with started(metadata), started(iam), serving(app) as host:
        environ = {"GCE_METADATA_HOST": metadata.host}
        async with (
            google_tokens(environ, NOW, iam_endpoint=f"http://{iam.host}") as tokens,
            HttpCaller.open(bodies, SystemClock(), 1_000_000, OPEN, tokens) as caller,
        ):
            outcome = await caller.call(to(f"http://{host}/", OidcToken(account, "mine")), LONG, unwatched)
            assert isinstance(outcome, Responded), outcome
            assert outcome.response.inline == b"in"
            wrong = await caller.call(to(f"http://{host}/", OidcToken(account, "another's")), LONG, unwatched)
            assert isinstance(wrong, Responded), wrong
            assert wrong.response.status == 401
    assert seen == [account or "runner@p.iam.gserviceaccount.com"]
