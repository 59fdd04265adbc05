import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import pytest
from aiohttp import web

from longcall.core.audience import AccessTokenWanted, IdTokenWanted, Wanted
from longcall.outbound import tokens as module
from longcall.outbound.fetch import issuers_session
from longcall.outbound.google import Google, google_tokens
from longcall.outbound.metadata import MetadataServer
from longcall.outbound.minted import Minted, NoTokenError
from longcall.outbound.tokens import Tokens
from longcall.testing import FakeClock
from tests.outbound.issuers import FLAVOR, OTHER, OWN, Answer, Iam, Issuer, Metadata, google_like, started

AUDIENCE = "https://train-abc-uc.a.run.app"
ID = IdTokenWanted(AUDIENCE)
OTHERS = IdTokenWanted(AUDIENCE, OTHER)
SCOPES = ("https://www.googleapis.com/auth/devstorage.read_only", "https://www.googleapis.com/auth/pubsub")
ACCESS = AccessTokenWanted(SCOPES)

Opened = Callable[..., AbstractAsyncContextManager[Tokens]]


@pytest.fixture
def clock() -> FakeClock:
    """Time by hand."""
    return FakeClock()


@pytest.fixture
async def metadata(clock: FakeClock) -> AsyncIterator[Metadata]:
    """A metadata server."""
    server = Metadata(clock.now)
    async with started(server):
        yield server


@pytest.fixture
async def iam(clock: FakeClock) -> AsyncIterator[Iam]:
    """IAM Credentials."""
    server = Iam(clock.now)
    async with started(server):
        yield server


@pytest.fixture
async def tokens(clock: FakeClock, metadata: Metadata, iam: Iam) -> AsyncIterator[Tokens]:
    """The tokens of a machine that runs as OWN."""
    async with google_tokens({"GCE_METADATA_HOST": metadata.host}, clock.now, iam_endpoint=f"http://{iam.host}") as made:
        yield made


async def refused(tokens: Tokens, wanted: Wanted = ID) -> NoTokenError:
    """Ask for a token that is not to be had; check that it says so in a sentence, and shows none that was ever given."""
    with pytest.raises(NoTokenError) as raised:
        await tokens.bearer(wanted)
    assert raised.value.trouble.code == "NO_TOKEN"
    assert len(raised.value.trouble.message.split()) > 3
    return raised.value


def said(error: NoTokenError) -> str:
    """Everything it says."""
    return f"{error.trouble.message} {error.trouble.hint}"


async def test_an_audience_s_token_is_minted_once_and_kept(tokens: Tokens, metadata: Metadata) -> None:
    """The metadata server is asked once for each audience."""
    first = await tokens.bearer(ID)
    assert await tokens.bearer(ID) == first == metadata.given[0]
    assert await tokens.bearer(IdTokenWanted("https://other")) == metadata.given[1]
    assert metadata.asked == {"identity": 2}


async def test_an_access_token_has_the_scopes_that_were_wanted(tokens: Tokens, metadata: Metadata) -> None:
    """It is kept by its scopes."""
    assert await tokens.bearer(ACCESS) == await tokens.bearer(ACCESS) == metadata.given[0]
    assert metadata.bodies == [",".join(SCOPES)]


@pytest.mark.parametrize("wanted", [ID, ACCESS, OTHERS, AccessTokenWanted(SCOPES, OTHER)], ids=["id", "access", "other id", "other access"])
async def test_every_attempt_has_at_least_five_minutes(
    tokens: Tokens, metadata: Metadata, iam: Iam, clock: FakeClock, wanted: Wanted
) -> None:
    """`exp`, `expires_in` and `expireTime` decide: five minutes before the end a token is minted anew."""
    first = await tokens.bearer(wanted)
    clock.time += timedelta(minutes=55)
    assert await tokens.bearer(wanted) == first
    clock.time += timedelta(seconds=1)
    second = await tokens.bearer(wanted)
    assert second != first
    assert second in {metadata.given[-1], iam.given[-1] if iam.given else ""}


