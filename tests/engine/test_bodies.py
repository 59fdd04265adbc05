"""Bodies that travel by reference: what goes by the store, when it is durable, and what is deleted when no record refers to it."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest

from longcall.core.attempt import Outcome, Responded, Response
from longcall.core.errors import AlreadyExistsError, MayExistError, TooLargeError, UnavailableError
from longcall.core.messages import Message, TaskMessage, message_to_json
from longcall.core.target import TargetRules
from longcall.core.task import State, StoredBody, Task, TaskSpec, Unreadable
from longcall.core.wire import dumps
from longcall.engine.calls import body_key
from longcall.engine.control import LINK_LIFE
from longcall.engine.ports import CallRequest
from longcall.engine.submit import MAX_MESSAGE_BYTES
from longcall.outbound.caller import HttpCaller
from longcall.testing import FakeBodies, FakeQueue
from tests.engine.house import House, Line
from tests.making import NOON, spec
from tests.target import Line as Connection
from tests.target import Serve, Target

LARGE = b"x" * 100_000
TO_ESCAPE = '"\\\n\x01\u2028é🎉' * 300


@pytest.fixture
def house() -> House:
    """An engine with everything by hand."""
    return House()


def with_body(body: bytes, **labels: str) -> TaskSpec:
    """A task with a request body."""
    asked = spec(labels=labels)
    return replace(asked, request=replace(asked.request, body=body))


def sent_size(house: House) -> int:
    """How large the last message was that went to the queue."""
    return len(dumps(message_to_json(house.queue.puts[-1].message)))


def body_of(task: Task) -> bytes | StoredBody:
    """The request body that a record has."""
    assert not isinstance(task.spec, Unreadable)
    return task.spec.request.body


@pytest.mark.parametrize("label", ["plain", TO_ESCAPE], ids=("plain", "much to escape"))
async def test_a_message_is_as_large_as_it_is_encoded(house: House, label: str) -> None:
    """90,000 bytes of JSON, escapes and base64 and all, go with the message; one byte more, and the body goes by the store."""
    await house.submit("id-0", with_body(b"123", a=label, b=""))
    body = (bytes(range(256)) * 300)[: (MAX_MESSAGE_BYTES - sent_size(house)) // 4 * 3 - 300]
    filler = MAX_MESSAGE_BYTES - (sent_size(house) + len(base64.b64encode(body)) - 4)
    inline = await house.submit("id-1", with_body(body, a=label, b="x" * filler))
    assert (body_of(inline.task), sent_size(house), house.bodies.kept) == (body, MAX_MESSAGE_BYTES, {})
    stored = await house.submit("id-2", with_body(body, a=label, b="x" * (filler + 1)))
    assert body_of(stored.task) == StoredBody(len(body), hashlib.sha256(body).hexdigest())
    assert (house.bodies.kept, sent_size(house) < 10_000) == ({body_key(stored.task): body}, True)


async def test_a_task_too_large_without_its_body_is_refused(house: House) -> None:
    """413, before anything is kept or queued."""
    with pytest.raises(TooLargeError, match="use fewer headers"):
        await house.submit(asked=with_body(LARGE, a="x" * 90_000))
    assert (house.bodies.kept, house.queue.puts) == ({}, [])


async def test_a_body_is_kept_before_its_message_is_queued(house: House) -> None:
    """A store of bodies that is away makes nothing: no message may promise a body that is not there."""

    class Away(FakeBodies):
        async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:  # noqa: ARG002 — the port's
            raise UnavailableError(f"body {key} can't be reached")

    away = replace(house.submitter, bodies=Away())
    with pytest.raises(UnavailableError):
        await away.submit(with_body(LARGE), "train", None)
    assert house.queue.puts == []


@dataclass
class Overtaken(FakeQueue):
    """A queue on which, while one submit queues, something else happens."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def create(self, queue: str, name: str, message: Message, at: datetime) -> None:
        """Queue, and let it happen."""
        await super().create(queue, name, message, at)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()


