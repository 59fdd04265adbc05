from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
import uvloop
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from longcall.outbound.clock import SystemClock
from longcall.queue import QueueConfig, RefusedError, roster, schema
from longcall.queue.dispatcher import Dispatcher, Pace
from longcall.queue.grouping import GroupedWrites
from longcall.queue.oidc import Issuer
from longcall.queue.roster import Roster
from longcall.queue.sender import Address, Sender
from longcall.queue.service import QueueService
from longcall.queue.storage import TaskStorage
from longcall.queue.verbs import LOCATION_VERBS, REST_VERBS, VERBS
from tests.queue.conftest import LOCATION, QUEUE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.descriptor import Descriptor
    from hypothesis.strategies import SearchStrategy

    from longcall.queue import EmbeddedQueue

F = FieldDescriptor
KEPT = timedelta(hours=1)
NAMES = [LOCATION, QUEUE, f"{QUEUE}/tasks/t", f"{LOCATION}/queues/new", "projects/p", "http://x.test/", "/", ""]
TEXT = st.sampled_from(NAMES) | st.text(max_size=20)
SCALARS: dict[int, SearchStrategy[Any]] = {
    F.TYPE_STRING: TEXT,
    F.TYPE_BYTES: st.binary(max_size=20),
    F.TYPE_BOOL: st.booleans(),
    F.TYPE_INT32: st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]),
    F.TYPE_INT64: st.sampled_from([0, 1, -1, 315_576_000_000, -62_135_596_800, 253_402_300_799, 2**63 - 1, -(2**63)]),
    F.TYPE_DOUBLE: st.floats(),
    F.TYPE_ENUM: st.integers(-1, 8),
}


def _value(field: FieldDescriptor, depth: int) -> SearchStrategy[Any]:
    if field.message_type is None:
        return SCALARS[field.type]
    return _fields(field.message_type, depth - 1)


def _fields(descriptor: Descriptor, depth: int) -> SearchStrategy[dict[str, Any]]:
    """Give what the constructor of a message takes, so that anything a client can put on the wire comes up."""
    some: dict[str, SearchStrategy[Any]] = {}
    for field in descriptor.fields if depth else ():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            some[field.name] = st.dictionaries(TEXT, TEXT, max_size=2)
        elif field.is_repeated:
            some[field.name] = st.lists(_value(field, depth), max_size=2)
        else:
            some[field.name] = _value(field, depth)
    return st.fixed_dictionaries({}, optional=some)


@asynccontextmanager
async def _open() -> AsyncIterator[QueueService]:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        connection = stack.enter_context(closing(schema.connect(None)))
        writes = GroupedWrites(connection)
        stack.push_async_callback(writes.close)
        storage = TaskStorage(writes, KEPT)
        sender = await stack.enter_async_context(Sender.open(Address(None), Issuer("http://i.test", ""), clock.now))
        dispatcher = await stack.enter_async_context(Dispatcher.open(storage, sender, Pace(clock.now, clock.chance, 1.0)))
        service = QueueService(Roster(writes, KEPT), storage, dispatcher, clock.now, clock.new_id)
        stack.push_async_callback(service.close)
        service.add(roster.insert(connection, QueueConfig(QUEUE)))
        yield service


CALLS = st.sampled_from(sorted(REST_VERBS)).flatmap(
    lambda name: st.tuples(st.just(name), _fields(REST_VERBS[name].request.DESCRIPTOR, 4)),
)


@given(st.lists(CALLS, min_size=1, max_size=4))
def test_every_request_is_answered_or_refused(calls: list[tuple[str, dict[str, Any]]]) -> None:
    """Whatever a well-formed request says, it is answered with what both faces can send, or refused with a code."""

    async def run() -> None:
        async with _open() as service:
            for name, fields in calls:
                try:
                    answer = await REST_VERBS[name].run(service, REST_VERBS[name].request(**fields))
                except RefusedError:
                    continue
                answer.SerializeToString()
                json_format.MessageToDict(answer)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def test_bytes_that_are_no_message(queue: EmbeddedQueue) -> None:
    """Bytes that are no request end their call, not the server."""
    paths = [f"/google.cloud.tasks.v2.CloudTasks/{method}" for method in [*VERBS, "NoSuchCall"]]
    paths += [f"/google.cloud.location.Locations/{method}" for method in [*LOCATION_VERBS, "NoSuchCall"]]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{queue.grpc_port}") as channel:
        for path in [*paths, "/no.such.Service/Call"]:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await call(b"\xff\xff\xff")
            # The first is gRPC's own word for a message that can't be read.
            assert ended.value.code() in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED}
    await _still_there(queue)


BODIES = [
    b"\x00",
    b"{",
    b"[]",
    b"null",
    b"[" * 100_000,
    b'{"task": ' * 50_000,
    b'{"task": {"name": "\\ud800"}}',
    b'{"task": {"httpRequest": {"url": "http://x.test", "headers": {"a": null}}}}',
    b'{"task": {"scheduleTime": "yesterday"}}',
    b'{"task": {"dispatchDeadline": "1e9s"}}',
    b'{"task": {"httpRequest": {"body": "!"}}}',
    b'{"task": 1e999}',
    b"{}",
]


async def test_bodies_that_are_no_request(queue: EmbeddedQueue) -> None:
    """Bad JSON, and JSON that is no request, is INVALID_ARGUMENT in Google's form, however deep or odd."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{queue.rest_port}") as http:
        for body in BODIES:
            async with http.post(f"/v2/{QUEUE}/tasks", data=body) as answer:
                error = json.loads(await answer.read())["error"]
                assert (answer.status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT"), body[:40]
    await _still_there(queue)


PATHS = ["/", "/v2", "/v2/", "/v2//", "/v1/projects/p", f"/v2/{QUEUE}:explode", f"/v2/{QUEUE}/tasks/a/b", "/favicon.ico"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_paths_that_lead_nowhere(queue: EmbeddedQueue, method: str) -> None:
    """A path that is no call is a 404 in Google's form, whatever the method."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{queue.rest_port}") as http:
        for path in PATHS:
            async with http.request(method, URL(path, encoded=True)) as answer:
                error = json.loads(await answer.read())["error"]
                assert (answer.status, error["code"], error["status"]) == (404, 404, "NOT_FOUND"), path
                assert error["message"].startswith(f"There is no call {method} ")
    await _still_there(queue)


async def _still_there(queue: EmbeddedQueue) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{queue.rest_port}") as http, http.get(f"/v2/{QUEUE}") as answer:
        assert answer.status == 200