@pytest.mark.parametrize("wanted", [ID, ACCESS], ids=["id", "access"])
async def test_a_token_near_its_end_is_minted_once_more_and_not_kept(tokens: Tokens, metadata: Metadata, wanted: Wanted) -> None:
    """An issuer that hands out one with four minutes left twice: it lives, so it is used, and the next attempt asks again."""
    metadata.minutes = [4]
    assert await tokens.bearer(wanted) == metadata.given[1]
    assert await tokens.bearer(wanted) == metadata.given[3]


async def test_a_second_mint_may_bring_a_longer_life(tokens: Tokens, metadata: Metadata) -> None:
    """That one is kept."""
    metadata.minutes = [4, 60]
    assert await tokens.bearer(ID) == await tokens.bearer(ID) == metadata.given[1]
    assert len(metadata.given) == 2


@pytest.mark.parametrize("minutes", [0.9, 0, -30])
async def test_a_token_at_its_end_is_none(tokens: Tokens, metadata: Metadata, minutes: float) -> None:
    """With less than a minute left it would not arrive."""
    metadata.minutes = [minutes]
    assert "less than a minute left" in said(await refused(tokens))


async def test_two_hundred_calls_share_one_mint(tokens: Tokens, metadata: Metadata) -> None:
    """Whoever comes while a token is minted waits for that one."""
    metadata.delay = 0.2
    assert await asyncio.gather(*(tokens.bearer(ID) for _ in range(200))) == metadata.given * 200
    assert metadata.asked == {"identity": 1}


async def test_two_hundred_rejections_share_one_fresh_mint(tokens: Tokens, metadata: Metadata) -> None:
    """A token that a target rejected is minted anew once, also for those that come late with the old one."""
    old = await tokens.bearer(ID)
    metadata.delay = 0.1
    found = await asyncio.gather(*(tokens.bearer(ID, rejected=old) for _ in range(200)))
    assert {*found, await tokens.bearer(ID, rejected=old), await tokens.bearer(ID)} == {metadata.given[1]}
    assert metadata.asked == {"identity": 2}


async def test_a_failed_mint_is_shared_and_not_kept(tokens: Tokens, metadata: Metadata) -> None:
    """Those who wait fail together; the next one asks again."""
    metadata.delay, metadata.instead = 0.1, status(500)
    found = await asyncio.gather(*(tokens.bearer(ID) for _ in range(50)), return_exceptions=True)
    assert {type(each) for each in found} == {NoTokenError}
    assert metadata.asked == {"identity": 1}
    metadata.instead = None
    assert await tokens.bearer(ID) == metadata.given[0]


