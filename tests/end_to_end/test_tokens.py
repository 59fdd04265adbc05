from collections.abc import Awaitable, Callable
from pathlib import Path

import google.auth.transport.requests
import pytest
from google.oauth2 import id_token

from tests.end_to_end.program import up
from tests.end_to_end.test_up import ask
from tests.target import Line, Serve, Target

EMAIL = "caller@my-project.iam.gserviceaccount.com"


async def test_a_target_verifies_the_token_it_got(serve: Callable[[Serve], Awaitable[Target]], tmp_path: Path) -> None:
    """Under `up` a target looks up the issuer's keys and verifies with google-auth; a 401 brings one more try with a fresh token.

    Both requests are one attempt of the task.
    """
    statuses = iter((401, 200))

    async def strict(line: Line) -> None:
        while not line.reader.at_eof():
            await line.request()
            await line.answer(next(statuses, 200))

    target = await serve(strict)
    async with up(tmp_path / "data") as running:
        request = {"url": target.url, "oidcToken": {"serviceAccountEmail": EMAIL, "audience": "mine"}}
        await ask("POST", f"{running.api}/v1/tasks", {"id": "train", "httpRequest": request})
        task = await ask("GET", f"{running.api}/v1/tasks/train?wait=20s")
        assert (task["state"], task["attemptCount"]) == ("SUCCEEDED", 1), task
        first, second = (seen.headers["authorization"].removeprefix("Bearer ") for seen in target.seen)
        configuration = await ask("GET", f"{running.rest}/.well-known/openid-configuration")
        certs = configuration["jwks_uri"]
        claims = id_token.verify_token(second, google.auth.transport.requests.Request(), audience="mine", certs_url=certs)
    assert (claims["email"], claims["aud"], claims["iss"]) == (EMAIL, "mine", configuration["issuer"])
    said = (tmp_path / "up.log").read_text()
    assert not any(token in said or token in str(task) for token in (first, second))


@pytest.mark.parametrize("auth", [{"oauthToken": {"serviceAccountEmail": EMAIL}}, {"auth": "none"}], ids=["access token", "none"])
async def test_what_is_asked_for_is_what_is_sent(
    serve: Callable[[Serve], Awaitable[Target]], tmp_path: Path, auth: dict[str, object]
) -> None:
    """An access token of the laptop's own issuer is none of Google's, and is refused rather than sent; without a token there is none."""

    async def fine(line: Line) -> None:
        await line.request()
        await line.answer()

    target = await serve(fine)
    async with up(tmp_path / "data") as running:
        body = {"id": "train", "httpRequest": {"url": target.url, **auth}, "retry": {"maxAttempts": 1}}
        await ask("POST", f"{running.api}/v1/tasks", body)
        task = await ask("GET", f"{running.api}/v1/tasks/train?wait=20s")
    if "auth" in auth:
        assert task["state"] == "SUCCEEDED"
        assert "authorization" not in target.seen[0].headers
    else:
        assert (task["state"], task["attempts"][0]["error"]["code"]) == ("FAILED", "NO_TOKEN")
        assert target.seen == []
