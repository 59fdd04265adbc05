"""The receivers that are shown, told by a whole Longcall; and our signatures, checked by the standard's own libraries."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import standardwebhooks

from longcall import webhooks
from longcall.core import signing
from tests.end_to_end.program import up
from tests.end_to_end.test_up import Start, ask
from tests.examples.conftest import started
from tests.google import missing
from tests.target import well_behaved

OLD, NEW = (signing.secret_of(bytes([letter]) * 32) for letter in b"ON")
BODY = '{"type": "task.failed", "note": "Zürich"}'.encode()


def signed(*secrets: str, ago: float = 0, body: bytes = BODY) -> dict[str, str]:
    """The headers that Longcall sends, so many minutes ago."""
    now = datetime.now(UTC)  # noqa: TID251 — the libraries look at the clock
    return signing.headers(secrets, "train.callback-3", now - timedelta(minutes=ago), body)


BAD: dict[str, Callable[[], dict[str, str]]] = {
    "another secret": lambda: signed(OLD),
    "another body": lambda: signed(NEW, body=BODY + b" "),
    "old": lambda: signed(NEW, ago=6),
    "from the future": lambda: signed(NEW, ago=-6),
}


RECEIVERS = {
    "django": ("uvicorn", "receiver_django:app"),
    "fastapi": ("uvicorn", "receiver_fastapi:app"),
    "flask": ("flask", "--app", "receiver_flask", "run"),
}


@pytest.mark.parametrize("command", RECEIVERS.values(), ids=RECEIVERS)
async def test_a_receiver_is_told(serve: Start, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Submit, end, callback: the example has verified and acted on it; what is signed by nobody gets 401."""
    target = await serve(well_behaved)
    log = tmp_path / "receiver.log"
    async with (
        started(log, *command, WEBHOOK_SECRET=NEW, PYTHONUNBUFFERED="1") as receiver,
        up(tmp_path / "data", WEBHOOK_SECRETS=json.dumps({"default": [OLD, NEW]})) as running,
    ):
        hook = f"{receiver}/hook"
        await ask("POST", f"{running.api}/v1/tasks", {"id": "train", "httpRequest": {"url": target.url}, "callback": {"url": hook}})
        task = await ask("GET", f"{running.api}/v1/tasks/train.callback-3?wait=20s")
        async with aiohttp.ClientSession() as http, http.post(hook, data=BODY) as answer:
            assert answer.status == 401
    assert (task["state"], task["response"]["json"]) == ("SUCCEEDED", {"seen": "train.callback-3"})
    assert "task.succeeded train SUCCEEDED" in log.read_text()


async def test_a_target_sees_what_it_needs(tmp_path: Path) -> None:
    """The example of a target: it answers, it knows the task, and a second attempt of the same work is not done again."""
    log = tmp_path / "target.log"
    async with started(log, "uvicorn", "target:app", PYTHONUNBUFFERED="1") as target, up(tmp_path / "data") as running:
        await ask("POST", f"{running.api}/v1/tasks", {"id": "train", "httpRequest": {"url": f"{target}/train"}})
        task = await ask("GET", f"{running.api}/v1/tasks/train?wait=20s")
        headers = {
            "Idempotency-Key": '"train"',
            "Longcall-Task": "train",
            "Longcall-Attempt": "2",
            "Longcall-Previous": "disconnected",
            "Longcall-Deadline": "2100-01-01T00:00:00Z",
            "traceparent": "00-x",
        }
        async with aiohttp.ClientSession() as http, http.post(f"{target}/train", headers=headers) as answer:
            again = await answer.json()
    assert task["response"]["json"] == {"loss": 0.12, "again": False}
    assert again == {"loss": 0.12, "again": True}
    assert f"task train, attempt 1, trace {task['trace']}: done" in log.read_text()


@pytest.mark.parametrize("secrets", [(NEW,), (OLD, NEW), (NEW, OLD)])
def test_the_standard_s_own_library_takes_ours(secrets: tuple[str, ...]) -> None:
    """PyPI standardwebhooks verifies what Longcall signs, also while a secret is being changed."""
    assert standardwebhooks.Webhook(NEW).verify(BODY.decode(), signed(*secrets)) == json.loads(BODY)


@pytest.mark.parametrize("what", BAD)
def test_what_it_refuses_we_refuse(what: str) -> None:
    """A wrong secret, a changed body, an old and a coming time: neither takes it."""
    headers = BAD[what]()
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(NEW).verify(BODY.decode(), headers)
    with pytest.raises(webhooks.BadSignatureError):
        webhooks.verify(headers, BODY, NEW)


SCRIPT = """
const { Webhook } = require("standardwebhooks");
const { secret, body, all } = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(all.map(headers => {
  try { new Webhook(secret).verify(body, headers); return true; } catch (error) { return false; }
})));
"""


@pytest.mark.timeout(120)
async def test_node_takes_ours_too(tmp_path: Path) -> None:
    """Npm standardwebhooks in node: the good ones and none of the bad."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        missing("node, or npm")
    install = await asyncio.create_subprocess_exec(
        *("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "standardwebhooks@1"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"npm_config_cache": str(tmp_path / "cache")},  # noqa: TID251 — a child needs it
    )
    said, _ = await install.communicate()
    if install.returncode:
        missing(f"npm's standardwebhooks ({said.decode()[-200:]})")
    everything = [signed(NEW), signed(OLD, NEW), *(each() for each in BAD.values())]
    node = await asyncio.create_subprocess_exec(
        *("node", "-e", SCRIPT), cwd=tmp_path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    asked = json.dumps({"secret": NEW, "body": BODY.decode(), "all": everything}).encode()
    out, _ = await node.communicate(asked)
    assert json.loads(out) == [True, True, False, False, False, False]
