"""The outermost layer: how large a request's head may be, and what every answer tells a browser."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longcall.web import problems

MAX_HEADERS = 100
MAX_HEAD = 32 * 1024  # bytes of path, query and headers; server.py gives up on a longer one before it is all there
# No page of ours runs a script, sends a form elsewhere or stands in another site's frame; nobody keeps what only a caller may read.
_ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


@dataclass(frozen=True, slots=True)
class Edge:
    """Wraps the whole app. An answer's own headers win over those of `_ALWAYS`."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; 431 (RFC 6585) for too large a head."""

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in _ALWAYS.items() if each[0] not in own)]
            await send(message)

        size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(name) + len(value) for name, value in scope["headers"])
        if size > MAX_HEAD or len(scope["headers"]) > MAX_HEADERS:
            await _too_large(scope["path"])(scope, receive, safely)
        else:
            await self.app(scope, receive, safely)


def _too_large(path: str) -> ASGIApp:
    detail = f"a request's head has at most {MAX_HEADERS} headers and {MAX_HEAD} bytes"
    return problems.problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "INVALID_ARGUMENT", detail, path[:200])
