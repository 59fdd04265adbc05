import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from longcall.core.audience import AccessTokenWanted, IdTokenWanted
from longcall.outbound.clock import SystemClock
from longcall.outbound.google import Google
from longcall.outbound.minted import NoTokenError
from longcall.outbound.tokens import Tokens
from tests.outbound.issuers import OTHER, Iam, google_hosts, login, started

AUDIENCE = "https://train-abc-uc.a.run.app"
ID, OTHERS = IdTokenWanted(AUDIENCE), IdTokenWanted(AUDIENCE, OTHER)
ACCESS = AccessTokenWanted(("https://www.googleapis.com/auth/pubsub",))
KEY = {"type": "service_account", "client_email": OTHER, "private_key": "-----BEGIN PRIVATE KEY-----\nplanted\n", "private_key_id": "1"}
HOSTS = ["oauth2.googleapis.com", "sts.googleapis.com"]
NOW = SystemClock().now  # google-auth reads the machine's clock itself


class Endpoints:
    """Google's token endpoints: what was asked of them, and what they answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.status = 200
        self.answer: object = {"access_token": "ya29.own", "expires_in": 3599, "token_type": "Bearer"}
        self.delay = 0.0

    async def respond(self, request: web.Request) -> web.Response:
        """Answer."""
        self.asked.append((f"{request.host.partition(':')[0]}{request.path}", parse_qs(await request.text())))
        await asyncio.sleep(self.delay)
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
def endpoints() -> Endpoints:
    """Google's token endpoints."""
    return Endpoints()


@pytest.fixture
async def iam() -> AsyncIterator[Iam]:
    """IAM Credentials."""
    server = Iam(NOW)
    async with started(server):
        yield server


@asynccontextmanager
async def logged_in(folder: Path, endpoints: Endpoints, file: Path, iam: Iam, impersonate: str = "") -> AsyncIterator[Tokens]:
    """The tokens of a machine off Google Cloud with such a file."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(google_hosts(folder, endpoints.respond, HOSTS))
        environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}
        source = Google(session, NOW, environ, impersonate, f"http://{iam.host}", metadata_host="127.0.0.1:1")
        yield await stack.enter_async_context(Tokens.open(source, NOW, mint_limit=5))


async def refused(tokens: Tokens, wanted: IdTokenWanted | AccessTokenWanted = ID) -> str:
    """Everything it says; nothing that lies in the file, and no token."""
    with pytest.raises(NoTokenError) as raised:
        await tokens.bearer(wanted)
    trouble = raised.value.trouble
    text = f"{trouble.message} {trouble.hint}"
    assert not [secret for secret in ("planted", "refresh-me", "secret-of-client", "ya29") if secret in text + repr(raised.value)]
    return text


async def test_a_person_s_login_can_t_mint_id_tokens(tmp_path: Path, endpoints: Endpoints, iam: Iam) -> None:
    """It is said, with the way out; nobody is asked in vain."""
    async with logged_in(tmp_path, endpoints, login(tmp_path / "adc.json"), iam) as tokens:
        error = await refused(tokens)
    assert "can't mint ID tokens" in error
    assert "LONGCALL_IMPERSONATE" in error
    assert not endpoints.asked


@pytest.mark.parametrize("impersonate", [OTHER, ""])
async def test_a_person_s_login_impersonates(tmp_path: Path, endpoints: Endpoints, iam: Iam, impersonate: str) -> None:
    """By the setting, or by the task's own word; its own access token is asked for once."""
    async with logged_in(tmp_path, endpoints, login(tmp_path / "adc.json"), iam, impersonate) as tokens:
        assert await tokens.bearer(ID if impersonate else OTHERS) == iam.given[0]
        assert await tokens.bearer(IdTokenWanted("another", OTHER)) == iam.given[1]
    assert iam.bearers == {"ya29.own"}
    assert [where for where, _ in endpoints.asked] == ["oauth2.googleapis.com/token"]
    assert endpoints.asked[0][1]["refresh_token"] == ["1//refresh-me"]


