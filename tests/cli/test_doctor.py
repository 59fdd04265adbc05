"""`longcall doctor` against real queues, stores and targets, whole and broken."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cli.conftest import Ended, Run
from tests.end_to_end.fleet import part
from tests.outbound.issuers import Metadata, started
from tests.postgres import PASSWORD, Postgres
from tests.sdk.service import Service
from tests.target import Line, Serve, Target

LOCATION = "projects/longcall/locations/local/queues"
NOWHERE = "http://127.0.0.1:9"
SECRET = "a-secret-that-nobody-sees"  # noqa: S105 — a test's
Start = Callable[[Serve], Awaitable[Target]]


@asynccontextmanager
async def _queue(folder: Path) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """A queue of the test's own: its address, and a client for it."""
    async with (
        part(folder / "queue.log", "queue", "--grpc-port", "0", "--rest-port", "0", "--memory") as queue,
        aiohttp.ClientSession() as http,
    ):
        yield queue.ready["rest"], http


def _found(ended: Ended) -> dict[str, dict[str, str]]:
    assert ended.err == ""
    return {each["name"]: each for each in json.loads(ended.out)["checks"]}


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _levels(ended: Ended) -> dict[str, str]:
    return {name: each["level"] for name, each in _found(ended).items()}


def _settings(folder: Path, rest: str, **more: str) -> dict[str, str]:
    known = {"STORE": f"sqlite:///{folder / 'longcall.db'}", "BODIES": (folder / "bodies").as_uri(), "QUEUE_ENDPOINT": rest}
    return {f"LONGCALL_{name}": value for name, value in (known | more).items()}


async def test_all_is_well(longcall: Run, up: Service) -> None:
    """Against what `up` runs on, every check is fine, in words and in JSON, and no secret is shown."""
    environ = _settings(up.data, up.rest, QUEUE_SECRET=SECRET)
    ended = await longcall("doctor", "--json", **environ)
    assert ended.code == 0
    assert json.loads(ended.out)["ok"] is True
    assert set(_levels(ended).values()) == {"ok"}
    assert {each["whose"] for each in json.loads(ended.out)["budget"]} == {"queue", "host", "policy"}
    plain = await longcall("doctor", **environ)
    assert (plain.code, plain.err) == (0, "")
    assert "ok   store                 SQLite file" in plain.out
    assert "LONGCALL_QUEUE_SECRET" in plain.out
    assert "\x1b" not in plain.out
    assert SECRET not in ended.out + plain.out


async def test_nothing_is_changed(longcall: Run, tmp_path: Path) -> None:
    """What is not there yet is said to be made by the first start, and is not made by looking."""
    ended = await longcall("doctor", "--json", **_settings(tmp_path, NOWHERE))
    assert (_levels(ended)["store"], _levels(ended)["bodies"]) == ("warn", "warn")
    assert _inside(tmp_path) == []


async def test_nothing_listens_at_the_queue(longcall: Run, tmp_path: Path) -> None:
    """Both queues are bad, the exit code is 3, and what to do is said."""
    ended = await longcall("doctor", **_settings(tmp_path, NOWHERE))
    assert (ended.code, ended.err) == (3, "")
    assert ended.out.count(f"the queue at {NOWHERE} does not answer") == 2
    assert "do: see LONGCALL_QUEUE_ENDPOINT" in ended.out


async def test_paused_queues(longcall: Run, tmp_path: Path) -> None:
    """Pausing the calls is the operator's right and a warning; nobody pauses the control queue."""
    async with _queue(tmp_path) as (rest, http):
        await http.post(f"{rest}/v2/{LOCATION}/default:pause")
        ended = await longcall("doctor", "--json", **_settings(tmp_path, rest))
        assert (ended.code, _levels(ended)["queue"], _levels(ended)["control queue"]) == (0, "warn", "ok")
        await http.post(f"{rest}/v2/{LOCATION}/control:pause")
        ended = await longcall("doctor", "--json", **_settings(tmp_path, rest))
        assert (ended.code, _levels(ended)["control queue"]) == (3, "bad")
        assert _found(ended)["control queue"]["todo"] == "gcloud tasks queues resume control --project=longcall --location=local"


