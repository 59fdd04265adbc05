import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import google.auth.exceptions
import google.auth.transport.requests
import pytest
from aiohttp import web
from google.oauth2.id_token import verify_token
from joserfc import jwt
from joserfc.jwk import KeySet

from longcall.core.audience import AccessTokenWanted, IdTokenWanted
from longcall.core.errors import CallerMistake
from longcall.outbound.clock import SystemClock
from longcall.outbound.issuer import CERTS, DISCOVERY, JWKS, LocalIssuer, kept_key, new_key
from longcall.outbound.minted import NoTokenError
from longcall.outbound.tokens import Tokens
from longcall.testing import FakeClock
from tests.outbound.issuers import serving

URL = "http://127.0.0.1:8080"
NOW = SystemClock().now  # google-auth reads the machine's clock itself


@pytest.fixture(scope="module")
def pem() -> bytes:
    """A key."""
    return new_key()


@pytest.fixture
def issuer(pem: bytes) -> LocalIssuer:
    """An issuer."""
    return LocalIssuer(URL, pem, NOW)


@pytest.fixture
async def served(issuer: LocalIssuer) -> AsyncIterator[str]:
    """Its public keys, where a target looks them up."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(issuer.served()[request.path])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with serving(app) as host:
        yield f"http://{host}"


async def verified(token: str, audience: str, certs_url: str) -> dict[str, object]:
    """Check a token as a target does that uses google-auth."""
    request = google.auth.transport.requests.Request()
    return dict(await asyncio.to_thread(verify_token, token, request, audience, certs_url))


async def test_a_target_that_checks_with_google_auth_accepts_its_tokens(issuer: LocalIssuer, served: str) -> None:
    """The same code that will check Google's: signature, life and audience."""
    async with Tokens.open(issuer, NOW, implied=False) as tokens:
        token = await tokens.bearer(IdTokenWanted("https://mine", "caller@p.iam.gserviceaccount.com"))
        claims = await verified(token, "https://mine", f"{served}{CERTS}")
        assert claims["iss"] == URL
        assert (claims["email"], claims["email_verified"]) == ("caller@p.iam.gserviceaccount.com", True)
        assert claims["sub"]
        assert int(str(claims["exp"])) - int(str(claims["iat"])) == 3600
        with pytest.raises(google.auth.exceptions.InvalidValue, match="wrong audience"):
            await verified(token, "https://another", f"{served}{CERTS}")


async def test_another_key_s_token_is_refused(issuer: LocalIssuer, served: str) -> None:
    """Someone else's signature under our key's id is none."""
    stranger = LocalIssuer(URL, new_key(), NOW)
    token = stranger.issue("https://mine", "x", NOW())
    with pytest.raises(google.auth.exceptions.MalformedError, match=r"Certificate for key id .* not found"):
        await verified(token, "https://mine", f"{served}{CERTS}")
    head, payload, _ = issuer.issue("https://mine", "x", NOW()).split(".")
    with pytest.raises(google.auth.exceptions.MalformedError, match="Could not verify"):
        await verified(f"{head}.{payload}.{token.split('.')[2]}", "https://mine", f"{served}{CERTS}")


def test_the_jwk_set_is_public_and_checks_too(issuer: LocalIssuer) -> None:
    """For every other checker: RFC 7517, with nothing of the private key."""
    jwks = issuer.jwks()
    assert {name for key in jwks["keys"] for name in key} == {"kty", "n", "e", "kid", "use", "alg"}
    found = jwt.decode(issuer.issue("https://mine", "x", NOW()), KeySet.import_key_set(jwks), ["RS256"])  # type: ignore[arg-type] # joserfc's own shape of it
    assert (found.claims["aud"], found.header["kid"]) == ("https://mine", jwks["keys"][0]["kid"])
    assert "PRIVATE" not in str(issuer.served())


def test_discovery_leads_to_the_keys(issuer: LocalIssuer) -> None:
    """The issuer is the one in the tokens, and its keys are where it says."""
    found = issuer.served()[DISCOVERY]
    assert (found["issuer"], found["jwks_uri"]) == (URL, URL + JWKS)
    assert JWKS in issuer.served()


async def test_it_has_no_access_tokens(issuer: LocalIssuer) -> None:
    """Those are Google's to give."""
    async with Tokens.open(issuer, NOW) as tokens:
        with pytest.raises(NoTokenError, match="no access tokens") as raised:
            await tokens.bearer(AccessTokenWanted(("x",)))
        assert "LONGCALL_IMPERSONATE" in str(raised.value.trouble.hint)


async def test_its_time_is_the_clock_s(pem: bytes) -> None:
    """Nothing reads the time behind our back."""
    clock = FakeClock()
    minted = await LocalIssuer(URL, pem, clock.now).mint(IdTokenWanted("x"))
    assert (minted.expires - clock.now()).total_seconds() == 3600
    assert minted.token == LocalIssuer(URL, pem, clock.now).issue("x", "longcall@localhost", clock.now())
    assert minted.token not in repr(minted)


def test_the_key_is_kept_and_nobody_else_s_to_read(tmp_path: Path) -> None:
    """A target may keep the key for hours: a restart makes no new one."""
    first = kept_key(tmp_path)
    assert kept_key(tmp_path) == first
    [file] = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("spoilt", [b"", b"x", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_spoilt_key_is_named(tmp_path: Path, spoilt: bytes) -> None:
    """With what to do."""
    kept_key(tmp_path)
    [file] = tmp_path.iterdir()
    file.write_bytes(spoilt)
    with pytest.raises(CallerMistake, match=r"is no RSA key.*remove it") as raised:
        kept_key(tmp_path)
    assert str(file) in str(raised.value)


def test_no_repr_has_the_key(issuer: LocalIssuer, pem: bytes) -> None:
    """Whoever logs an issuer logs no key."""
    issuer.jwks()
    for text in (repr(issuer), str(issuer)):
        assert "PRIVATE" not in text
        assert pem.splitlines()[1].decode() not in text
