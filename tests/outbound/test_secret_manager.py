"""Secrets over a real socket, from a server that speaks Secret Manager's one call."""

import base64
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from longcall.core.errors import CallerMistake, LongcallError, UnavailableError
from longcall.outbound.secret_manager import SecretManager

ANSWERS = {
    "projects/p/secrets/hook/versions/latest": {"payload": {"data": base64.b64encode(b"whsec_planted\n").decode()}},
    "projects/other/secrets/hook/versions/3": {"payload": {"data": base64.b64encode("zwölf".encode()).decode()}},
    "projects/p/secrets/odd/versions/latest": {"payload": {"data": base64.b64encode(b"\xff").decode()}},
    "projects/p/secrets/odder/versions/latest": ["planted"],
}


async def _access(request: web.Request) -> web.Response:
    path = request.match_info["path"]
    if request.headers.get("Authorization") != "Bearer good":
        return web.json_response({"error": {"message": "planted"}}, status=403)
    if path.startswith("projects/p/secrets/broken"):
        return web.json_response({"error": {"message": "planted"}}, status=500)
    if path not in ANSWERS:
        return web.json_response({"error": {"message": "planted"}}, status=404)
    return web.json_response(ANSWERS[path])


@pytest.fixture
async def endpoint() -> AsyncIterator[str]:
    """The server's address."""
    app = web.Application()
    app.router.add_get("/v1/{path:.*}:access", _access)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("")).rstrip("/")


def manager(endpoint: str, token: str = "good") -> SecretManager:  # noqa: S107 — a test's
    """A client with this token."""

    async def authorize() -> str:
        return token

    return SecretManager(authorize, "p", endpoint)


async def test_a_secret_is_read_by_its_name(endpoint: str) -> None:
    """The latest version of this project's, or the one a reference names in full; the line's end is no part of it."""
    found = await manager(endpoint).read(["sm://hook", "sm://projects/other/secrets/hook/versions/3"])
    assert found == {"sm://hook": "whsec_planted", "sm://projects/other/secrets/hook/versions/3": "zwölf"}


@pytest.mark.parametrize(
    ("reference", "token", "fault", "said"),
    [
        ("sm://nothing", "good", CallerMistake, "no secret projects/p/secrets/nothing"),
        ("sm://hook", "bad", CallerMistake, "roles/secretmanager.secretAccessor"),
        ("sm://broken", "good", UnavailableError, "answered 500"),
        ("sm://odd", "good", UnavailableError, "no secret's text"),
        ("sm://odder", "good", UnavailableError, "no secret's text"),
        ("sm://a/b", "good", CallerMistake, "names no secret"),
        ("sm://", "good", CallerMistake, "names no secret"),
    ],
)
async def test_what_goes_wrong_is_said_without_the_secret(
    endpoint: str, reference: str, token: str, fault: type[LongcallError], said: str
) -> None:
    """Each failure is one sentence that says what and where, and shows nothing of the answer."""
    with pytest.raises(fault) as caught:
        await manager(endpoint, token).read([reference])
    assert said in str(caught.value)
    assert "planted" not in str(caught.value)


async def test_nobody_there() -> None:
    """A server that is away is our fault, to be tried again."""
    with pytest.raises(UnavailableError, match="does not answer"):
        await manager("http://127.0.0.1:9").read(["sm://hook"])


async def test_without_a_project_a_full_name_is_asked_for() -> None:
    """Off Google Cloud nothing says whose secret it is."""
    with pytest.raises(CallerMistake, match="projects/P/secrets"):
        await SecretManager(manager("").authorize, "").read(["sm://hook"])
