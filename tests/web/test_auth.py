"""Who may come in, over real sockets: every way to ask, every route, every kind of caller."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio

from longcall.assembly import LaptopOptions, laptop
from tests.web.entrances import MODES, NEW_WRITE, READER, WRITE, WRITER, Shown
from tests.web.issuer import Issuer

pytestmark = pytest.mark.asyncio(loop_scope="module")
URL = "http://127.0.0.1:9/"


@dataclass(frozen=True)
class Stack:
    """A whole stack, a client of it that shows nothing, and what there is to show."""

    http: aiohttp.ClientSession
    shown: Shown
    url: str


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Google's keys, as far as these tests are concerned."""
    with Issuer().serving() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stacks(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> AsyncIterator[dict[str, Stack]]:
    """One for each way to ask."""
    async with AsyncExitStack() as stack:
        found = {}
        for mode, settings in MODES.items():
            options = LaptopOptions(0, 0, 0, tmp_path_factory.mktemp(mode) / "data", settings, issuer.issuers)
            running = await stack.enter_async_context(laptop(options))
            http = await stack.enter_async_context(aiohttp.ClientSession(running.api_url, cookie_jar=aiohttp.DummyCookieJar()))
            found[mode] = Stack(http, Shown(mode, issuer), running.api_url)
        yield found


async def operations(stack: Stack) -> list[tuple[str, str]]:
    """Every operation of the schema, and what is behind the gate without standing in it."""
    async with stack.http.get("/openapi.json", headers=stack.shown.headers("writer")) as answer:
        paths = (await answer.json())["paths"]
    named = [(method.upper(), path.replace("{task_id}", "none")) for path, methods in paths.items() for method in methods]
    assert len(named) >= 8
    return [
        *named,
        ("GET", "/openapi.json"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/v1/nope"),
        ("PUT", "/v1/nope"),
        ("PURGE", "/v1/tasks"),
    ]


def expected(mode: str, who: str, method: str) -> int | None:
    """401, 403, or None for being let in."""
    if mode == "none":
        return None
    match who:
        case "nobody" | "wrong":
            return 401
        case "stranger":
            return 403 if mode == "google" else 401
        case "reader":
            return None if method == "GET" else 403
        case _:
            return None


@pytest.mark.parametrize("who", ["nobody", "wrong", "stranger", "reader", "writer"])
@pytest.mark.parametrize("mode", MODES)
async def test_every_route_lets_in_who_may(stacks: dict[str, Stack], mode: str, who: str) -> None:
    """401 and WWW-Authenticate for nobody we know, 403 for one who may not do that, anything else for the others; all as problems."""
    stack = stacks[mode]
    for method, path in await operations(stack):
        async with stack.http.request(method, path, headers=stack.shown.headers(who)) as answer:
            refused = expected(mode, who, method)
            assert answer.status < 500, (method, path)
            if refused is None:
                assert answer.status not in {401, 403}, (method, path)
                continue
            problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, problem["status"]) == (refused, refused), (method, path)
            assert problem["code"] == {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}[refused]
            assert ("WWW-Authenticate" in answer.headers) is (refused == 401)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_open(stacks: dict[str, Stack], mode: str, path: str) -> None:
    """Load balancers show nothing; what they get tells nothing."""
    async with stacks[mode].http.get(path) as answer:
        assert (answer.status, len(await answer.read()) < 20) == (200, True)


@pytest.mark.parametrize("mode", MODES)
async def test_a_refused_create_makes_nothing(stacks: dict[str, Stack], mode: str) -> None:
    """And an allowed one does."""
    stack = stacks[mode]
    for who in ("nobody", "wrong", "stranger", "reader", "writer"):
        asked = {"id": f"by-{who}", "httpRequest": {"url": URL}}
        async with stack.http.post("/v1/tasks", json=asked, headers=stack.shown.headers(who)) as answer:
            made = answer.status == 201
        async with stack.http.get(f"/v1/tasks/by-{who}", headers=stack.shown.headers("writer")) as answer:
            assert answer.status == (200 if made else 404)
        assert made is (expected(mode, who, "POST") is None)


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (f"Bearer {WRITE}", 200),
        (f"bearer {WRITE}", 200),
        (f"Bearer  {WRITE} ", 200),
        (f"Bearer {NEW_WRITE}", 200),
        (f"Basic {WRITE}", 401),
        (WRITE, 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (f"Bearer {WRITE}x", 401),
        ("Bearer \xe4", 401),
    ],
)
async def test_a_token_is_shown_as_a_bearer(stacks: dict[str, Stack], shown: str, status: int) -> None:
    """RFC 6750; an old token and its successor are both good."""
    async with stacks["token"].http.get("/v1/tasks", headers={"Authorization": shown}) as answer:
        assert answer.status == status


