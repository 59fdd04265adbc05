"""The gRPC face: google.cloud.tasks.v2.CloudTasks on a local port, without TLS and without credentials."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
from grpc import aio

from longcall.queue.errors import PortError, RefusedError
from longcall.queue.messages import Message
from longcall.queue.service import QueueService
from longcall.queue.verbs import VERBS, Verb

_SERVICE = "google.cloud.tasks.v2.CloudTasks"
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # two queues must not share a port
    # gRPC cancels calls when more than 1,000 come at once faster than they are taken up; a burst of creates is no attack.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
)

Context = aio.ServicerContext[Message, Message]


@asynccontextmanager
async def serve(service: QueueService, port: int) -> AsyncIterator[int]:
    """Serve on 127.0.0.1 (port 0: a free one) and give the port. Other methods answer UNIMPLEMENTED.

    Raises PortError when the port is taken.
    """
    server = aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((_handlers(service),))
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as error:
        raise PortError(port, error) from error
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(grace=None)


def _handlers(service: QueueService) -> grpc.GenericRpcHandler:
    methods = {
        name: grpc.unary_unary_rpc_method_handler(
            _served(service, verb),
            request_deserializer=verb.request.FromString,
            response_serializer=_serialized,
        )
        for name, verb in VERBS.items()
    }
    return grpc.method_handlers_generic_handler(_SERVICE, methods)


def _served(service: QueueService, verb: Verb) -> Callable[[Message, Context], Awaitable[Message]]:
    async def call(request: Message, context: Context) -> Message:
        try:
            return await verb.run(service, request)
        except RefusedError as refusal:
            await context.abort(grpc.StatusCode[refusal.code.name], str(refusal))

    return call


def _serialized(message: Message) -> bytes:
    return bytes(message.SerializeToString())
