"""ID tokens of a key server of our own, and of everybody else."""

import base64
import json
import time
from collections.abc import Callable, Iterator

import pytest

from longcall.core.errors import UnauthenticatedError, UnavailableError
from longcall.outbound.certificates import LONGEST, PAUSE, Certificates
from longcall.testing import FakeClock
from longcall.web.id_tokens import GOOGLE, IAP, IdTokens
from tests.web.issuer import AUDIENCE, IAP_AUDIENCE, Issuer, rsa_key

ANN = "ann@example.com"
NOW = int(time.time())  # noqa: TID251 — google-auth reads the machine's clock
STRANGER = rsa_key("g1")


@pytest.fixture(scope="module")
def keys() -> Iterator[Issuer]:
    """An issuer whose pages are up."""
    with Issuer().serving() as issuer:
        yield issuer


@pytest.fixture
def issuer(keys: Issuer) -> Issuer:
    """The same, as if nobody had asked yet."""
    keys.asked.clear()
    keys.away = False
    return keys


def of_google(issuer: Issuer, clock: FakeClock | None = None, *audiences: str) -> IdTokens:
    """What checks ID tokens."""
    return IdTokens(GOOGLE, Certificates(issuer.issuers.google, clock or FakeClock()), audiences or [AUDIENCE])


def of_iap(issuer: Issuer) -> IdTokens:
    """What checks IAP's header."""
    return IdTokens(IAP, Certificates(issuer.issuers.iap, FakeClock()), [IAP_AUDIENCE])


def unsigned(issuer: Issuer) -> str:
    """A token that says of itself that it needs no signature."""
    parts = ({"alg": "none", "typ": "JWT", "kid": "g1"}, issuer.claims(ANN))
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), ""])


def cut(token: str) -> str:
    """The same claims, another signature."""
    head, claims, signature = token.split(".")
    return f"{head}.{claims}.{signature[:-8]}AAAAAAAA"


def altered(issuer: Issuer) -> str:
    """Another one's claims under a good signature."""
    head, _, signature = issuer.id_token("eve@example.com").split(".")
    return f"{head}.{issuer.id_token(ANN).split('.')[1]}.{signature}"


async def test_a_good_token_is_its_email_s(issuer: Issuer) -> None:
    """Both names of the issuer, any of the audiences."""
    assert await of_google(issuer).email(issuer.id_token(ANN)) == ANN
    assert await of_google(issuer).email(issuer.id_token(ANN, iss="accounts.google.com")) == ANN
    assert await of_google(issuer, None, "https://other.example", AUDIENCE).email(issuer.id_token(ANN)) == ANN


async def test_a_good_assertion_is_its_email_s(issuer: Issuer) -> None:
    """ES256, the resource as audience."""
    assert await of_iap(issuer).email(issuer.assertion(ANN)) == ANN


BAD: list[tuple[str, Callable[[Issuer], str], str]] = [
    ("expired", lambda issuer: issuer.id_token(ANN, iat=NOW - 7200, exp=NOW - 3600), "expired"),
    ("of tomorrow", lambda issuer: issuer.id_token(ANN, iat=NOW + 3600, exp=NOW + 7200), "too early"),
    ("for ever", lambda issuer: issuer.google.sign({k: v for k, v in issuer.claims(ANN).items() if k != "exp"}), "no ID token"),
    ("for somebody else", lambda issuer: issuer.id_token(ANN, aud="https://other.example"), "wrong audience"),
    ("for several", lambda issuer: issuer.id_token(ANN, aud=[AUDIENCE, "https://other.example"]), "wrong audience"),
    ("for nobody", lambda issuer: issuer.google.sign({k: v for k, v in issuer.claims(ANN).items() if k != "aud"}), "wrong audience"),
    ("another issuer's", lambda issuer: issuer.id_token(ANN, iss="https://evil.example"), "another issuer"),
    ("unverified", lambda issuer: issuer.id_token(ANN, email_verified=False), "no verified email"),
    ("verified as text", lambda issuer: issuer.id_token(ANN, email_verified="true"), "no verified email"),
    ("without email", lambda issuer: issuer.google.sign({**issuer.claims(ANN), "email": None}), "no verified email"),
    ("unsigned", unsigned, "not signed"),
    ("a stranger's", lambda issuer: STRANGER.sign(issuer.claims(ANN)), "no ID token"),
    ("cut", lambda issuer: cut(issuer.id_token(ANN)), "no ID token"),
    ("altered", altered, "no ID token"),
    ("IAP's", lambda issuer: issuer.assertion(ANN, aud=AUDIENCE, iss="accounts.google.com", email_verified=True), "not signed with RS256"),
    ("with text for a time", lambda issuer: issuer.id_token(ANN, iat="now"), "no ID token"),
    ("empty", lambda _: "", "no ID token"),
    ("dots", lambda _: "..", "no ID token"),
    ("nonsense", lambda _: "a.b.c", "no ID token"),
    ("no object", lambda _: "MQ.MQ.MQ", "no ID token"),
    ("deep", lambda _: base64.urlsafe_b64encode(b"[" * 50_000).decode() + ".MQ.MQ", "no ID token"),
    ("not ASCII", lambda _: "ä.ö.ü", "no ID token"),
]


