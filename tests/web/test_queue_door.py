"""/dispatch opens for the queue: on App Engine by its header, elsewhere by the queue's token, locally by a secret; for nobody else."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.datastructures import Headers

from longcall.assembly import Entrance, LaptopOptions, laptop
from longcall.outbound.certificates import Certificates
from longcall.outbound.clock import SystemClock
from longcall.settings import Settings
from longcall.web.queue_door import SecretDoor
from tests.target import Serve, Target, well_behaved
from tests.web.issuer import AUDIENCE, Issuer, rsa_key

ACCOUNT = "queue@p.iam.gserviceaccount.com"
ON_APP_ENGINE = Settings(app_engine=True)
ELSEWHERE = Settings(dispatch_url="https://longcall.example/base", dispatch_service_account=ACCOUNT)
Start = Callable[[Serve], Awaitable[Target]]
Open = Callable[[Settings], AbstractAsyncContextManager[aiohttp.ClientSession]]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Google's keys, as far as these tests are concerned."""
    with Issuer().serving() as running:
        yield running


@pytest.fixture
def started(tmp_path: Path, issuer: Issuer) -> Open:
    """Start a stack with these settings, and give a client of it."""

    @asynccontextmanager
    async def start(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
        options = LaptopOptions(0, 0, 0, tmp_path / "data", settings, issuer.issuers)
        async with laptop(options) as running, aiohttp.ClientSession(running.api_url) as session:
            yield session

    return start


async def deliver(http: aiohttp.ClientSession, target: Target, name: str, **headers: str) -> tuple[int, Any]:
    """One delivery of a task put by hand; then whether its record was made."""
    body = {"httpRequest": {"url": target.url}}
    told = {"X-AppEngine-TaskName": name, "X-CloudTasks-TaskName": name}
    async with http.post(
        "/dispatch", json=body, headers=told | {each.replace("_", "-"): value for each, value in headers.items()}
    ) as answer:
        status = answer.status
    async with http.get(f"/v1/tasks/{name}") as answer:
        assert answer.status == (200 if status == 200 else 404)
    return status, answer


FORGED = [
    {},
    {"X_AppEngine_QueueName": "default"},
    {"X_AppEngine_QueueName": "default", "X_Appengine_Cron": "true", "X_Google_Internal_SkipAdminCheck": "true"},
    {"X_CloudTasks_QueueName": "default", "User_Agent": "Google-Cloud-Tasks"},
    {"Longcall_Queue_Secret": ""},
    {"Longcall_Queue_Secret": "guess"},
    {"Longcall_Queue_Secret": "\xe4"},
    {"Authorization": "Bearer x.y.z"},
    {"Authorization": ""},
]


@pytest.mark.parametrize("headers", FORGED)
@pytest.mark.parametrize("settings", [Settings(), ELSEWHERE], ids=["local", "elsewhere"])
async def test_a_forged_delivery_is_refused(started: Open, serve: Start, settings: Settings, headers: dict[str, str]) -> None:
    """Off App Engine its headers are anybody's; nothing is made of what comes with them."""
    async with started(settings) as http:
        assert (await deliver(http, await serve(well_behaved), "forged", **headers))[0] == 403


async def test_on_app_engine_its_header_opens(started: Open, serve: Start) -> None:
    """The front end takes it off everybody else's requests; without it, or with an empty one, 403."""
    target = await serve(well_behaved)
    async with started(ON_APP_ENGINE) as http:
        assert (await deliver(http, target, "own", X_AppEngine_QueueName="calls"))[0] == 200
        assert (await deliver(http, target, "forged"))[0] == 403
        assert (await deliver(http, target, "empty", X_AppEngine_QueueName=""))[0] == 403
        assert (await deliver(http, target, "other", X_CloudTasks_QueueName="calls"))[0] == 403


async def test_elsewhere_the_queue_s_token_opens(started: Open, serve: Start, issuer: Issuer) -> None:
    """Of the account that the queue sends as, for the URL it sends to."""
    target = await serve(well_behaved)
    ours = {"aud": ELSEWHERE.dispatch_url}
    async with started(ELSEWHERE) as http:
        good = issuer.id_token(ACCOUNT, **ours)
        assert (await deliver(http, target, "own", Authorization=f"Bearer {good}"))[0] == 200
        bad = {
            "another-account": issuer.id_token("eve@p.iam.gserviceaccount.com", **ours),
            "another-audience": issuer.id_token(ACCOUNT, aud=AUDIENCE),
            "longer-audience": issuer.id_token(ACCOUNT, aud=f"{ELSEWHERE.dispatch_url}/dispatch"),
            "unverified": issuer.id_token(ACCOUNT, email_verified=False, **ours),
            "expired": issuer.id_token(ACCOUNT, iat=1, exp=2, **ours),
            "stranger": rsa_key("g1").sign(issuer.claims(ACCOUNT, **ours)),
            "iap": issuer.assertion(ACCOUNT, **ours),
        }
        for name, token in bad.items():
            assert (await deliver(http, target, name, Authorization=f"Bearer {token}"))[0] == 403, name


async def test_while_the_keys_are_away_the_queue_is_asked_to_come_again(started: Open, serve: Start, issuer: Issuer) -> None:
    """500, never 503, which throttles a whole App Engine queue; a 403 would say that it was not the queue."""
    issuer.away = True
    try:
        async with started(ELSEWHERE) as http:
            token = issuer.id_token(ACCOUNT, aud=ELSEWHERE.dispatch_url)
            assert (await deliver(http, await serve(well_behaved), "own", Authorization=f"Bearer {token}"))[0] == 500
    finally:
        issuer.away = False


@pytest.mark.parametrize(
    ("settings", "doors"),
    [
        (Settings(), []),
        (Settings(queue_secret="s"), ["SecretDoor"]),  # noqa: S106 — a test's
        (ON_APP_ENGINE, ["AppEngineDoor"]),
        (ELSEWHERE, ["OidcDoor"]),
    ],
)
def test_a_door_is_there_only_when_it_is_configured(settings: Settings, doors: list[str]) -> None:
    """Nothing set: it opens for nobody."""
    clock = SystemClock()
    keys = Certificates("http://127.0.0.1:9/", clock)
    assert [type(door).__name__ for door in Entrance(settings, clock, keys, keys).queue_doors()] == doors


async def test_an_empty_secret_opens_to_nobody() -> None:
    """Nothing is not equal to nothing here."""
    for given in ({}, {"Longcall-Queue-Secret": ""}):
        assert not await SecretDoor("").opens(Headers(given))
    assert await SecretDoor("s").opens(Headers({"Longcall-Queue-Secret": "s"}))