async def test_giving_up_takes_nothing_from_the_others(tokens: Tokens, metadata: Metadata) -> None:
    """A call that is cancelled while it waits leaves the mint to whoever else waits."""
    metadata.delay = 0.2
    first, second = (asyncio.create_task(tokens.bearer(ID)) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    assert await second == metadata.given[0]
    assert first.cancelled()


async def test_what_is_kept_is_bounded(clock: FakeClock) -> None:
    """A thousand audiences are kept, the last used: targets with an audience each do not fill the memory."""
    minted: list[Wanted] = []

    class Any:
        async def mint(self, wanted: Wanted) -> Minted:
            minted.append(wanted)
            return Minted(str(len(minted)), clock.now() + timedelta(hours=1))

    async with Tokens.open(Any(), clock.now) as tokens:
        many = [IdTokenWanted(str(number)) for number in range(module.KEPT + 1)]
        for each in many[:-1]:
            await tokens.bearer(each)
        assert await tokens.bearer(many[0]) == "1"
        await tokens.bearer(many[-1])
        assert await tokens.bearer(many[0]) == "1"
        await tokens.bearer(many[1])
        assert minted == [*many, many[1]]


async def test_an_issuer_of_one_s_own_that_breaks_is_no_token(clock: FakeClock) -> None:
    """Whatever it raises: its words may hold a token, so they are not repeated."""

    class Broken:
        async def mint(self, wanted: Wanted) -> Minted:
            raise ValueError(f"no header may hold ya29.planted for {wanted}")

    async with Tokens.open(Broken(), clock.now) as tokens:
        error = await refused(tokens)
        assert "ValueError" in said(error)
        assert "planted" not in said(error)
        assert error.__suppress_context__


async def test_closing_gives_up_what_is_minted(clock: FakeClock, metadata: Metadata) -> None:
    """Nobody waits for an issuer that does not answer when the runner stops."""
    metadata.delay = 50
    began = time.monotonic()
    async with google_tokens({"GCE_METADATA_HOST": metadata.host}, clock.now) as tokens:
        waiting = asyncio.create_task(refused(tokens))
        await asyncio.sleep(0.1)
    assert "stopping" in said(await waiting)
    assert time.monotonic() - began < 5


def status(number: int, body: str = "no", **headers: str) -> Answer:
    """Answer with this status."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=number, text=body, headers=FLAVOR | headers)

    return answer


async def hang(_: web.Request) -> web.Response:
    """Never answer."""
    await asyncio.sleep(30)
    return web.Response()


async def hang_up(request: web.Request) -> web.Response:
    """Close the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def without_flavor(_: web.Request) -> web.Response:
    """Some other server that has a fitting answer."""
    return web.Response(text="eyJhbGciOiJSUzI1NiJ9.e30.x")


async def endless(request: web.Request) -> web.StreamResponse:
    """Talk for ever."""
    response = web.StreamResponse(headers=FLAVOR)
    await response.prepare(request)
    while True:
        await response.write(b"x" * 60_000)


NO_END = ("a.b.c", "a.e30.c", "a.eyJleHAiOiJ4In0.c", "a.eyJleHAiOjFlOTl9.c", "a.bnVsbA.c")  # {}, "x", 1e99, null
NO_BEARER = ("a.eyJleHAiOjE5OTk5OTk5OTl9.c\r\nX-Evil: 1", "a.eyJleHAiOjE5OTk5OTk5OTl9.c d", "a.eyJleHAiOjE5OTk5OTk5OTl9.ü")
GARBAGE = ("", "<html>", "not.a.token", *NO_END, *NO_BEARER)


@pytest.mark.parametrize(
    ("instead", "says"),
    [
        (status(403), "answered 403"),
        (status(404), "knows no service account"),
        (status(500), "answered 500"),
        (status(302, Location="http://169.254.169.254/"), "answered 302"),
        (hang, "within 0.5 s"),
        (hang_up, "does not answer: ServerDisconnectedError"),
        (without_flavor, "Metadata-Flavor: Google"),
        (endless, "far too long"),
    ],
)
async def test_a_metadata_server_that_gives_no_token(clock: FakeClock, metadata: Metadata, instead: Answer, says: str) -> None:
    """Whatever it does instead, it is said in a sentence, within the mint's own limit."""
    metadata.instead = instead
    async with issuers_session() as session:
        source = Google(session, clock.now, {"GCE_METADATA_HOST": metadata.host})
        async with Tokens.open(source, clock.now, mint_limit=0.5) as tokens:
            assert says in said(await refused(tokens))


@pytest.mark.parametrize("body", GARBAGE)
async def test_no_id_token_in_an_answer(tokens: Tokens, metadata: Metadata, body: str) -> None:
    """Something without a readable end, or that could not stand in a header, is sent to nobody."""
    metadata.instead = status(200, body)
    assert "no token" in said(await refused(tokens))


NO_ACCESS = ("5", '"a\\r\\nX-Evil: 1"', '"a b"', '"ü"', '""', "null")


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "[]",
        "x",
        '{"access_token": "a", "expires_in": "soon"}',
        *(f'{{"access_token": {each}, "expires_in": 999}}' for each in NO_ACCESS),
    ],
)
async def test_no_access_token_in_an_answer(tokens: Tokens, metadata: Metadata, body: str) -> None:
    """What is no access token is not sent to anybody."""
    metadata.instead = status(200, body)
    assert "no token" in said(await refused(tokens, ACCESS))


async def test_a_metadata_server_that_is_away(clock: FakeClock, metadata: Metadata) -> None:
    """Nothing listens there: it is said where."""
    host, _, port = metadata.host.partition(":")
    async with google_tokens({"GCE_METADATA_HOST": f"{host}:1"}, clock.now) as tokens:
        assert f"the metadata server at {host}:1 does not answer" in said(await refused(tokens))
    assert port != "1"


