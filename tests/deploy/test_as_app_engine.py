"""What deploy.sh uploads, started as App Engine starts it: the entrypoint of app.yaml, in that folder, with App Engine's environment."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from longcall.core.access import Caller, Right, Token, digest, token_text
from longcall.core.signing import secret_of
from tests.conftest import IN_CI
from tests.deploy.project import PROJECT, ROOT, Project
from tests.end_to_end.program import environment, up
from tests.firestore import emulator, new_project
from tests.google import free_port
from tests.target import Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]
CALLS = f"projects/{PROJECT}/locations/us-central1/queues/longcall"
INDEX_OUT_OF_REACH = ("NewConnectionError", "Could not fetch", "No matching distribution")
OPERATOR = "longcall_of-the-test"
# What stands in for Google: its queue, its bucket and Secret Manager; Firestore is its own emulator.
INSTEAD = {
    "TOKENS": token_text(Token(Caller("test", Right.WRITE), digest(OPERATOR))),
    "WEBHOOK_SECRETS": secret_of(b"S" * 32),
    "ALLOW_PRIVATE_TARGETS": "true",
}
DISPATCH = {
    "Content-Type": "application/json",
    "User-Agent": "AppEngine-Google; (+http://code.google.com/appengine)",
    "X-AppEngine-QueueName": "longcall",
    "X-AppEngine-TaskName": "by-hand",
    "X-AppEngine-TaskRetryCount": "0",
    "X-AppEngine-TaskExecutionCount": "0",
    "X-AppEngine-TaskETA": "1796112000.0",
}


@pytest.fixture
def staged(set_up: Project, tmp_path: Path) -> Path:
    """The folder that is uploaded, with the whole source in it."""
    source = set_up.folder / "checkout" / "src"
    shutil.copytree(ROOT / "src", source, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    done = set_up.run("deploy.sh", "--stage", str(tmp_path / "staged"))
    assert done.returncode == 0, done.stderr
    (tmp_path / "data").mkdir()
    return tmp_path / "staged"


def newest() -> str:
    """Python 3.13 where it is, else the one that runs the tests."""
    found = shutil.which("python3.13") or sys.executable
    works = subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0
    return found if works else sys.executable


def app_engine(folder: Path, port: int, google: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command and the variables of an instance: those of app.yaml, App Engine's own, and what stands in for Google."""
    text = (folder / "app.yaml").read_text()
    found = re.search(r"(?m)^entrypoint: (.*)$", text)
    assert found is not None
    command = shlex.split(found[1].replace("$PORT", str(port)).replace("0.0.0.0", "127.0.0.1"))  # noqa: S104 — of app.yaml, taken out here
    variables = dict(re.findall(r'(?m)^  ([A-Z_]+): "(.*)"$', text.partition("env_variables:")[2]))
    own = {
        "GAE_ENV": "standard",
        "GAE_INSTANCE": "instance-1",
        "GAE_SERVICE": "default",
        "GAE_VERSION": "v1",
        "GAE_MEMORY_MB": "768",
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "PORT": str(port),
    }
    base = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    return command, base | variables | {f"LONGCALL_{name}": value for name, value in INSTEAD.items()} | own | dict(google)


@asynccontextmanager
async def instance(python: Path, folder: Path, data: Path, google: Mapping[str, str]) -> AsyncIterator[str]:
    """Start it in the uploaded folder, and wait until App Engine would serve: /_ah/start is answered 200."""
    port = free_port()
    command, variables = app_engine(folder, port, google)
    assert command[0] == "python"
    log = data / "instance.log"
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(str(python), *command[1:], cwd=folder, stdout=said, stderr=said, env=variables)
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as http:
            while True:
                assert process.returncode is None, f"it did not start; {log} says why"
                try:
                    async with http.get(f"{url}/_ah/start") as started:
                        assert started.status == 200
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        yield url
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 5) == 0, f"it did not stop well; {log} says why"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def google(data: Path) -> AsyncIterator[dict[str, str]]:
    """Firestore's emulator, and a server of Cloud Tasks with the two queues that setup-env.sh makes: where an instance finds them."""
    store = await asyncio.to_thread(emulator)
    async with up(data / "queue") as beside, aiohttp.ClientSession() as http:
        for name in (CALLS, f"{CALLS}-control"):
            async with http.post(f"{beside.rest}/v2/{CALLS.rpartition('/queues/')[0]}/queues", json={"name": name}) as made:
                assert made.status == 200, await made.text()
        yield {
            "FIRESTORE_EMULATOR_HOST": store,
            "LONGCALL_STORE": f"firestore://{new_project()}/longcall",
            "LONGCALL_QUEUE_ENDPOINT": beside.rest,
            "LONGCALL_BODIES": (data / "bodies").as_uri(),
        }


async def makes_a_call(python: Path, folder: Path, target: Target, data: Path) -> None:
    """An instance is ready, and a task put on the queue by hand is called by the dispatch that App Engine makes of it; others stay out."""
    async with google(data) as where, instance(python, folder, data, where) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/readyz") as ready:
            assert ready.status == 200, await ready.text()
        asked = {"httpRequest": {"url": target.url}}
        async with http.post(f"{url}/dispatch", json=asked, headers=DISPATCH) as dispatched:
            assert (dispatched.status, (await dispatched.json())["state"]) == (200, "SUCCEEDED"), await dispatched.text()
        async with http.post(f"{url}/dispatch", json=asked) as outside, http.get(f"{url}/v1/tasks/by-hand") as unknown:
            assert (outside.status, unknown.status) == (403, 401)
        async with http.get(f"{url}/v1/tasks/by-hand", headers={"Authorization": f"Bearer {OPERATOR}"}) as read:
            assert (await read.json())["queue"] == CALLS


async def test_the_upload_runs(serve: Start, staged: Path, tmp_path: Path) -> None:
    """From the uploaded source, with the parts that are installed here."""
    await makes_a_call(Path(sys.executable), staged, await serve(well_behaved), tmp_path / "data")


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_upload_runs_with_the_lock_alone(serve: Start, staged: Path, tmp_path: Path) -> None:
    """In an empty environment that pip fills from the uploaded requirements.txt, as App Engine does; on Python 3.13 where it is there."""
    fresh = tmp_path / "fresh"
    await asyncio.to_thread(subprocess.run, [newest(), "-m", "venv", str(fresh)], check=True)
    installing = await asyncio.create_subprocess_exec(
        *(str(fresh / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", "requirements.txt"),
        cwd=staged,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},  # noqa: TID251 — a child needs it
    )
    out, _ = await installing.communicate()
    if installing.returncode and not IN_CI and any(sign in out.decode() for sign in INDEX_OUT_OF_REACH):
        pytest.skip("no package index in reach")
    assert installing.returncode == 0, out.decode()[-2000:]
    await makes_a_call(fresh / "bin" / "python", staged, await serve(well_behaved), tmp_path / "data")
