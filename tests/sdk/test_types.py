"""What a user's type checkers make of the SDK, in an environment of the user's own; and the snippet that the design promises, run."""

import asyncio
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import longcall
from tests.google import missing
from tests.sdk.service import Service
from tests.target import Line, Serve, Target

ROOT = Path(__file__).parent.parent.parent
Start = Callable[[Serve], Awaitable[Target]]
pytestmark = pytest.mark.timeout(180)  # pyright fetches itself at its first run

PROMISED = """\
from longcall import Longcall, RetryPolicy, TaskFailed, WaitTimeout

with Longcall() as longcall:                                    # LONGCALL_URL, LONGCALL_TOKEN
    task = longcall.submit("https://train-abc-uc.a.run.app/train", json={"epochs": 40}, id="train-2026-11-24",
                           attempt_timeout="45m", retry=RetryPolicy(max_attempts=2), callback="https://me.example/hook")
    try:
        print(task.wait(timeout="2h").response.json())          # waits through broken connections
    except WaitTimeout:
        print("still running:", task.id)                        # not cancelled
    except TaskFailed as error:                                 # TaskCancelled for CANCELLED
        print(error.failure.reason, error.failure.may_have_run)
"""

# With asyncio, with timedelta, and with everything else that both clients have.
MORE = """\
import asyncio
from datetime import UTC, datetime, timedelta

import longcall
from longcall import AsyncLongcall, Callback, Longcall, NewTask, NotAllSubmittedError, OidcToken, Task, webhooks


def tell(done: int, total: int) -> None:
    print(done, "of", total)


def both(client: Longcall) -> tuple[Task, ...]:
    for seen in client.submit("https://a.example", attempt_timeout=timedelta(minutes=45), schedule_time=datetime.now(UTC)).events():
        print(seen.state, seen.attempt_count, seen.failure and seen.failure.reason)
    requests: list[NewTask] = [{"url": "https://a.example", "json": {"fold": n}} for n in range(3)]
    try:
        return client.submit_many(requests, at_once=2, progress=tell)
    except NotAllSubmittedError as error:
        print([each.error for each in error.failed])
        return client.submit_many([each.request for each in error.failed])


async def awaited() -> bytes:
    async with AsyncLongcall("http://127.0.0.1:8080", token="t") as client:
        task = await client.submit("https://a.example", auth=OidcToken("a@b.example"), callback=Callback("https://a.example/hook"))
        async for seen in task.events():
            print(seen.ended)
        async for listed in client.list(state=["FAILED"], created_after="2026-11-24T08:00:00Z"):
            print(listed.id, await listed.retry())
        return await (await task.wait(timeout=timedelta(hours=2))).response.read()


def received(headers: dict[str, str], body: bytes) -> str:
    return webhooks.verify(headers, body, ["whsec_"]).task.state or longcall.webhooks.BadSignatureError.code


def wrong(client: Longcall) -> None:
    client.submit("https://a.example", attempt_timeout=45)  # EXPECT
    client.submit("https://a.example", colour="red")  # EXPECT
    client.submit_many([{"json": 1}])  # EXPECT
    client.get("a").answer  # EXPECT


asyncio.run(awaited())
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment that has Longcall, and nothing of this repository's settings."""
    folder = tmp_path_factory.mktemp("user")
    venv.create(folder / "env", with_pip=False)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    (packages / "longcall.pth").write_text(f"{Path(longcall.__file__).parents[1]}\n{sysconfig.get_paths()['purelib']}\n")
    (folder / "promised.py").write_text(PROMISED)
    (folder / "more.py").write_text(MORE)
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "reportUnusedExpression": "none", "exclude": ["env"]}')
    for page in ("README.md", "docs/sdk.md", "docs/quickstart.md"):
        snippets = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
        for number, snippet in enumerate(snippets):
            if "import grpc" not in snippet:  # Google's packages have no types of their own
                (folder / f"{Path(page).stem.lower()}_{number}.py").write_text(snippet)
    return folder


def run(user: Path, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a type checker of ours in the user's folder, with the user's python."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "MYPYPATH"}}  # noqa: TID251 — a child needs it
    environment["PATH"] = f"{user / 'env' / 'bin'}:{environment['PATH']}"
    return subprocess.run([sys.executable, "-m", tool, *arguments], cwd=user, env=environment, capture_output=True, text=True, check=False)


def pyright(user: Path, *arguments: str) -> dict[str, Any]:
    """What pyright reports. Where it can't be fetched a laptop skips, CI fails."""
    done = run(user, "pyright", "--outputjson", *arguments)
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        missing(f"pyright ({(done.stderr or done.stdout).strip()[-200:]})")


def wanted(*, lines: bool) -> set[tuple[str, int]]:
    """Where `more.py` is wrong on purpose."""
    return {("more.py", number) for number, line in enumerate(MORE.splitlines(), 1 if lines else 0) if "# EXPECT" in line}


def test_everything_public_has_a_type(user: Path) -> None:
    """Pyright knows the type of each symbol of the package without looking into its functions: completeness is 100 %."""
    report = pyright(user, "--verifytypes", "longcall", "--ignoreexternal")["typeCompleteness"]
    lacking = [each["name"] for each in report["symbols"] if each["isExported"] and not each["isTypeKnown"]]
    assert (lacking, report["completenessScore"]) == ([], 1)
    public = {each["name"] for each in report["symbols"]}
    assert {"longcall.sdk.client.Longcall.submit", "longcall.sdk.webhooks.verify", "longcall.testing.fakes.FakeClock"} <= public


def test_pyright_takes_what_is_promised_and_nothing_else(user: Path) -> None:
    """Strict: the promised snippet and those of the pages are right; a number as a duration, an unknown option, no url are wrong."""
    found = pyright(user, ".")["generalDiagnostics"]
    assert {(Path(each["file"]).name, each["range"]["start"]["line"]) for each in found} == wanted(lines=False), found


def test_mypy_takes_what_is_promised_and_nothing_else(user: Path) -> None:
    """Strict: the same; `py.typed` is there, or mypy would know nothing of the package."""
    files = sorted(each.name for each in user.glob("*.py"))
    cache = ("--cache-dir", str(user / "cache"))
    done = run(user, "mypy", "--strict", *cache, "--python-executable", str(user / "env" / "bin" / "python"), *files)
    found = {(file, int(line)) for file, line in re.findall(r"^(\S+?):(\d+): error", done.stdout, re.MULTILINE)}
    assert found == wanted(lines=True), done.stdout + done.stderr


async def hears(line: Line) -> None:
    """Take a training, and be told of its end; refuse what is to fail."""
    seen = await line.request()
    status = 404 if "missing" in seen.line else 200
    await line.answer(status, b'{"loss": 0.12}', "Content-Type: application/json")


@pytest.mark.parametrize(("path", "printed"), [("train", "{'loss': 0.12}\n"), ("missing", "status True\n")])
async def test_the_promised_snippet_does_what_it_says(serve: Start, up: Service, path: str, printed: str) -> None:
    """To the letter but for its addresses: the answer is printed, or the failure's reason and whether the target may have run."""
    target = await serve(hears)
    text = PROMISED.replace("https://train-abc-uc.a.run.app/train", f"{target.url}{path}")
    text = text.replace("https://me.example/", target.url).replace("train-2026-11-24", f"promised-{path}")
    environment = os.environ | {"LONGCALL_URL": up.api}  # noqa: TID251 — a child needs it
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", text), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (out.decode(), err.decode()) == (printed, "")
