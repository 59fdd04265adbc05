"""A runner that can be reached from everywhere, and those who call it."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from longcall import AsyncLongcall, PermissionDeniedError, UnauthenticatedError
from tests.end_to_end.fleet import fleet
from tests.end_to_end.program import environment
from tests.target import Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]
EVERYWHERE = "0.0.0.0"  # noqa: S104 — what this is about


async def longcall(*arguments: str, **settings: str) -> tuple[int, str, str]:
    """Run a command: its exit code, and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "longcall", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment() | {f"LONGCALL_{name}": value for name, value in settings.items()},
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.parametrize(("settings", "says"), [({}, "LONGCALL_AUTH is not set"), ({"AUTH": "none"}, "LONGCALL_AUTH is none")])
async def test_nobody_listens_to_everybody_unasked(settings: dict[str, str], says: str) -> None:
    """A usage error, in one sentence that says what to set."""
    code, _, err = await longcall("runner", "--host", EVERYWHERE, "--port", "0", **settings)
    assert (code, says in err, "token or google" in err, err.count("\n")) == (2, True, True, 1)


async def test_auth_without_what_it_needs_does_not_start() -> None:
    """One sentence."""
    code, _, err = await longcall("runner", "--host", EVERYWHERE, "--port", "0", AUTH="token")
    assert (code, "LONGCALL_TOKENS names none" in err, err.count("\n")) == (3, True, 1)


async def test_tokens_from_keygen_to_the_last_answer(serve: Start, tmp_path: Path) -> None:
    """Made by a command, set at the runner, shown by command line and SDK: write may submit, read may look, nobody else anything."""
    made = {name: json.loads((await longcall("keygen", "--token", name, "--json"))[1]) for name in ("ops", "ci:read")}
    write, read = made["ops"]["token"], made["ci:read"]["token"]
    target = await serve(well_behaved)
    async with fleet(tmp_path) as parts:
        entries = ",".join(each["entry"] for each in made.values())
        runner = await parts.runner("--host", EVERYWHERE, AUTH="token", TOKENS=entries)
        url = f"http://127.0.0.1:{runner.ready['api'].rpartition(':')[2]}"
        submit = ("submit", target.url, "--id", "train", "--wait", "--url", url)

        assert (await longcall(*submit, TOKEN=write))[:2] == (0, "ok")
        assert (await longcall("status", "train", "--url", url, TOKEN=read))[0] == 0
        assert (await longcall("status", "train", "--url", url, "--token", read))[0] == 0
        for token, says in (("", "give --token, or set LONGCALL_TOKEN"), ("wrong", "not known here"), (read, "may only read")):
            code, out, err = await longcall(*submit, TOKEN=token)
            assert (code, out, says in err, err.count("\n")) == (3, "", True, 1), err
            assert not token or token not in err

        async with AsyncLongcall(url, write) as client:
            assert (await (await client.submit(target.url, id="train-2")).wait(timeout="20s")).state == "SUCCEEDED"
        async with AsyncLongcall(url, read) as client:
            assert (await client.get("train-2")).state == "SUCCEEDED"
            with pytest.raises(PermissionDeniedError, match="may only read"):
                await client.cancel("train-2")
        async with AsyncLongcall(url, "wrong") as client:
            with pytest.raises(UnauthenticatedError, match="wants a token"):
                await client.get("train-2")
    assert len(target.seen) == 2
    log = (tmp_path / "runner.log").read_text()
    assert not any(token in log for token in (write, read))
