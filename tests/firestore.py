"""Google's own Firestore emulator, one process for all tests, and a proxy before it that sees every call and can spoil an answer."""

import asyncio
import atexit
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from urllib.error import URLError

import grpc
import pytest

from longcall.stores.firestore import FirestoreStore
from tests.conftest import IN_CI
from tests.google import free_port, part

MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
# Ends the emulator when the tests are over, however they end: its input closes with them.
KEEPER = "import subprocess, sys; child = subprocess.Popen(sys.argv[1:]); sys.stdin.read(); child.terminate(); child.wait()"
NUMBERS = count()
ANY_SIZE = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


def emulator() -> str:
    """Its address. Without the parts it needs the test is skipped, in CI it fails."""
    jar = part("platform/cloud-firestore-emulator/cloud-firestore-emulator.jar")
    if jar is None:
        reason = "no Firestore emulator: it needs java and gcloud with the component cloud-firestore-emulator"
        (pytest.fail if IN_CI else pytest.skip)(reason)
    return _started(jar)


def new_project() -> str:
    """A project that no test has used: an empty database."""
    return f"longcall-test-{next(NUMBERS)}"


@asynccontextmanager
async def opened(
    now: Callable[[], datetime], address: str | None = None, retention: timedelta = timedelta(days=30), project: str | None = None
) -> AsyncIterator[FirestoreStore]:
    """A store in the emulator, or at another address; empty when no project is given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", address or emulator())
        opening = FirestoreStore.open(project or new_project(), "(default)", now, retention)
        store = await opening.__aenter__()
    try:
        yield store
    finally:
        await opening.__aexit__(None, None, None)


@cache
def _started(jar: Path) -> str:
    port = free_port()
    command = ["java", "-cp", str(jar), MAIN, "--host=127.0.0.1", f"--port={port}"]
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPER, *command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    atexit.register(keeper.communicate)  # closes its input and waits
    until = time.monotonic() + 30
    while not _answers(port):
        assert time.monotonic() < until, "the Firestore emulator did not start within 30 s"
        time.sleep(0.1)
    return f"127.0.0.1:{port}"


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False


class Proxy:
    """Passes every call on to the emulator, and notes its method and request. `spoil` is asked for each method what to do to it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.spoil: Callable[[str], Spoil | None] = lambda _method: None
        self.address = ""
        self._called = asyncio.Condition()

    @asynccontextmanager
    async def running(self) -> "AsyncIterator[Proxy]":
        """Listen on a free port of loopback."""
        async with grpc.aio.insecure_channel(emulator(), options=ANY_SIZE) as self._onward:
            self._server = grpc.aio.server(options=ANY_SIZE)
            self._server.add_generic_rpc_handlers((_Everything(self),))
            self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
            await self._server.start()
            try:
                yield self
            finally:
                await self.cut()

    def count(self, name: str) -> int:
        """How many calls of a method there were."""
        return [method.rpartition("/")[2] for method, _ in self.seen].count(name)

    async def until(self, name: str, number: int) -> None:
        """Wait until a method was called so many times."""
        async with asyncio.timeout(5), self._called:
            await self._called.wait_for(lambda: self.count(name) >= number)

    async def cut(self) -> None:
        """End every connection at once, and take no more."""
        await self._server.stop(None)

    async def pass_on(
        self, method: str, requests: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> AsyncIterator[bytes]:
        """One call; Firestore's have one request each."""
        request = await anext(requests)
        async with self._called:
            self.seen.append((method, request))
            self._called.notify_all()
        spoil = self.spoil(method.rpartition("/")[2])
        if spoil and not spoil.lands:
            await spoil.end(context)
        metadata = [pair for pair in context.invocation_metadata() or () if pair[0] in {"authorization", "google-cloud-resource-prefix"}]
        onward: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._onward.unary_stream(method)
        try:
            async for answer in onward(request, metadata=metadata):
                if spoil:
                    await spoil.end(context)
                yield answer
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")


class Spoil:
    """What becomes of a call: whether it reaches the emulator, and the code it is answered with, or no answer at all."""

    def __init__(self, *, lands: bool, code: grpc.StatusCode | None = None) -> None:
        self.lands = lands
        self.code = code

    async def end(self, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        """Answer, or wait for ever."""
        if self.code is None:
            await asyncio.Event().wait()
        else:
            await context.abort(self.code, "spoiled")


class _Everything(grpc.GenericRpcHandler):
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        # An async generator itself, which is how the server knows what it has.
        async def pass_on(requests: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]") -> AsyncIterator[bytes]:
            async for answer in self._proxy.pass_on(handler_call_details.method, requests, context):
                yield answer

        return grpc.stream_stream_rpc_method_handler(pass_on)