@pytest.mark.parametrize(("make", "says"), [each[1:] for each in BAD], ids=[each[0] for each in BAD])
async def test_a_bad_token_is_nobody_s(issuer: Issuer, make: Callable[[Issuer], str], says: str) -> None:
    """One sentence that says why, and does not repeat the token."""
    token = make(issuer)
    with pytest.raises(UnauthenticatedError, match=says) as raised:
        await of_google(issuer).email(token)
    assert len(token) < 5 or token not in str(raised.value)


async def test_without_an_audience_no_token_is_right(issuer: Issuer) -> None:
    """None at all must not mean any."""
    tokens = IdTokens(GOOGLE, Certificates(issuer.issuers.google, FakeClock()), [])
    with pytest.raises(UnauthenticatedError, match="wrong audience"):
        await tokens.email(issuer.id_token(ANN))


@pytest.mark.parametrize("other", [{"aud": "/projects/2/apps/longcall"}, {"iss": "https://accounts.google.com"}, {"exp": NOW - 100}])
async def test_a_bad_assertion_is_nobody_s(issuer: Issuer, other: dict[str, object]) -> None:
    """Another resource's, another issuer's, an old one."""
    with pytest.raises(UnauthenticatedError):
        await of_iap(issuer).email(issuer.assertion(ANN, **other))


async def test_an_id_token_is_no_assertion(issuer: Issuer) -> None:
    """Each kind is checked with its own keys."""
    with pytest.raises(UnauthenticatedError, match="not signed with ES256"):
        await of_iap(issuer).email(issuer.id_token(ANN, aud=IAP_AUDIENCE, iss="https://cloud.google.com/iap"))


async def test_keys_are_kept(issuer: Issuer) -> None:
    """One question for many tokens; another one when Cache-Control's time is over."""
    clock = FakeClock()
    tokens = of_google(issuer, clock)
    for _ in range(5):
        await tokens.email(issuer.id_token(ANN))
    assert issuer.asked == ["/certs"]
    await clock.advance(20_001)
    await tokens.email(issuer.id_token(ANN))
    assert issuer.asked == ["/certs"] * 2


async def test_a_new_key_is_asked_for(issuer: Issuer) -> None:
    """When a token names one that is not known, but not more often than every half minute, whoever names how many."""
    clock = FakeClock()
    tokens, fresh = of_google(issuer, clock), rsa_key("g2")
    await tokens.email(issuer.id_token(ANN))
    issuer.published["/certs"]["g2"] = fresh.public_pem
    try:
        with pytest.raises(UnauthenticatedError):
            await tokens.email(fresh.sign(issuer.claims(ANN)))
        await clock.advance(PAUSE + 1)
        assert await tokens.email(fresh.sign(issuer.claims(ANN))) == ANN
        for number in range(20):
            with pytest.raises(UnauthenticatedError):
                await tokens.email(rsa_key_token(issuer, f"x{number}"))
        assert issuer.asked == ["/certs"] * 2
    finally:
        del issuer.published["/certs"]["g2"]


def rsa_key_token(issuer: Issuer, key_id: str) -> str:
    """A stranger's token that names a key."""
    STRANGER.id = key_id
    try:
        return STRANGER.sign(issuer.claims(ANN))
    finally:
        STRANGER.id = "g1"


async def test_known_keys_outlive_their_page(issuer: Issuer) -> None:
    """For a day; without any, nobody is told that a token was wrong."""
    clock = FakeClock()
    tokens = of_google(issuer, clock)
    issuer.away = True
    with pytest.raises(UnavailableError, match="can't be had"):
        await tokens.email(issuer.id_token(ANN))
    issuer.away = False
    await clock.advance(PAUSE + 1)
    assert await tokens.email(issuer.id_token(ANN)) == ANN
    issuer.away = True
    await clock.advance(30_000)
    assert await tokens.email(issuer.id_token(ANN)) == ANN
    await clock.advance(LONGEST)
    with pytest.raises(UnavailableError):
        await tokens.email(issuer.id_token(ANN))