async def test_a_person_s_login_has_access_tokens(tmp_path: Path, endpoints: Endpoints, iam: Iam) -> None:
    """Of its own, where no account is named."""
    async with logged_in(tmp_path, endpoints, login(tmp_path / "adc.json"), iam) as tokens:
        assert await tokens.bearer(ACCESS) == "ya29.own"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            {"error": "invalid_grant", "error_description": "Token has been expired or revoked. ya29.planted"},
            "gave no token: invalid_grant",
        ),
        ({"error": "invalid_client", "error_description": "x"}, "invalid_client"),
        ({"error": "ya29.planted"}, "gave no token "),
        ("ya29.planted", "gave no token "),
    ],
    ids=["ended", "client", "strange", "text"],
)
async def test_a_login_that_ended(tmp_path: Path, endpoints: Endpoints, iam: Iam, answer: object, says: str) -> None:
    """It is said what to do; what the endpoint answered is not repeated but for OAuth's own word."""
    endpoints.status, endpoints.answer = 400, answer
    async with logged_in(tmp_path, endpoints, login(tmp_path / "adc.json"), iam) as tokens:
        error = await refused(tokens, ACCESS)
    assert says in error
    assert "gcloud auth application-default login" in error


async def test_a_new_login_counts_at_once(tmp_path: Path, endpoints: Endpoints, iam: Iam) -> None:
    """The file is read for each mint: nobody restarts a runner because a login ended."""
    endpoints.status, endpoints.answer = 400, {"error": "invalid_grant"}
    file = login(tmp_path / "adc.json")
    async with logged_in(tmp_path, endpoints, file, iam) as tokens:
        await refused(tokens, ACCESS)
        endpoints.status, endpoints.answer = 200, {"access_token": "ya29.new", "expires_in": 3599}
        login(file, refresh_token="1//anew")  # noqa: S106 — no secret
        assert await tokens.bearer(ACCESS) == "ya29.new"
    assert endpoints.asked[-1][1]["refresh_token"] == ["1//anew"]


async def test_a_key_file_is_never_used(tmp_path: Path, endpoints: Endpoints, iam: Iam) -> None:
    """Neither for itself nor as the source of an impersonation, whatever is wanted."""
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{OTHER}:generateAccessToken"
    impersonated = {"type": "impersonated_service_account", "service_account_impersonation_url": url, "source_credentials": KEY}
    for content in (KEY, KEY | {"type": "gdch_service_account"}, impersonated):
        file = tmp_path / "key.json"
        file.write_text(json.dumps(content))
        async with logged_in(tmp_path, endpoints, file, iam, OTHER) as tokens:
            for wanted in (ID, ACCESS, OTHERS):
                error = await refused(tokens, wanted)
                assert "key file, which Longcall never uses" in error
                assert "LONGCALL_IMPERSONATE" in error
    assert not endpoints.asked
    assert not iam.asked


async def test_an_impersonation_that_gcloud_wrote(tmp_path: Path, endpoints: Endpoints, iam: Iam) -> None:
    """`gcloud auth application-default login --impersonate-service-account`: the account in the file speaks, ID tokens too."""
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{OTHER}:generateAccessToken"
    source = json.loads(login(tmp_path / "source.json").read_text())
    file = tmp_path / "adc.json"
    file.write_text(
        json.dumps({"type": "impersonated_service_account", "service_account_impersonation_url": url, "source_credentials": source})
    )
    async with logged_in(tmp_path, endpoints, file, iam) as tokens:
        assert await tokens.bearer(ID) == iam.given[0]
        assert await tokens.bearer(ACCESS) == iam.given[1]
    assert iam.asked == {"generateIdToken": 1, "generateAccessToken": 1}
    assert iam.bearers == {"ya29.own"}


