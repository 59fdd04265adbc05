"""A whole run with secrets planted everywhere they can be: none of them is in anything that is written or answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from longcall.core.access import digest
from longcall.core.signing import secret_of
from tests.end_to_end.fleet import fleet
from tests.end_to_end.test_up import Start
from tests.target import Line

TOKEN, QUEUE_SECRET = "planted-api-token", "planted-queue-secret"
HOOK_SECRET = secret_of(b"planted-webhook-secret-planted-")
GIVEN = {
    "Authorization": "Bearer planted-authorization",
    "Cookie": "session=planted-cookie",
    "X-Api-Key": "planted-key",
    "Proxy-Authorization": "Basic planted-proxy",
}
EMAIL = "caller@p.iam.gserviceaccount.com"


async def _everything(http: aiohttp.ClientSession, task_ids: list[str]) -> AsyncIterator[str]:
    """Whatever the API answers about these tasks, problems and schemas too, heads and bodies."""
    paths = ["/v1/tasks?pageSize=500", "/v1/tasks?kind=callback", "/openapi.json", "/readyz", "/healthz", "/v1/tasks/nobody", "/login"]
    for task_id in task_ids:
        paths += [f"/v1/tasks/{task_id}", f"/v1/tasks/{task_id}/response"]
    for path in paths:
        async with http.get(path) as answer:
            yield f"{path} {answer.headers} {await answer.text(errors='replace')}"
    for body in ("{", '{"httpRequest": {"url": "https://planted-user:planted-password@example.com/"}}', json.dumps({"planted": "x"})):
        async with http.post("/v1/tasks", data=body, headers={"Content-Type": "application/json"}) as answer:
            yield (await answer.text()).replace("planted-user", "").replace('"/planted"', "").replace("no field planted", "")


@pytest.mark.timeout(120)
async def test_what_is_secret_is_told_to_nobody(serve: Start, tmp_path: Path) -> None:
    """Tokens, secrets and credentials of good, failing, broken, unreadable and forbidden tasks, of callbacks and of strangers who try.

    Their targets got them intact; logs, reads, lists, callbacks' bodies, problems and the database's own reading show none.
    """

    async def odd(line: Line) -> None:
        seen = await line.request()
        if "broken" in seen.line:
            line.reset()
        else:
            await line.answer(500 if "failing" in seen.line else 200, b"ok", "Connection: close")

    target = await serve(odd)
    base = target.url.removesuffix("/train")
    settings = {
        "AUTH": "token",
        "TOKENS": f"me:write:{digest(TOKEN)}",
        "WEBHOOK_SECRETS": HOOK_SECRET,
        "QUEUE_SECRET": QUEUE_SECRET,
        "REDACT_HEADERS": "X-Api-Key,Proxy-Authorization",
    }
    said: list[str] = []
    async with fleet(tmp_path, secret=QUEUE_SECRET) as parts:
        runner = await parts.runner(**settings)
        async with aiohttp.ClientSession(runner.ready["api"], headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            names = ["good", "failing", "broken", "forbidden", "minted"]
            for name in names:
                url = "http://169.254.169.254/planted" if name == "forbidden" else f"{base}/{name}"
                request: dict[str, object] = {"url": url, "headers": GIVEN}
                if name == "minted":
                    request["oidcToken"] = {"serviceAccountEmail": EMAIL}
                    request["headers"] = {}
                hook = {"url": f"{base}/hook", "headers": {"Authorization": "Bearer planted-hook-authorization"}}
                body = {"id": name, "httpRequest": request, "callback": hook, "retry": {"maxAttempts": 1}}
                async with http.post("/v1/tasks", json=body) as answer:
                    said.append(await answer.text())
            for name in [each for each in names if each != "forbidden"]:
                async with http.get(f"/v1/tasks/{name}?wait=20s") as answer:
                    said.append(await answer.text())
            await asyncio.sleep(1)  # for the callbacks
            said += [text async for text in _everything(http, [*names, *(f"{name}.callback-3" for name in names)])]
        async with aiohttp.ClientSession(runner.ready["api"], headers={"Authorization": "Bearer planted-stranger"}) as http:
            said += [text async for text in _everything(http, ["good"])]
        await runner.stop()
    said += [seen.body.decode() for seen in target.seen]
    said += [log.read_text() for log in tmp_path.glob("*.log")]  # noqa: ASYNC240 — at the end, when nothing runs
    got = [seen.headers for seen in target.seen if "/good" in seen.line]
    assert (got[0]["authorization"], got[0]["x-api-key"], got[0]["cookie"]) == tuple(
        GIVEN[name] for name in ("Authorization", "X-Api-Key", "Cookie")
    )
    hooks = [seen.headers for seen in target.seen if "/hook" in seen.line]
    assert hooks
    assert {each["authorization"] for each in hooks} == {"Bearer planted-hook-authorization"}
    everything = "\n".join(said)
    assert len(everything) > 20_000
    secrets = [TOKEN, QUEUE_SECRET, HOOK_SECRET, "planted-webhook", "planted-password", "planted-stranger", "planted-hook-authorization"]
    secrets += [value.split()[-1].split("=")[-1] for value in GIVEN.values()]
    assert [secret for secret in secrets if secret in everything] == []
