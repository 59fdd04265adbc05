"""The gRPC face: google.cloud.tasks.v2.CloudTasks on a local port, without TLS and without credentials."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import grpc
from google.rpc import status_pb2
from grpc import aio

from longcall.queue import messages
from longcall.queue.errors import PortError, RefusedError, internal
from longcall.queue.messages import Message
from longcall.queue.service import QueueService
from longcall.queue.verbs import LOCATION_VERBS, VERBS, Verb

_log = logging.getLogger(__name__)

_TABLES = (("google.cloud.tasks.v2.CloudTasks", VERBS), ("google.cloud.location.Locations", LOCATION_VERBS))
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
    server.add_generic_rpc_handlers([_handlers(service, *table) for table in _TABLES])
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as error:
        raise PortError(port, error) from error
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(grace=None)


def _handlers(service: QueueService, name: str, verbs: Mapping[str, Verb]) -> grpc.GenericRpcHandler:
    methods = {
        method: grpc.unary_unary_rpc_method_handler(
            _served(service, verb),
            request_deserializer=verb.request.FromString,
            response_serializer=_serialized,
        )
        for method, verb in verbs.items()
    }
    return grpc.method_handlers_generic_handler(name, methods)


def _served(service: QueueService, verb: Verb) -> Callable[[Message, Context], Awaitable[Message]]:
    async def call(request: Message, context: Context) -> Message:  # noqa: RET503 — abort never returns
        try:
            return await verb.run(service, request)
        except RefusedError as refusal:
            refused = refusal
        except Exception:  # noqa: BLE001 — as RefusedError: a client gets an answer, and the server goes on
            _log.exception("queue.grpc_failed")
            refused = internal()
        await context.abort(grpc.StatusCode[refused.code.name], str(refused), _details(refused))

    return call


def _details(refusal: RefusedError) -> tuple[tuple[str, bytes], ...]:
    # https://grpc.io/docs/guides/error/#richer-error-model
    if refusal.explained is None:
        return ()
    status = status_pb2.Status(code=refusal.code.number, message=str(refusal), details=[messages.help_message(refusal.explained)])
    return (("grpc-status-details-bin", status.SerializeToString()),)


def _serialized(message: Message) -> bytes:
    return bytes(message.SerializeToString())
