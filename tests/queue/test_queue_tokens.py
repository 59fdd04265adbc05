from __future__ import annotations

import asyncio
import importlib.util
import logging
import stat
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from google.auth.transport.requests import Request
from google.cloud import tasks_v2
from google.oauth2 import id_token
from joserfc import jwt
from joserfc.jwk import KeySet

from longcall.outbound.clock import SystemClock
from longcall.queue import QueueOptions
from longcall.queue.oidc import CERTIFICATES_PATH, CONFIGURATION_PATH, KEYS_PATH, Issuer, new_key
from tests.conftest import IN_CI

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from longcall.queue import EmbeddedQueue
    from tests.queue.conftest import Connect, OpenQueue, Seen, Target

QUEUE = "projects/p/locations/l/queues/q"
EMAIL = "caller@p.iam.gserviceaccount.com"
OIDC: dict[str, Any] = {"oidc_token": {"service_account_email": EMAIL}}
SECONDS_OF_AN_HOUR = 3600


def _rest(queue: EmbeddedQueue) -> str:
    return f"http://127.0.0.1:{queue.rest_port}"


async def _dispatched(queue: EmbeddedQueue, connect: Connect, target: Target, **request: object) -> Seen:
    queue.start_dispatching()
    async with connect(queue) as client:
        task = {"http_request": {"url": f"{target.url}/work?x=1", **request}}
        await client.create_task(parent=QUEUE, task=tasks_v2.Task(task))
        return await target.arrived(1)


def _bearer(seen: Seen) -> str:
    (header,) = [value for name, value in seen.headers.items() if name.lower() == "authorization"]
    kind, token = header.split(" ")
    assert kind == "Bearer"
    return token


@pytest.mark.parametrize("path", [CERTIFICATES_PATH, KEYS_PATH])
async def test_google_auth_verifies_an_id_token(open_queue: OpenQueue, connect: Connect, target: Target, path: str) -> None:
    """A target verifies the token that its task asked for with google-auth alone, as it would verify one of Google's."""
    if path == KEYS_PATH and not IN_CI and importlib.util.find_spec("jwt") is None:
        pytest.skip("google-auth reads a JWK set with PyJWT, which is not installed")
    async with open_queue(path=None, now=SystemClock().now) as queue:
        seen = await _dispatched(queue, connect, target, **OIDC)

        def verified(audience: str) -> Mapping[str, Any]:
            request = Request()
            return id_token.verify_token(_bearer(seen), request, audience, certs_url=_rest(queue) + path, clock_skew_in_seconds=1)

        claims = await asyncio.to_thread(verified, f"{target.url}/work?x=1")
        assert (claims["iss"], claims["email"], claims["email_verified"]) == (_rest(queue), EMAIL, True)
        assert claims["exp"] - claims["iat"] == SECONDS_OF_AN_HOUR
        assert claims["sub"] == claims["azp"] != EMAIL
        with pytest.raises(Exception, match=r"[Aa]udience"):
            await asyncio.to_thread(verified, "https://elsewhere.test")


