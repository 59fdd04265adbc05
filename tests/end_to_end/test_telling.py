"""`kill -9` between each two steps of ending and telling: whatever the step, the caller is told, and told of one end."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from longcall import webhooks
from longcall.core.signing import secret_of
from tests.end_to_end.fleet import Fleet, Part, fleet
from tests.end_to_end.test_up import Start, ask
from tests.target import Line, Target, well_behaved

SECRET = secret_of(b"telling" * 4)
CONTROL = "/v2/projects/longcall/locations/local/queues/control"


@dataclass
class Gate:
    """A way to the queue that can hold the message about a callback, before it gets there or after."""

    queue: str
    hold: str = ""
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def relay(self, request: web.Request) -> web.Response:
        """Pass one request on."""
        body = await request.read()
        about = request.method == "POST" and b"-callback" in body
        if about and self.hold == "before":
            await self._stop()
        async with aiohttp.ClientSession() as http, http.request(request.method, self.queue + request.path_qs, data=body) as answer:
            said = web.Response(body=await answer.read(), status=answer.status)
        if about and self.hold == "after":
            await self._stop()
        return said

    async def _stop(self) -> None:
        self.hold = ""
        self.reached.set()
        await asyncio.sleep(3600)


@asynccontextmanager
async def gate(queue: str) -> AsyncIterator[tuple[Gate, str]]:
    """A gate, and its address."""
    made = Gate(queue)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.relay)
    async with TestServer(app, host="127.0.0.1", shutdown_timeout=0.1) as server:
        yield made, str(server.make_url("")).rstrip("/")


@dataclass
class Receiver:
    """Where callbacks arrive. Its first one can be held, or met with a locked store."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, line: Line) -> None:
        """Take one callback."""
        await line.request()
        self.arrived.set()
        await self.answering.wait()
        await line.answer()


@dataclass
class Scene:
    """One fleet with one task that calls back, and the runner that is to die."""

    parts: Fleet
    gate: Gate
    doomed: Part
    target: Target
    receiver: Receiver
    hook: Target

    async def submit(self) -> None:
        """The task."""
        body = {"id": "train", "httpRequest": {"url": self.target.url}, "callback": {"url": self.hook.url}}
        made = await ask("POST", f"{self.doomed.ready['api']}/v1/tasks", body)
        assert made["id"] == "train", made

    async def paused(self, verb: str) -> None:
        """Pause the queue of callbacks, or have it go on."""
        await ask("POST", f"{self.parts.queue.ready['rest']}{CONTROL}:{verb}", {})

    async def state(self, task_id: str, state: str) -> None:
        """Wait until a task stands there."""
        async with asyncio.timeout(20):
            while (await ask("GET", f"{self.doomed.ready['api']}/v1/tasks/{task_id}")).get("state") != state:  # noqa: ASYNC110 — another process writes it
                await asyncio.sleep(0.05)

    def locked(self) -> "closing[sqlite3.Connection]":
        """Nothing can be written to the store until this is closed."""
        another = sqlite3.connect(self.parts.folder / "fleet.db", isolation_level=None, timeout=10)
        another.execute("BEGIN IMMEDIATE")
        return closing(another)


async def before_the_callback_is_queued(scene: Scene) -> None:
    """The target has answered; nothing is queued, nothing written."""
    scene.gate.hold = "before"
    await scene.submit()
    await asyncio.wait_for(scene.gate.reached.wait(), 20)
    await scene.doomed.kill()


async def before_the_end_is_written(scene: Scene) -> None:
    """The callback's message is queued, and the end it is about is not written."""
    scene.gate.hold = "after"
    await scene.submit()
    await asyncio.wait_for(scene.gate.reached.wait(), 20)
    await scene.doomed.kill()


async def before_the_callback_is_dispatched(scene: Scene) -> None:
    """The end is written, and the queue holds its message back."""
    await scene.paused("pause")
    await scene.submit()
    await scene.state("train", "SUCCEEDED")
    await scene.doomed.kill()
    await scene.paused("resume")


async def before_the_receiver_has_answered(scene: Scene) -> None:
    """The callback is on its way."""
    await scene.submit()
    await asyncio.wait_for(scene.receiver.arrived.wait(), 20)
    await scene.doomed.kill()


async def before_its_answer_is_written(scene: Scene) -> None:
    """The receiver has answered, and nobody has written that down."""
    await scene.submit()
    await asyncio.wait_for(scene.receiver.arrived.wait(), 20)
    with scene.locked():
        scene.receiver.answering.set()
        await asyncio.sleep(0.5)
        await scene.doomed.kill()


DEATHS = (
    before_the_callback_is_queued,
    before_the_end_is_written,
    before_the_callback_is_dispatched,
    before_the_receiver_has_answered,
    before_its_answer_is_written,
)


async def callbacks(scene: Scene) -> list[str]:
    """The states of the task's callbacks."""
    return [each["state"] for each in (await ask("GET", f"{scene.doomed.ready['api']}/v1/tasks/train"))["callbacks"]]


async def told(serve: Start, folder: Path, death: Callable[[Scene], Awaitable[None]]) -> list[tuple[str, str]]:
    """Let a runner die there and another go on; what callbacks arrived, as their ids and types."""
    folder.mkdir()  # noqa: ASYNC240 — one folder, before anything runs
    receiver = Receiver()
    hook = await serve(receiver)
    async with fleet(folder) as parts, gate(parts.queue.ready["rest"]) as (gated, address):
        settings = {"QUEUE_ENDPOINT": address, "WEBHOOK_SECRETS": SECRET}
        doomed = await parts.runner(**settings)
        scene = Scene(parts, gated, doomed, await serve(well_behaved), receiver, hook)
        await death(scene)
        receiver.answering.set()
        scene.doomed = await parts.runner(**settings)
        async with asyncio.timeout(150):
            while await callbacks(scene) != ["SUCCEEDED"]:  # noqa: ASYNC110 — another process writes it
                await asyncio.sleep(0.5)
    events = [webhooks.verify(seen.headers, seen.body, SECRET) for seen in hook.seen]
    assert {event.task.state for event in events} == {"SUCCEEDED"}
    return [(event.id, event.type) for event in events]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_whichever_step_it_dies_at_the_caller_is_told(serve: Start, tmp_path: Path) -> None:
    """One callback arrives, verified: its id is the same however often it is sent, and it is sent again only where its answer was lost."""
    found = await asyncio.gather(*(told(serve, tmp_path / death.__name__, death) for death in DEATHS))
    by_death = dict(zip([death.__name__ for death in DEATHS], found, strict=True))
    print(json.dumps(by_death))  # noqa: T201 — seen when it fails
    assert {name: len(set(each)) for name, each in by_death.items()} == dict.fromkeys(by_death, 1)
    sent = {name: len(each) for name, each in by_death.items()}
    assert sent == dict.fromkeys(by_death, 1) | {"before_the_receiver_has_answered": 2, "before_its_answer_is_written": 2}