@pytest.fixture
def overtaken() -> tuple[House, Overtaken]:
    """An engine, and its queue."""
    queue = Overtaken()
    return House(queue=queue), queue


@pytest.mark.parametrize("same", [True, False])
async def test_the_body_of_a_submit_that_lost_is_deleted(overtaken: tuple[House, Overtaken], *, same: bool) -> None:
    """Another submit of the id was quicker: its record and its body stand, whether the loser is answered 200 or 409."""
    house, queue = overtaken

    async def quicker() -> None:
        await house.clock.advance(-1)
        await house.submit(asked=with_body(LARGE))
        await house.clock.advance(1)

    queue.meanwhile = quicker
    if same:
        assert not (await house.submit(asked=with_body(LARGE))).created
    else:
        with pytest.raises(AlreadyExistsError):
            await house.submit(asked=with_body(LARGE + b"y"))
    assert house.bodies.kept == {body_key(await house.task()): LARGE}


async def test_the_body_of_a_submit_that_its_own_message_overtook_is_kept(overtaken: tuple[House, Overtaken]) -> None:
    """The queue delivers before the record is written: the record made of the message refers to the body."""
    house, queue = overtaken
    runner = await house.runner()
    queue.meanwhile = lambda: runner.dispatcher.dispatch(house.first_message("train"))
    await house.submit(asked=with_body(LARGE))
    assert house.bodies.kept == {body_key(await house.task()): LARGE}
    assert house.caller.calls[0][0].body_key in house.bodies.kept


async def test_the_body_of_a_submit_that_may_exist_is_kept(overtaken: tuple[House, Overtaken]) -> None:
    """A message is queued, and whether there is a record is not known: its body has to be there."""
    house, queue = overtaken

    async def away() -> None:
        house.store.away = True

    queue.meanwhile = away
    with pytest.raises(MayExistError):
        await house.submit(asked=with_body(LARGE))
    assert list(house.bodies.kept.values()) == [LARGE]
    house.store.away = False
    runner = await house.runner()
    await runner.dispatcher.dispatch(house.first_message("train"))
    assert house.caller.calls[0][0].body_key in house.bodies.kept


async def test_the_body_of_a_submit_whose_answer_was_lost_is_kept(house: House) -> None:
    """The insert landed unseen."""
    house.store.unseen_writes = 1
    await house.submit(asked=with_body(LARGE))
    assert list(house.bodies.kept) == [body_key(await house.task())]


@dataclass
class Storing:
    """Targets by hand whose answers lie in the store of bodies, as the caller puts them there."""

    house: House
    status: int = 200
    line: Line | None = None
    keys: list[str] = field(default_factory=list)

    async def __call__(self, request: CallRequest) -> Outcome:
        """Keep the body, and answer."""
        if self.line is not None:
            await self.line(request)
        self.house.bodies.kept[request.response_key] = LARGE
        self.keys.append(request.response_key)
        now = self.house.clock.now()
        return Responded(Response(self.status, {}, len(LARGE), "", location=request.response_key), end_time=now, sent_time=now)


async def late(house: House) -> "asyncio.Task[object]":
    """A delivery whose runner loses its lease while its call runs; another one settles its attempt as lost, and makes the next."""
    await house.submit()
    runner = await house.runner()
    storing = house.caller.answer = Storing(house, line=Line())
    delivery: asyncio.Task[object] = asyncio.create_task(house.deliver(runner, 1))
    assert storing.line is not None
    await storing.line.open.wait()
    house.caller.answer = Storing(house)
    other = await house.seasoned("r-2")
    await house.deliver(other, 1)
    assert (await house.task()).state is State.SUCCEEDED
    storing.line.end(house)
    return delivery


async def test_the_body_of_an_outcome_that_came_too_late_is_deleted(house: House) -> None:
    """The one that the record refers to stays."""
    await (await late(house))
    task = await house.task()
    assert task.response is not None
    assert list(house.bodies.kept) == [task.response.location]