async def test_drifted_queues(longcall: Run, tmp_path: Path) -> None:
    """Attempts or time that run out lose tasks; another backoff, or less room than was given, is a warning. Doctor mends neither."""
    limits = {"retryConfig": {"maxAttempts": 3, "maxRetryDuration": "60s"}}
    slower = {"retryConfig": {"maxBackoff": "3600s"}, "rateLimits": {"maxConcurrentDispatches": 5, "maxDispatchesPerSecond": 500}}
    async with _queue(tmp_path) as (rest, http):
        mask = "retryConfig.maxAttempts,retryConfig.maxRetryDuration"
        (await http.patch(f"{rest}/v2/{LOCATION}/control?updateMask={mask}", json=limits)).raise_for_status()
        mask = "retryConfig.maxBackoff,rateLimits.maxConcurrentDispatches,rateLimits.maxDispatchesPerSecond"
        (await http.patch(f"{rest}/v2/{LOCATION}/default?updateMask={mask}", json=slower)).raise_for_status()
        ended = await longcall("doctor", "--json", **_settings(tmp_path, rest, HOLD_SLOTS="8"))
        shown = await (await http.get(f"{rest}/v2/{LOCATION}/control")).json()
    found = _found(ended)
    assert ended.code == 3
    control, calls, rates = found["control queue retries"], found["queue retries"], found["queue rates"]
    assert (control["level"], calls["level"], rates["level"]) == ("bad", "warn", "warn")
    assert control["says"].startswith(
        "maxAttempts is 3, and -1 (unlimited) is right; maxRetryDuration is 60s, and none is right; the queue may"
    )
    assert "--max-attempts=unlimited" in control["todo"]
    assert calls["says"] == "maxBackoff is 3600s, and 30s is right"
    assert "fewer than the 8 calls" in rates["says"]
    assert shown["retryConfig"]["maxAttempts"] == 3


async def test_a_queue_that_is_not_there(longcall: Run, tmp_path: Path) -> None:
    """A server without that queue is told from no server."""
    async with _queue(tmp_path) as (rest, _):
        ended = await longcall("doctor", "--json", **_settings(tmp_path, rest, QUEUE=f"{LOCATION}/other"))
    assert (ended.code, _found(ended)["queue"]["says"]) == (3, f"{LOCATION}/other is not at {rest}")
    assert _levels(ended)["control queue"] == "ok"


async def test_a_queue_that_is_none(longcall: Run, serve: Start, tmp_path: Path) -> None:
    """Whatever answers there that is no queue is said to be none."""

    async def other(line: Line) -> None:
        await line.request()
        await line.answer(200, b"<html>")

    target = await serve(other)
    ended = await longcall("doctor", "--json", **_settings(tmp_path, f"http://127.0.0.1:{target.port}"))
    assert ended.code == 3
    assert "is no queue" in _found(ended)["queue"]["says"]


@pytest.mark.parametrize(("behind", "level"), [(0, "ok"), (3600, "warn")])
async def test_the_clock(longcall: Run, serve: Start, tmp_path: Path, behind: int, level: str) -> None:
    """A queue's `Date` that is far from this machine's time is a warning that says how far."""
    retries: dict[str, Any] = {"maxAttempts": -1, "minBackoff": "1s", "maxBackoff": "30s", "maxDoublings": 5}
    shown = json.dumps({"state": "RUNNING", "retryConfig": retries}).encode()

    async def queue(line: Line) -> None:
        await line.request()
        there = datetime.now(UTC) - timedelta(seconds=behind)  # noqa: TID251 — the machine's own clock is what is compared
        await line.answer(200, shown, f"Date: {format_datetime(there, usegmt=True)}")

    target = await serve(queue)
    clock = _found(await longcall("doctor", "--json", **_settings(tmp_path, f"http://127.0.0.1:{target.port}")))["clock"]
    assert clock["level"] == level
    assert ("ahead of the queue's" in clock["says"]) == (level == "warn")


async def test_a_store_out_of_reach(longcall: Run, tmp_path: Path) -> None:
    """It is bad, and the URL's password is not shown."""
    store = f"postgresql://longcall:{SECRET}@127.0.0.1:9/longcall"
    for form in ((), ("--json",)):
        ended = await longcall("doctor", *form, **_settings(tmp_path, NOWHERE, STORE=store))
        assert ended.code == 3
        assert "PostgreSQL at 127.0.0.1:9/longcall" in ended.out
        assert SECRET not in ended.out + ended.err


async def test_a_server_that_is_behind(longcall: Run, postgres: Postgres, tmp_path: Path) -> None:
    """An empty database is bad, with the command that mends it, and stays empty; one that is up to date is fine."""
    async with postgres.database("template1") as url:
        found = _found(await longcall("doctor", "--json", **_settings(tmp_path, NOWHERE, STORE=url)))["store"]
        assert (found["level"], "run `longcall migrate`" in found["says"]) == ("bad", True)
        assert await postgres.do("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", url=url) == []
    async with postgres.database() as url:
        ended = await longcall("doctor", "--json", **_settings(tmp_path, NOWHERE, STORE=url))
        assert (_levels(ended)["store"], PASSWORD in ended.out) == ("ok", False)


