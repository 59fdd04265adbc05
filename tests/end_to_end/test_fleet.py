import asyncio
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.fleet import Part, fleet
from tests.end_to_end.test_up import Slow, ask, run
from tests.target import Serve, Target

Start = Callable[[Serve], Awaitable[Target]]


async def submit(api: str, url: str, names: list[str], **more: object) -> None:
    """Create many tasks."""
    async with aiohttp.ClientSession(api) as http:
        for name in names:
            async with http.post("/v1/tasks", json={"id": name, "httpRequest": {"url": url}, **more}) as answer:
                assert answer.status == 201, await answer.text()


async def ends(api: str, names: list[str], patience: float = 60) -> list[dict[str, Any]]:
    """Wait until all have ended, looking rather than waiting: another process may write the end."""
    async with aiohttp.ClientSession(api) as http, asyncio.timeout(patience):
        found = []
        for name in names:
            while True:
                async with http.get(f"/v1/tasks/{name}") as answer:
                    task = await answer.json()
                if task.get("finishTime"):
                    break
                await asyncio.sleep(0.2)
            found.append(task)
        return found


def outcomes(tasks: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    """How the attempts of tasks ended."""
    return {tuple((each["error"] or {}).get("code", each["outcome"]) for each in task["attempts"]) for task in tasks}


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_runner_killed_with_200_calls_loses_none(serve: Start, tmp_path: Path) -> None:
    """Two processes on one store and one queue, calls half held and half detached; one is killed.

    Every call of the dead one is taken up by the other, none of the other's is touched, and none runs twice while its owner has its lease.
    """
    slow = Slow()
    target = await serve(slow)
    names = [f"t{number}" for number in range(200)]
    async with fleet(tmp_path) as parts:
        doomed = await parts.runner(HOLD_SLOTS="50", WHEN_FULL="detach")
        other = await parts.runner(HOLD_SLOTS="50", WHEN_FULL="detach")
        await submit(other.ready["api"], target.url, names)
        for _ in names:
            await asyncio.wait_for(slow.calls.acquire(), 30)
        await doomed.kill()
        killed = time.monotonic()
        before = len(target.seen)
        while time.monotonic() < killed + 18:  # its lease is good for 30 s from its last beat, which is at most 10 s old
            await asyncio.sleep(0.5)
            assert len(target.seen) == before, "a call was made again while its owner's lease was good"
        while len(target.seen) == before:
            await asyncio.sleep(0.5)
            assert time.monotonic() < killed + 100, "nothing was taken up again within 100 s"
        slow.answering.set()
        tasks = await ends(other.ready["api"], names, 100)
    assert {task["state"] for task in tasks} == {"SUCCEEDED"}
    assert outcomes(tasks) <= {("response",), ("LOST", "response")}
    lost = sum(len(task["attempts"]) > 1 for task in tasks)
    assert 20 < lost < 180, "both had their share"
    assert len(target.seen) == 200 + lost


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_store_away_for_60_s_loses_nothing_and_nobody(serve: Start, tmp_path: Path) -> None:
    """Nothing can be written for 60 s while 200 targets answer: each outcome waits, and nobody is declared lost."""
    slow = Slow()
    target = await serve(slow)
    names = [f"t{number}" for number in range(200)]
    async with fleet(tmp_path) as parts:
        runners = [await parts.runner() for _ in range(2)]
        await submit(runners[0].ready["api"], target.url, names)
        for _ in names:
            await asyncio.wait_for(slow.calls.acquire(), 30)
        with closing(sqlite3.connect(parts.folder / "fleet.db", isolation_level=None, timeout=10)) as another:
            another.execute("BEGIN IMMEDIATE")
            slow.answering.set()
            await asyncio.sleep(60)
            another.execute("ROLLBACK")
        tasks = await ends(runners[1].ready["api"], names, 120)
    assert {task["state"] for task in tasks} == {"SUCCEEDED"}
    assert outcomes(tasks) == {("response",)}
    assert len(target.seen) == 200


async def thousand(serve: Start, tmp_path: Path, **settings: str) -> None:
    """SIGTERM with a thousand calls open: gone at once, all drained, all brought back."""
    slow = Slow()
    target = await serve(slow)
    names = [f"t{number}" for number in range(1000)]
    async with fleet(tmp_path) as parts:
        first = await parts.runner(**settings)
        await submit(first.ready["api"], target.url, names, retry={"maxAttempts": 1})
        for _ in names:
            await asyncio.wait_for(slow.calls.acquire(), 60)
        start = time.monotonic()
        assert await first.stop() == 0
        took = time.monotonic() - start
        slow.answering.set()
        second = await parts.runner(**settings)
        tasks = await ends(second.ready["api"], names, 120)
    assert [task["failure"] for task in tasks if task["failure"]] == []
    assert outcomes(tasks) == {("DRAINED", "response")}
    assert len(target.seen) == 2000
    print(f"SIGTERM with 1,000 calls: gone after {took:.2f} s")  # noqa: T201 — a figure; no test passes or fails by a time


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_sigterm_with_1000_held_calls_loses_none(serve: Start, tmp_path: Path) -> None:
    """Every dispatch held open."""
    await thousand(serve, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_sigterm_with_1000_detached_calls_loses_none(serve: Start, tmp_path: Path) -> None:
    """All but one dispatch answered long ago."""
    await thousand(serve, tmp_path, HOLD_SLOTS="1", WHEN_FULL="detach")


@pytest.mark.timeout(90)
async def test_a_detached_call_outlives_the_host_s_limit_on_requests(serve: Start, tmp_path: Path) -> None:
    """A host that cuts every request after 5 s: a detached call of 8 s is made once, and its answer is there."""
    slow = Slow()
    target = await serve(slow)
    async with fleet(tmp_path, limit=5) as parts:
        runner = await parts.runner(HOLD_SLOTS="1", WHEN_FULL="detach")
        await submit(runner.ready["api"], target.url, ["held", "detached"])
        await asyncio.sleep(8)
        slow.answering.set()
        tasks = await ends(runner.ready["api"], ["held", "detached"])
    assert outcomes(tasks) == {("response",)}
    assert len(target.seen) == 2


async def test_a_cancel_asked_of_one_process_ends_a_call_of_another(serve: Start, tmp_path: Path) -> None:
    """The runner that holds the call finds out within two seconds and closes its connection."""
    slow = Slow()
    target = await serve(slow)
    async with fleet(tmp_path) as parts:
        holder = await parts.runner()
        await submit(holder.ready["api"], target.url, ["train"])
        await asyncio.wait_for(slow.calls.acquire(), 10)
        other = await parts.runner()
        asked = await ask("POST", f"{other.ready['api']}/v1/tasks/train:cancel")
        assert (asked["state"], asked["cancelRequestTime"] is not None) == ("RUNNING", True)
        (task,) = await ends(other.ready["api"], ["train"])
    assert (task["state"], task["attempts"][0]["outcome"]) == ("CANCELLED", "cancelled")


async def test_after_a_purge_a_requeue_brings_it_back(serve: Start, tmp_path: Path) -> None:
    """Somebody purged the queue: what is overdue by five minutes is queued again, and what is not is left alone."""
    target = await serve(Slow())
    async with fleet(tmp_path) as parts:
        runner = await parts.runner()
        await ask(
            "POST", f"{runner.ready['api']}/v1/tasks", {"id": "later", "httpRequest": {"url": target.url}, "scheduleTime": soon(3600)}
        )
        queue = parts.queue.ready["rest"] + "/v2/projects/longcall/locations/local/queues/default"
        await ask("POST", f"{queue}:purge", {})
        found = await ask("POST", f"{runner.ready['api']}/v1/tasks:requeue", {"dryRun": False})
        assert found == {"dryRun": False, "waiting": [], "running": [], "untold": []}
        again = await ask("POST", f"{runner.ready['api']}/v1/tasks/later:retry")
        assert again["state"] == "SCHEDULED"


def soon(seconds: float) -> str:
    """A time from now on."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))  # noqa: TID251 — a test lives in real time


async def test_drain_waits_for_calls_first(serve: Start, tmp_path: Path) -> None:
    """`--drain 20s`: SIGTERM takes no more, the call that runs ends by itself, and then the process."""
    slow = Slow()
    target = await serve(slow)
    async with fleet(tmp_path) as parts:
        first = await parts.runner("--drain", "20s")
        await submit(first.ready["api"], target.url, ["train", "next"], retry={"maxAttempts": 1})
        for _ in range(2):
            await asyncio.wait_for(slow.calls.acquire(), 10)
        first.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1)
        assert first.process.returncode is None
        slow.answering.set()
        assert await asyncio.wait_for(first.process.wait(), 10) == 0
        second = await parts.runner()
        tasks = await ends(second.ready["api"], ["train", "next"])
    assert outcomes(tasks) == {("response",)}


async def test_a_second_signal_ends_the_waiting(serve: Start, tmp_path: Path) -> None:
    """SIGTERM again drains at once; Ctrl-C again stops at once, as a kill would."""
    slow = Slow()
    target = await serve(slow)
    async with fleet(tmp_path) as parts:

        async def waiting(name: str, signals: signal.Signals) -> Part:
            runner = await parts.runner("--drain", "60s")
            await submit(runner.ready["api"], target.url, [name])
            await asyncio.wait_for(slow.calls.acquire(), 10)
            runner.process.send_signal(signals)
            await asyncio.sleep(0.5)
            assert runner.process.returncode is None
            return runner

        assert await (await waiting("one", signal.SIGTERM)).stop(signal.SIGTERM) == 0
        assert await (await waiting("two", signal.SIGINT)).stop(signal.SIGINT) == 130


@pytest.mark.timeout(120)
async def test_ten_drains_end_a_task(serve: Start, tmp_path: Path) -> None:
    """A task that every runner is stopped under is not carried on for ever, and it is said plainly."""
    slow = Slow()
    target = await serve(slow)
    async with fleet(tmp_path) as parts:
        for number in range(10):
            runner = await parts.runner()
            if number == 0:
                await submit(runner.ready["api"], target.url, ["train"])
            await asyncio.wait_for(slow.calls.acquire(), 40)
            assert await runner.stop() == 0
        last = await parts.runner()
        (task,) = await ends(last.ready["api"], ["train"])
    assert (task["state"], task["failure"]["reason"], len(task["attempts"])) == ("FAILED", "interrupted", 10)
    assert "10 runners were stopped under it" in task["failure"]["message"]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org"])  # noqa: S104 — just what is refused
async def test_a_runner_listens_on_loopback_alone(host: str) -> None:
    """This release knows no users, so nobody from outside may come in."""
    code, said = await run("runner", "--host", host, "--port", "0")
    assert (code, "loopback" in said) == (2, True)


async def test_a_queue_that_gives_up_by_itself_is_said_at_the_start(tmp_path: Path) -> None:
    """Somebody gave the queue retries of its own: a runner that starts says so in its log, and what mends it; else nothing."""
    async with fleet(tmp_path) as parts:
        await parts.runner()
        await asyncio.sleep(1)
        log = tmp_path / "runner.log"
        assert "queue.odd" not in log.read_text()
        queue = parts.queue.ready["rest"] + "/v2/projects/longcall/locations/local/queues/default"
        await ask("PATCH", f"{queue}?updateMask=retryConfig.maxAttempts", {"retryConfig": {"maxAttempts": 3}})
        await parts.runner()
        async with asyncio.timeout(10):
            while "queue.odd" not in log.read_text():  # noqa: ASYNC110 — another process writes it
                await asyncio.sleep(0.1)
        assert "--max-attempts=unlimited" in log.read_text()