async def test_another_account_s_tokens_come_from_iam_credentials(tokens: Tokens, metadata: Metadata, iam: Iam) -> None:
    """Asked for with the runner's own access token, which is kept too."""
    assert await tokens.bearer(OTHERS) == await tokens.bearer(OTHERS) == iam.given[0]
    assert await tokens.bearer(AccessTokenWanted(SCOPES, OTHER)) == iam.given[1]
    assert iam.asked == {"generateIdToken": 1, "generateAccessToken": 1}
    assert iam.bodies == [{"audience": AUDIENCE, "includeEmail": True}, {"scope": list(SCOPES), "lifetime": "3600s"}]
    assert iam.bearers == set(metadata.given)
    assert metadata.asked == {"email": 1, "token": 1}


async def test_one_s_own_account_needs_no_iam_credentials(tokens: Tokens, metadata: Metadata, iam: Iam) -> None:
    """Named or not: an account need not have a role on itself."""
    assert await tokens.bearer(IdTokenWanted(AUDIENCE, OWN)) == metadata.given[0]
    assert await tokens.bearer(AccessTokenWanted(SCOPES, OWN)) == metadata.given[1]
    assert not iam.asked


async def test_impersonate_is_who_speaks_where_nobody_is_named(clock: FakeClock, metadata: Metadata, iam: Iam) -> None:
    """LONGCALL_IMPERSONATE; a task that names an account gets that one's."""
    environ = {"GCE_METADATA_HOST": metadata.host}
    async with google_tokens(environ, clock.now, impersonate=OTHER, iam_endpoint=f"http://{iam.host}") as tokens:
        assert await tokens.bearer(ID) == iam.given[0]
        assert await tokens.bearer(IdTokenWanted(AUDIENCE, OWN)) == metadata.given[-1]
        assert iam.asked == {"generateIdToken": 1}


def google_error(number: int, reason: str, **more: object) -> Answer:
    """An error as Google's APIs have it (AIP-193), which quotes what was sent."""
    import json

    async def answer(request: web.Request) -> web.Response:
        quoted = request.headers["Authorization"]
        details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": {"token": quoted}}]
        error = {"code": number, "message": f"not with {quoted}", "status": "PERMISSION_DENIED", "details": details} | more
        return web.Response(status=number, text=json.dumps({"error": error}))

    return answer


@pytest.mark.parametrize("wanted", [OTHERS, AccessTokenWanted(SCOPES, OTHER)], ids=["id", "access"])
@pytest.mark.parametrize(
    ("instead", "says"),
    [
        (google_error(400, "X_Y"), "answered 400 (X_Y)"),
        (google_error(401, "ACCESS_TOKEN_EXPIRED"), "does not accept this runner's own access token"),
        (google_error(403, "IAM_PERMISSION_DENIED"), "roles/iam.serviceAccountTokenCreator"),
        (google_error(403, "SERVICE_DISABLED"), "(SERVICE_DISABLED)"),
        (google_error(403, "", details=[]), "(PERMISSION_DENIED)"),
        (google_error(403, "ya29.planted"), "answered 403 to"),
        (google_error(404, "NOT_FOUND"), "no such service account"),
        (google_error(429, "RATE_LIMIT_EXCEEDED"), "(RATE_LIMIT_EXCEEDED)"),
        (status(500, "oops"), "answered 500 to"),
        (status(502, '{"error": "ya29.planted"}'), "answered 502 to"),
        (status(503, '{"error": {"details": ["ya29.planted"]}}'), "answered 503 to"),
        (hang_up, "does not answer"),
        (hang, "within 0.5 s"),
        (endless, "far too long"),
    ],
)
async def test_iam_credentials_that_give_no_token(
    clock: FakeClock, metadata: Metadata, iam: Iam, instead: Answer, says: str, wanted: Wanted
) -> None:
    """It is said what to do, and nothing that was sent or came back is repeated."""
    iam.instead = instead
    async with issuers_session() as session:
        source = Google(session, clock.now, {"GCE_METADATA_HOST": metadata.host}, iam_endpoint=f"http://{iam.host}")
        async with Tokens.open(source, clock.now, mint_limit=0.5) as tokens:
            error = await refused(tokens, wanted)
            assert says in said(error)
            assert OTHER in said(error) or "answered with" in said(error) or "not answer" in said(error) or "within" in said(error)
            no_token_in(repr(error), str(error), said(error), repr(tokens), repr(source), issuers=(metadata, iam))