async def test_a_late_body_goes_though_its_task_is_forgotten(house: House) -> None:
    """Nothing is left of it."""
    delivery = await late(house)
    await house.control.forget("train")
    await delivery
    assert house.bodies.kept == {}


async def test_the_body_of_an_outcome_whose_write_was_unclear_is_kept(house: House) -> None:
    """It landed, and the reader finds its body."""
    await house.submit()
    runner = await house.runner()
    line = Line()
    house.caller.answer = Storing(house, line=line)
    delivery = asyncio.create_task(house.deliver(runner, 1))
    await line.open.wait()
    house.store.unseen_writes = 1
    line.end(house)
    await house.clock.advance(1)
    await delivery
    task = await house.task()
    assert (task.state, task.response and task.response.location) == (State.SUCCEEDED, next(iter(house.bodies.kept)))


class SlowBodies(FakeBodies):
    """Bodies that take a while to be durable, and say when they are."""

    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self.events = events

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep a body, slowly."""
        await super().put(key, chunks)
        await asyncio.sleep(0.05)
        self.events.append("durable")


async def test_a_body_is_durable_before_its_task_is_settled(serve: Callable[[Serve], Awaitable[Target]]) -> None:
    """A record never refers to a body that a power cut could still take: the call ends, for the engine, when `put` has returned."""

    async def much(line: Connection) -> None:
        await line.request()
        await line.answer(200, LARGE)

    events: list[str] = []
    house = House(bodies=SlowBodies(events))
    written = house.store.replace

    async def replaced(task: Task, tag: object) -> object:
        events.append(task.state.value)
        return await written(task, tag)

    house.store.replace = replaced  # type: ignore[method-assign] # the store says when it is written to
    await house.submit(asked=spec((await serve(much)).url))
    runner = await house.runner()
    async with HttpCaller.open(house.bodies, house.clock, 1_000_000, TargetRules(allow_private=True)) as caller:
        runner.calls.caller = caller
        await house.deliver(runner, 1)
    assert events == ["RUNNING", "durable", "SUCCEEDED"]


async def answered(house: House, **headers: str) -> None:
    """A task whose response lies in the store of bodies."""

    async def answer(request: CallRequest) -> Outcome:
        house.bodies.kept[request.response_key] = LARGE
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Responded(Response(200, named, len(LARGE), "", location=request.response_key), end_time=NOON, sent_time=NOON)

    house.caller.answer = answer
    await house.submit()
    await house.deliver(await house.runner(), 1)


async def test_a_body_that_has_a_link_is_read_by_it() -> None:
    """For five minutes; the API carries none of it."""
    house = House(bodies=FakeBodies(links_to="https://bucket.example"))
    await answered(house)
    task, where = await house.control.body("train")
    assert task.response is not None
    assert (where, LINK_LIFE) == (f"https://bucket.example/{task.response.location}?seconds=300", 300)


@pytest.mark.parametrize("links_to", [None, "https://bucket.example"])
async def test_a_packed_body_and_one_without_a_link_are_streamed(links_to: str | None) -> None:
    """A link's server does not know that a body is gzip; where there is no link, the API reads."""
    house = House(bodies=FakeBodies(links_to=links_to))
    await answered(house, **({"content_encoding": "gzip"} if links_to else {}))
    _, where = await house.control.body("train")
    assert not isinstance(where, str)
    assert b"".join([chunk async for chunk in where]) == LARGE


def test_a_message_of_ours_carries_size_and_digest_alone(house: House) -> None:
    """Never a key, so that nobody can name another task's body."""
    asyncio.run(house.submit(asked=with_body(LARGE)))
    message = house.queue.puts[0].message
    assert isinstance(message, TaskMessage)
    assert message.create is not None
    assert set(message.create["httpRequest"]["storedBody"]) == {"size", "sha256"}
