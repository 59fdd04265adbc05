"""Reading a request's body: its size, its type, and JSON as RFC 8259 has it."""

from starlette.requests import Request

from longcall.core.errors import FieldError, InvalidArgumentError, TooLargeError, UnsupportedTypeError
from longcall.core.task import MAX_REQUEST_BYTES
from longcall.core.wire import loads

# A request body of 20 MiB in base64, and room for the rest of the task.
MAX_BODY = MAX_REQUEST_BYTES * 4 // 3 + 1024 * 1024


async def read(request: Request) -> bytes:
    """The whole body. Raises TooLargeError before it is all read."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > MAX_BODY:
        raise TooLargeError(f"the body has {announced} bytes, and at most {MAX_BODY} are taken")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLargeError(f"the body has more than the {MAX_BODY} bytes that are taken")
    return bytes(body)


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
        return loads(raw)
    except ValueError as error:
        raise InvalidArgumentError(FieldError("", f"this is not JSON: {error}")) from None