async def test_a_refusal_says_what_to_do(stacks: dict[str, Stack]) -> None:
    """One sentence, without what was shown."""
    stack = stacks["google"]
    async with stack.http.get("/v1/tasks", headers=stack.shown.headers("stranger")) as answer:
        assert "eve@example.com is not among LONGCALL_ALLOWED_CALLERS" in (await answer.json(content_type=None))["detail"]
    async with stacks["token"].http.delete("/v1/tasks/x", headers=stacks["token"].shown.headers("reader")) as answer:
        assert f"{READER.name} may only read" in (await answer.json(content_type=None))["detail"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [({}, 200), ({"aud": "/projects/2/apps/other"}, 401), ({"email": "eve@example.com"}, 403), ({"exp": 1}, 401), ({"iss": "x"}, 401)],
)
async def test_iap_s_header_counts_when_it_is_signed(
    stacks: dict[str, Stack], issuer: Issuer, changed: dict[str, object], status: int
) -> None:
    """For our own resource, of those who are allowed."""
    shown = {"X-Goog-IAP-JWT-Assertion": issuer.assertion(WRITER.name, **changed)}
    async with stacks["google"].http.get("/v1/tasks", headers=shown) as answer:
        assert answer.status == status


async def test_iap_s_unsigned_headers_are_nothing(stacks: dict[str, Stack], issuer: Issuer) -> None:
    """Anybody can send these; and where no token is Google's, the signed one is nothing either."""
    shown = {"X-Goog-Authenticated-User-Email": f"accounts.google.com:{WRITER.name}", "X-Goog-IAP-JWT-Assertion": "x.y.z"}
    for headers in ({"X-Goog-Authenticated-User-Email": shown["X-Goog-Authenticated-User-Email"]}, shown):
        async with stacks["google"].http.get("/v1/tasks", headers=headers) as answer:
            assert answer.status == 401
    async with stacks["token"].http.get("/v1/tasks", headers={"X-Goog-IAP-JWT-Assertion": issuer.assertion(WRITER.name)}) as answer:
        assert answer.status == 401


async def test_a_page_behind_iap_changes_nothing_for_another_site(stacks: dict[str, Stack], issuer: Issuer) -> None:
    """A browser comes through IAP by a cookie, so its changes must be from our own pages; a program's have no Origin."""
    shown = {"X-Goog-IAP-JWT-Assertion": issuer.assertion(WRITER.name)}
    for origin, status in (("https://evil.example", 403), (stacks["google"].url, 404), (None, 404)):
        headers = shown | ({"Origin": origin} if origin else {})
        async with stacks["google"].http.post("/v1/tasks/none:cancel", headers=headers) as answer:
            assert answer.status == status


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""])
async def test_a_name_that_was_made_to_point_here_is_refused(stacks: dict[str, Stack], host: str) -> None:
    """DNS rebinding: a page's own name, resolved to this machine, reads nothing and changes nothing."""
    for method, path in (("GET", "/v1/tasks"), ("POST", "/v1/tasks"), ("GET", "/openapi.json"), ("DELETE", "/v1/tasks/none")):
        async with stacks["none"].http.request(method, path, headers={"Host": host}) as answer:
            assert (answer.status, (await answer.json(content_type=None))["code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:3000"])
async def test_another_site_s_page_changes_nothing(stacks: dict[str, Stack], origin: str) -> None:
    """Where nobody is asked who they are, any page in a browser on this machine could post; it sends its Origin."""
    for path in ("/v1/tasks", "/v1/tasks/none:cancel", "/v1/tasks:requeue"):
        async with stacks["none"].http.post(path, data=b"", headers={"Origin": origin, "Content-Type": "text/plain"}) as answer:
            assert answer.status == 403
    async with stacks["none"].http.post("/v1/tasks/none:cancel", headers={"Origin": stacks["none"].url}) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", ["/healthz", "/v1/tasks", "/nope", "/openapi.json", "/login", "/dispatch"])
async def test_every_answer_is_harmless_in_a_browser(stacks: dict[str, Stack], mode: str, path: str) -> None:
    """Also a refused one: nothing is sniffed, framed, kept, or run."""
    async with stacks[mode].http.get(path, headers=stacks[mode].shown.headers("writer")) as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        page = path == "/login" and mode == "token"  # its form is sent with our Origin, which no-referrer would take off
        assert answer.headers["Referrer-Policy"] == ("same-origin" if page else "no-referrer")
        assert answer.headers["Cache-Control"] == "no-store"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy


async def test_the_schema_says_whether_a_token_is_wanted(stacks: dict[str, Stack]) -> None:
    """A client made from it knows what to send."""
    for mode, stack in stacks.items():
        async with stack.http.get("/openapi.json", headers=stack.shown.headers("reader")) as answer:
            schema = await answer.json()
        assert ("securitySchemes" in schema.get("components", {})) is (mode != "none")
        assert ("security" in schema["paths"]["/v1/tasks"]["get"]) is (mode != "none")
