"""Runners on a PostgreSQL they share, and on one that goes away."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.end_to_end.fleet import Fleet, fleet
from tests.end_to_end.test_fleet import ends, outcomes, submit
from tests.end_to_end.test_up import Slow, Start, ask, run
from tests.postgres import PASSWORD, Postgres


@asynccontextmanager
async def sharing(server: Postgres, folder: Path) -> AsyncIterator[tuple[Fleet, dict[str, str]]]:
    """A fleet, and the settings of runners that share a database and a folder of bodies."""
    async with server.database() as url, fleet(folder) as parts:
        yield parts, {"STORE": url, "BODIES": (folder / "bodies").as_uri()}


@pytest.mark.timeout(120)
async def test_three_runners_share_one_database(postgres: Postgres, serve: Start, tmp_path: Path) -> None:
    """Calls are spread over all three; a cancel, a wait and a list asked of one of them are about the calls of all."""
    slow = Slow()
    target = await serve(slow)
    names = [f"t{number}" for number in range(60)]
    async with sharing(postgres, tmp_path) as (parts, settings):
        runners = [await parts.runner(**settings) for _ in range(3)]
        apis = [runner.ready["api"] for runner in runners]
        await submit(apis[0], target.url, names)
        for _ in names:
            await asyncio.wait_for(slow.calls.acquire(), 30)
        waits = [asyncio.create_task(ask("GET", f"{api}/v1/tasks/t1?wait=30s")) for api in apis]
        for api in apis:
            assert len((await ask("GET", f"{api}/v1/tasks?state=RUNNING&pageSize=100"))["tasks"]) == 60
        await ask("POST", f"{apis[1]}/v1/tasks/t0:cancel")
        (cancelled,) = await ends(apis[2], ["t0"])
        answered = time.monotonic()
        slow.answering.set()
        for wait in waits:
            assert (await wait)["state"] == "SUCCEEDED"
        assert time.monotonic() - answered < 10, "woken, and not by the time being up"
        tasks = await ends(apis[1], names[1:])
    assert cancelled["state"] == "CANCELLED"
    assert outcomes(tasks) == {("response",)}
    assert len(target.seen) == 60
    shares = Counter(task["attempts"][0]["runner"] for task in tasks)
    assert len(shares) == 3
    assert min(shares.values()) > 5


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_restart_of_the_database_amid_200_calls_loses_nothing(postgres: Postgres, serve: Start, tmp_path: Path) -> None:
    """It dies, is away for twelve seconds while half the targets answer, and comes back: each call was made once and has its outcome."""
    slow, late = Slow(), Slow()
    first, second = await serve(slow), await serve(late)
    names = [f"t{number}" for number in range(200)]
    async with sharing(postgres, tmp_path) as (parts, settings):
        runners = [await parts.runner(HOLD_SLOTS="20", WHEN_FULL="detach", **settings) for _ in range(3)]
        api = runners[0].ready["api"]
        await asyncio.gather(submit(api, first.url, names[:100]), submit(api, second.url, names[100:]))
        for calls in (slow.calls, late.calls):
            for _ in range(100):
                await asyncio.wait_for(calls.acquire(), 30)
        await asyncio.to_thread(postgres.stop, "immediate")
        slow.answering.set()
        ready = await ask("GET", f"{api}/readyz")
        assert "store" in ready["detail"]
        refused = await ask("POST", f"{api}/v1/tasks", {"id": "another", "httpRequest": {"url": first.url}})
        assert refused["code"] == "UNAVAILABLE", "new work is not taken meanwhile"
        await asyncio.sleep(12)
        await asyncio.to_thread(postgres.start)
        late.answering.set()
        tasks = await ends(runners[2].ready["api"], names, 120)
        assert (await ask("GET", f"{api}/readyz")) == {"ready": True}
    assert {task["state"] for task in tasks} == {"SUCCEEDED"}
    assert outcomes(tasks) == {("response",)}
    assert (len(first.seen), len(second.seen)) == (100, 100)


async def test_what_keeps_a_runner_from_starting_is_one_sentence(postgres: Postgres, tmp_path: Path) -> None:
    """A wrong password, a missing database, nobody there, a schema to be brought up to date or too new: exit 3, what and where."""
    bodies = (tmp_path / "bodies").as_uri()
    async with postgres.database() as url, postgres.database("template1") as empty:
        await postgres.do("INSERT INTO longcall_schema VALUES (99, 99)", url=url)
        for store, said in (
            (postgres.url(password="wrong-horse"), "password"),  # noqa: S106 — a wrong one
            (postgres.url("missing"), "missing"),
            ("postgresql://postgres:x@127.0.0.1:9/longcall", "127.0.0.1:9"),
            ("mysql://127.0.0.1/longcall", "names no store"),
            (empty, "longcall migrate"),
            (url, "99"),
        ):
            code, text = await run("runner", "--port", "0", STORE=store, BODIES=bodies, QUEUE_SECRET="shared")  # noqa: S106 — a test's
            assert (code, text.count("\n")) == (3, 1), (store, text)
            assert said in text
            assert "horse" not in text.replace(PASSWORD, "")
            assert PASSWORD not in text


async def test_a_schema_is_brought_up_to_date_by_hand(postgres: Postgres) -> None:
    """`longcall migrate` says what it did, and that the second time there was nothing to do."""
    async with postgres.database("template1") as empty:
        assert await run("migrate", STORE=empty) == (0, "the schema has version 1, and had 0\n")
        assert await run("migrate", STORE=empty) == (0, "the schema has version 1: nothing was to be done\n")
