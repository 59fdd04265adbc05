"""Reading a request's body: its size, its type, and JSON as RFC 8259 has it."""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request

from longcall.core.errors import FieldError, InvalidArgumentError, SlowSenderError, TooLargeError, UnsupportedTypeError
from longcall.core.task import MAX_REQUEST_BYTES
from longcall.core.wire import MAX_DEPTH, is_deep, loads

# A request body of 20 MiB in base64, and room for the rest of the task.
MAX_BODY = MAX_REQUEST_BYTES * 4 // 3 + 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow a sender may be: so many seconds without a byte, and on average so many bytes a second after the first of these."""

    silence: float = 30.0
    bytes_per_second: float = 16 * 1024

    def deadline(self, start: float, now: float, got: int) -> float:
        """When to give up."""
        return min(now + self.silence, start + self.silence + got / self.bytes_per_second)


PACE = Pace()


async def read(request: Request, pace: Pace = PACE, most: int = MAX_BODY) -> bytes:
    """The whole body. Raises TooLargeError before it is all read, SlowSenderError when it does not come."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > most:
        raise TooLargeError(f"the body has {announced} bytes, and at most {most} are taken")
    body, loop = bytearray(), asyncio.get_running_loop()
    start = loop.time()
    try:
        async with asyncio.timeout_at(pace.deadline(start, start, 0)) as clock:
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise SlowSenderError(f"the sender went away after {len(body)} bytes of the body")
                body += message.get("body", b"")
                if len(body) > most:
                    raise TooLargeError(f"the body has more than the {most} bytes that are taken")
                if not message.get("more_body", False):
                    return bytes(body)
                clock.reschedule(pace.deadline(start, loop.time(), len(body)))
    except TimeoutError:
        raise SlowSenderError(f"the body came too slowly: {len(body)} bytes in {loop.time() - start:.0f} s, and then none") from None


async def read_json(request: Request, empty: object = None) -> object:
    """The body as JSON; `empty`, if given, for no body at all. Raises UnsupportedTypeError, and InvalidArgumentError for broken JSON."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedTypeError(f"the body must be application/json, not {kind}")
    raw = await read(request)
    return empty if empty is not None and not raw else parse(raw)


def parse(raw: bytes) -> object:
    """JSON, or InvalidArgumentError with the place where it breaks."""
    try:
        data = loads(raw)
    except ValueError as error:
        raise InvalidArgumentError(FieldError("", f"this is not JSON: {error}")) from None
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and is_deep(data):
        raise InvalidArgumentError(FieldError("", f"this is JSON nested more than {MAX_DEPTH} deep"))
    return data