async def test_the_audience_and_the_scope_are_the_tasks(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """An ID token is for the audience that the task names; an access token has its scope, all of Google Cloud if it names none."""
    tokens = {
        "oidc_token": {"service_account_email": EMAIL, "audience": "https://abc.run.app"},
        "oauth_token": {"service_account_email": EMAIL, "scope": "https://scope.test"},
    }
    for number, (kind, token) in enumerate([*tokens.items(), ("oauth_token", {"service_account_email": EMAIL})]):
        async with open_queue(path=None) as queue:
            target.seen.clear()
            claims = _claims(queue.issuer, _bearer(await _dispatched(queue, connect, target, **{kind: token})))
            assert claims["email"] == EMAIL
            named = [
                {"aud": "https://abc.run.app"},
                {"scope": "https://scope.test"},
                {"scope": "https://www.googleapis.com/auth/cloud-platform"},
            ]
            assert named[number].items() <= claims.items()


def _claims(issuer: Issuer, token: str) -> dict[str, Any]:
    return jwt.decode(token, KeySet.import_key_set(issuer.jwks())).claims  # type: ignore[arg-type] # it is one


async def test_the_token_stands_for_any_other(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """The token that a task asks for replaces the Authorization header that it brings."""
    async with open_queue(path=None) as queue:
        seen = await _dispatched(queue, connect, target, headers={"authorization": "Bearer mine"}, **OIDC)
        assert _claims(queue.issuer, _bearer(seen))["email"] == EMAIL


async def test_who_asks_for_none_gets_none(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """A task without a token keeps its own Authorization header, and a task without either has none."""
    async with open_queue(path=None) as queue:
        assert _bearer(await _dispatched(queue, connect, target, headers={"Authorization": "Bearer mine"})) == "mine"
    target.seen.clear()
    async with open_queue(path=None) as queue:
        assert "Authorization" not in (await _dispatched(queue, connect, target)).headers


async def test_the_discovery_document(open_queue: OpenQueue) -> None:
    """Whoever knows the issuer finds its keys, and no part of the private one."""
    async with open_queue(path=None) as queue, aiohttp.ClientSession() as http:
        async with http.get(_rest(queue) + CONFIGURATION_PATH) as answer:
            configuration = await answer.json()
        assert configuration["issuer"] == _rest(queue)
        async with http.get(configuration["jwks_uri"]) as answer:
            (key,) = (await answer.json())["keys"]
    assert set(key) == {"kty", "n", "e", "kid", "use", "alg"}


async def test_another_name_for_the_issuer(open_queue: OpenQueue, signing_key: str) -> None:
    """Who checks for Google's issuer can have its name in the tokens."""
    options = QueueOptions(issuer="https://accounts.google.com", signing_key=signing_key)
    async with open_queue(path=None, options=options) as queue:
        token = queue.issuer.id_token(EMAIL, "https://a.test", SystemClock().now())
        assert _claims(queue.issuer, token)["iss"] == "https://accounts.google.com"


async def test_the_key_is_kept(open_queue: OpenQueue, tmp_path: Path) -> None:
    """A token verifies after a restart, by a key in a file that is its owner's alone; in memory every start has another."""
    own = QueueOptions()
    async with open_queue(options=own) as queue:
        first = queue.issuer.jwks()
    async with open_queue(options=own) as queue:
        assert queue.issuer.jwks() == first
        assert _modes(tmp_path) == {0o600}
    async with open_queue(path=None, options=own) as queue:
        assert queue.issuer.jwks() != first


def _modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in folder.glob("queue.db*")}


def test_the_key_is_not_shown() -> None:
    """No repr of what has the key shows it."""
    pem = new_key()
    secret = pem.splitlines()[1]
    assert secret not in repr(Issuer("http://i.test", pem))
    assert secret not in repr(QueueOptions(signing_key=pem))


async def test_no_token_is_in_the_log(open_queue: OpenQueue, connect: Connect, target: Target, caplog: pytest.LogCaptureFixture) -> None:
    """A dispatch that fails is in the log, and its token is not."""
    caplog.set_level(logging.DEBUG, "longcall")
    target.answers.append(500)
    async with open_queue(path=None) as queue:
        token = _bearer(await _dispatched(queue, connect, target, **OIDC))
        async with connect(queue) as client:
            while not (await client.get_task(name=f"{QUEUE}/tasks/made-1")).response_count:
                pass
    assert "dispatch.failed" in caplog.text
    assert token not in caplog.text
    assert not any(token in str(record.__dict__) for record in caplog.records)


def test_times_are_the_callers() -> None:
    """A token is good from the given time for an hour, in whole seconds."""
    issuer, now = Issuer("http://i.test", new_key()), SystemClock().now()
    claims = _claims(issuer, issuer.access_token(EMAIL, "s", now - timedelta(hours=5)))
    assert (claims["iat"], claims["exp"]) == (int((now - timedelta(hours=5)).timestamp()), int((now - timedelta(hours=4)).timestamp()))