async def test_a_newer_file(longcall: Run, tmp_path: Path) -> None:
    """A schema of a newer release is bad, and is left as it is; a file that is no database is bad too."""
    path = tmp_path / "longcall.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
    before = path.read_bytes()
    found = _found(await longcall("doctor", "--json", **_settings(tmp_path, NOWHERE)))["store"]
    assert (found["level"], found["todo"]) == ("bad", "run a newer release")
    assert path.read_bytes() == before
    path.write_bytes(b"no database" * 1000)
    found = _found(await longcall("doctor", "--json", **_settings(tmp_path, NOWHERE)))["store"]
    assert (found["level"], "not a database" in found["says"]) == ("bad", True)


async def test_a_wrong_setting(longcall: Run, tmp_path: Path) -> None:
    """It is a finding, in JSON where that was asked for, and a secret that is wrong is not shown."""
    ended = await longcall("doctor", "--json", **_settings(tmp_path, NOWHERE, TOKENS=SECRET))
    assert (ended.code, _levels(ended)) == (3, {"settings": "bad"})
    assert "LONGCALL_TOKENS is not right" in ended.out
    assert SECRET not in ended.out


async def test_a_host_that_ends_calls(longcall: Run, up: Service) -> None:
    """On Cloud Run its limit comes first, which is a warning, and detached calls outlive it."""
    for when_full, level in (("refuse", "warn"), ("detach", "ok")):
        ended = await longcall("doctor", "--json", **_settings(up.data, up.rest, WHEN_FULL=when_full), K_SERVICE="longcall")
        assert (ended.code, _levels(ended)["limits"]) == (0, level)


async def test_tokens(longcall: Run, tmp_path: Path) -> None:
    """On Google Cloud a token is minted, and not shown; without a service account it is said what is missing."""
    server = Metadata(lambda: datetime.now(UTC))  # noqa: TID251 — the command goes by the machine's own clock
    async with started(server):
        ended = await longcall("doctor", "--json", **_settings(tmp_path, NOWHERE), GAE_ENV="standard", GCE_METADATA_HOST=server.host)
        assert _levels(ended)["tokens"] == "ok"
        assert server.given
        assert not [each for each in server.given if each in ended.out]
    ended = await longcall("doctor", "--json", **_settings(tmp_path, NOWHERE), GAE_ENV="standard", GCE_METADATA_HOST="127.0.0.1:9")
    assert (ended.code, _levels(ended)["tokens"]) == (3, "bad")


async def _answers(line: Line) -> None:
    await line.request()
    await line.answer(200, b"x" * 100_000)


async def _closes(line: Line) -> None:
    await line.request()
    await asyncio.sleep(1)


async def _hangs(line: Line) -> None:
    await line.request()
    await line.gone()


@pytest.mark.parametrize(
    ("handler", "level", "says", "outcome"),
    [
        (_answers, "ok", "answered 200 after ", "response"),
        (_closes, "bad", "closed after 1.", "disconnected"),
        (_hangs, "ok", "the line stood for 2.0 s without an end, and nothing cut it", "timed_out"),
    ],
)
async def test_a_held_call(longcall: Run, serve: Start, up: Service, handler: Serve, level: str, says: str, outcome: str) -> None:
    """What became of it is said in words and in JSON, and only GET is sent, once."""
    target = await serve(handler)
    environ = _settings(up.data, up.rest, ALLOW_PRIVATE_TARGETS="true")
    ended = await longcall("doctor", "--json", "--target", target.url, "--hold", "2", **environ)
    found = _found(ended)["target"]
    assert (ended.code, found["level"], found["says"].startswith(says)) == (3 if level == "bad" else 0, level, True), found
    assert json.loads(ended.out)["held"]["outcome"] == outcome
    assert [each.line for each in target.seen] == ["GET /train HTTP/1.1"]


async def test_a_target_that_may_not_be_called(longcall: Run, serve: Start, up: Service) -> None:
    """The rules that are set hold for doctor too: nothing is sent."""
    target = await serve(_answers)
    ended = await longcall("doctor", "--target", target.url, **_settings(up.data, up.rest))
    assert ended.code == 3
    assert "refused: " in ended.out
    assert target.connections == 0


async def test_hold_without_target(longcall: Run) -> None:
    """There is nothing to hold."""
    ended = await longcall("doctor", "--hold", "5")
    assert (ended.code, ended.out) == (2, "")
    assert "--hold is for --target" in ended.err