@pytest.mark.parametrize("impersonating", [True, False])
async def test_workload_identity_federation(tmp_path: Path, endpoints: Endpoints, iam: Iam, *, impersonating: bool) -> None:
    """Another cloud's token for Google's, and that for an account's."""
    (tmp_path / "subject").write_text("token-of-another-cloud")
    content: dict[str, object] = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(tmp_path / "subject")},
    }
    if impersonating:
        root = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
        content["service_account_impersonation_url"] = f"{root}/{OTHER}:generateAccessToken"
    file = tmp_path / "adc.json"
    file.write_text(json.dumps(content))
    async with logged_in(tmp_path, endpoints, file, iam) as tokens:
        if impersonating:
            assert await tokens.bearer(ID) == iam.given[0]
            assert iam.bearers == {"ya29.own"}
        else:
            assert "workload identity federation can't mint ID tokens" in await refused(tokens)
            assert await tokens.bearer(ACCESS) == "ya29.own"
    where, asked = endpoints.asked[0]
    assert where == "sts.googleapis.com/v1/token"
    assert asked["subject_token"] == ["token-of-another-cloud"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "no JSON object"),
        ("[]", "no JSON object"),
        ("{}", "not as google-auth expects"),
        ('{"type": "authorized_user"}', "not as google-auth expects"),
        ('{"type": "impersonated_service_account"}', "not as google-auth expects"),
        ('{"type": "external_account"}', "not as google-auth expects"),
        ('{"type": "planted"}', "not as google-auth expects"),
    ],
)
async def test_a_spoilt_file_is_named(tmp_path: Path, endpoints: Endpoints, iam: Iam, content: str, says: str) -> None:
    """With where it lies."""
    file = tmp_path / "adc.json"
    file.write_text(content)
    async with logged_in(tmp_path, endpoints, file, iam) as tokens:
        error = await refused(tokens, ACCESS)
    assert says in error
    assert str(file) in error


async def test_a_file_that_is_not_there_is_named(tmp_path: Path, endpoints: Endpoints, iam: Iam) -> None:
    """GOOGLE_APPLICATION_CREDENTIALS leads nowhere: nobody else's credentials are taken instead."""
    async with logged_in(tmp_path, endpoints, tmp_path / "gone.json", iam) as tokens:
        assert "gone.json can't be read: No such file" in await refused(tokens, ACCESS)


async def test_gcloud_s_own_login_is_found(tmp_path: Path, endpoints: Endpoints, iam: Iam) -> None:
    """Where gcloud keeps it: CLOUDSDK_CONFIG, else under the home folder."""
    for environ, folder in (({"CLOUDSDK_CONFIG": str(tmp_path / "a")}, "a"), ({"HOME": str(tmp_path / "b")}, "b/.config/gcloud")):
        (tmp_path / folder).mkdir(parents=True)
        login(tmp_path / folder / "application_default_credentials.json")
        async with google_hosts(tmp_path, endpoints.respond, HOSTS) as session:
            source = Google(session, NOW, environ, iam_endpoint=f"http://{iam.host}", metadata_host="127.0.0.1:1")
            async with Tokens.open(source, NOW) as tokens:
                assert await tokens.bearer(ACCESS) == "ya29.own"


async def test_an_endpoint_that_does_not_answer_holds_nobody(tmp_path: Path, endpoints: Endpoints, iam: Iam) -> None:
    """google-auth works in a thread, and the mint's own limit strikes; the loop goes on meanwhile."""
    endpoints.delay = 30
    async with google_hosts(tmp_path, endpoints.respond, HOSTS) as session:
        source = Google(
            session, NOW, {"GOOGLE_APPLICATION_CREDENTIALS": str(login(tmp_path / "adc.json"))}, iam_endpoint=f"http://{iam.host}"
        )
        async with Tokens.open(source, NOW, mint_limit=0.3) as tokens:
            waiting = asyncio.create_task(refused(tokens, ACCESS))
            ticks = 0
            while not waiting.done():
                await asyncio.sleep(0.01)
                ticks += 1
            assert "within 0.3 s" in await waiting
            assert ticks > 10