@pytest.mark.parametrize("wanted", [OTHERS, AccessTokenWanted(SCOPES, OTHER)], ids=["id", "access"])
@pytest.mark.parametrize("body", ["{}", "<html>", '{"token": "x", "accessToken": "x", "expireTime": "soon"}'])
async def test_no_token_in_an_answer_of_iam_credentials(tokens: Tokens, iam: Iam, body: str, wanted: Wanted) -> None:
    """What is no token, or one whose end can't be read, is sent to nobody."""
    iam.instead = status(200, body)
    assert "no token" in said(await refused(tokens, wanted))


def no_token_in(*texts: str, issuers: tuple[Issuer, ...]) -> None:
    """Look for everything that was ever given out, and what was planted."""
    given = [token for issuer in issuers for token in issuer.given]
    assert given
    for text in texts:
        assert not [token for token in [*given, "planted", "Bearer", "ya29"] if token in text]


@pytest.mark.parametrize("account", ["x", "a@b/../../v1", "a@b:signJwt?", "a@b#", "a b@c", "a@b@c", "@", "ü@b"])
async def test_an_account_is_no_way_into_another_url(tokens: Tokens, iam: Iam, account: str) -> None:
    """It comes from a task, and would become a part of an address to which our own token goes."""
    assert "no service account's address" in said(await refused(tokens, IdTokenWanted(AUDIENCE, account)))
    assert not iam.asked


async def test_nothing_that_is_kept_shows_a_token(tokens: Tokens, metadata: Metadata, iam: Iam) -> None:
    """No repr of what holds tokens has one, whoever logs it."""
    for wanted in (ID, ACCESS, OTHERS):
        await tokens.bearer(wanted)
    no_token_in(repr(tokens), str(tokens), repr(vars(tokens)), repr(tokens.source), repr(vars(tokens.source)), issuers=(metadata, iam))


async def test_a_metadata_server_is_found_by_its_flavor(clock: FakeClock, metadata: Metadata) -> None:
    """Some other server at that address is none, and nothing is none."""
    async with issuers_session() as session:
        server = MetadataServer(session, clock.now, metadata.host)
        assert await server.there()
        metadata.instead = without_flavor
        assert not await server.there()
        assert not await MetadataServer(session, clock.now, "127.0.0.1:1").there()


async def test_a_machine_on_google_cloud_needs_nothing_set(clock: FakeClock, metadata: Metadata) -> None:
    """No variable, no login: the metadata server is found, once."""
    async with issuers_session() as session:
        source = Google(session, clock.now, {"HOME": "/nonexistent"}, metadata_host=metadata.host)
        async with Tokens.open(source, clock.now) as tokens:
            assert await tokens.bearer(ID) == metadata.given[0]
            await tokens.bearer(IdTokenWanted("other"))
            assert metadata.asked == {"": 1, "identity": 2}


async def test_a_machine_without_credentials_says_so(clock: FakeClock) -> None:
    """The sentence has all three places, and what to do."""
    async with issuers_session() as session:
        source = Google(session, clock.now, {"HOME": "/nonexistent"}, metadata_host="127.0.0.1:1")
        async with Tokens.open(source, clock.now) as tokens:
            error = said(await refused(tokens))
    for each in (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "/nonexistent/.config/gcloud",
        "metadata server",
        "gcloud auth application-default login",
    ):
        assert each in error


def test_tokens_are_told_apart_by_who_asked_not_by_how(clock: FakeClock) -> None:
    """An audience that was asked for and the same one unasked share a token; another account's is another one."""
    assert IdTokenWanted(AUDIENCE, implied=True) == ID
    assert len({ID, IdTokenWanted(AUDIENCE, implied=True), OTHERS, ACCESS}) == 3
    assert google_like(AUDIENCE, OWN, clock.now()) != google_like(AUDIENCE, OTHER, clock.now())
