"""The service to be called: called by a whole Longcall, with tokens, and looked at from outside."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from joserfc import jwt
from standardwebhooks import Webhook

from longcall.core.signing import secret_of
from tests.deploy.project import ROOT
from tests.end_to_end.program import Up, environment, up
from tests.end_to_end.test_up import ask
from tests.google import free_port
from tests.outbound.issuers import KEY, google_like, serving

ALLOWED = "longcall-caller@abc-longcall.iam.gserviceaccount.com"
SECRET = secret_of(b"S" * 32)


@dataclass
class Running:
    """The service and Longcall, and what the service told by itself."""

    url: str
    longcall: Up
    told: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def token(self, account: str, audience: str = "") -> str:
        """An ID token of this account for the service, or for another audience."""
        claims = jwt.decode(google_like(audience or self.url, account, datetime.now(UTC)), KEY).claims  # noqa: TID251 — google-auth looks at the clock
        return jwt.encode({"alg": "RS256", "kid": KEY.kid}, claims | {"email_verified": True}, KEY)

    async def called(self, path: str, task: str, **more: object) -> dict[str, object]:
        """What became of a call to it, as the allowed account."""
        token = {"serviceAccountEmail": ALLOWED, "audience": self.url}
        await ask(
            "POST",
            f"{self.longcall.api}/v1/tasks",
            {"id": task, "httpRequest": {"url": f"{self.url}{path}", "oidcToken": token}, **more},
        )
        view: dict[str, object] = await ask("GET", f"{self.longcall.api}/v1/tasks/{task}?wait=20s")
        return view


@asynccontextmanager
async def service(log: Path, **settings: str) -> AsyncIterator[str]:
    """The service on a free port, as its README starts it."""
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "main:app", "--port", str(port))
    given = environment() | settings | {"AUDIENCE": f"http://127.0.0.1:{port}"}
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT / "deploy" / "example-service", stdout=said, stderr=said, env=given
        )
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as http:
            while True:
                assert process.returncode is None, f"it did not start; {log} says why"
                try:
                    async with http.get(f"http://127.0.0.1:{port}/"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """All of it: Longcall, the service that checks its tokens by its keys, and whoever the service tells."""
    async with up(tmp_path / "data") as longcall:
        both = Running("", longcall)

        async def certs(_: web.Request) -> web.StreamResponse:
            async with aiohttp.ClientSession() as http, http.get(f"{longcall.rest}/oauth2/v1/certs") as found:
                return web.json_response(await found.json() | {KEY.kid: KEY.as_pem(private=False).decode()})

        async def tell(request: web.Request) -> web.StreamResponse:
            both.told.append((await request.read(), dict(request.headers)))
            both.heard.set()
            return web.Response()

        beside = web.Application()
        beside.add_routes([web.get("/certs", certs), web.post("/tell", tell)])
        async with serving(beside) as at:
            addresses = {"CERTS_URL": f"http://{at}/certs", "TELL_URL": f"http://{at}/tell"}
            async with service(tmp_path / "service.log", ALLOWED_CALLER=ALLOWED, TELL_SECRET=SECRET, **addresses) as url:
                both.url = url
                yield both


def answer(view: dict[str, object]) -> dict[str, object]:
    """The JSON of the last response."""
    response = view["response"]
    assert isinstance(response, dict)
    found: dict[str, object] = response["json"]
    return found


async def test_it_works_knows_its_caller_and_tells(running: Running) -> None:
    """A call of the right account is done; what it learns of the call comes back, and TELL_URL hears it, signed."""
    view = await running.called("/sleep?seconds=0.2", "train")
    assert (view["state"], answer(view)["caller"], answer(view)["longcall-task"]) == ("SUCCEEDED", ALLOWED, "train")
    async with asyncio.timeout(10):
        await running.heard.wait()
    ((body, headers),) = running.told
    lowered = {name.lower(): value for name, value in headers.items()}
    assert Webhook(SECRET).verify(body, lowered)["data"]["longcall-task"] == "train"


async def test_it_streams_and_fails_on_demand(running: Running) -> None:
    """Spaces before the JSON keep the connection busy; a failure is tried again; `never` ends it at once."""
    quick = {"retry": {"minBackoff": "0.1s", "maxAttempts": 3}}
    streamed, failed, never = await asyncio.gather(
        running.called("/stream?seconds=0.4&every=0.1", "stream"),
        running.called("/fail?times=1", "fail", **quick),
        running.called("/fail?times=2&never=true", "never", **quick),
    )
    assert answer(streamed)["streamed"] == 0.4
    assert (failed["state"], failed["attemptCount"], answer(failed)["longcall-previous"]) == ("SUCCEEDED", 2, "response")
    assert (never["state"], never["attemptCount"]) == ("FAILED", 1)


async def test_the_work_is_done_once(running: Running) -> None:
    """A second attempt with the same Idempotency-Key gets what the first one made."""
    headers = {"Authorization": f"Bearer {running.token(ALLOWED)}", "Idempotency-Key": '"once"'}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{running.url}/sleep?seconds=0.1") as first,
        http.post(f"{running.url}/sleep?seconds=20") as again,
    ):
        both = await first.json(), await again.json()
    assert both == ({"slept": 0.1, "caller": ALLOWED}, {"slept": 0.1, "caller": ALLOWED, "again": True})


async def test_others_are_turned_away(running: Running) -> None:
    """Another account 403; no token, another service's or another's signature 401; and the work is not done."""
    statuses = []
    async with aiohttp.ClientSession() as http:
        for token in ("", "a.b.c", running.token(ALLOWED, "http://another"), running.token("else@p.iam.gserviceaccount.com")):
            async with http.post(f"{running.url}/sleep?seconds=0", headers={"Authorization": f"Bearer {token}"}) as turned:
                statuses.append(turned.status)
    assert (statuses, running.told) == ([401, 401, 401, 403], [])
