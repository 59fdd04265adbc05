"""Which server the SDK talks to, and how: the URL, the token, and what httpx2 is to do."""

import ipaddress
import os
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx2

from longcall import __version__
from longcall.core.errors import FieldError, InvalidArgumentError
from longcall.sdk.messages import DEFAULT_URL, Answer, Broken, Request

_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=20)  # any number of waits at once
CONNECT_LIMIT = 10.0  # seconds for DNS, TCP and TLS


@dataclass(frozen=True, slots=True)
class Server:
    """A Longcall API. `token` goes into `Authorization: Bearer`; empty for none."""

    base_url: str
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, base_url: str | None, token: str | None) -> "Server":
        """What was given, else LONGCALL_URL and LONGCALL_TOKEN, else the port of `longcall up`. Raises InvalidArgumentError for no URL."""
        environ = os.environ  # noqa: TID251 — the SDK runs in its caller's own program, which has no settings of ours
        url = base_url or environ.get("LONGCALL_URL") or DEFAULT_URL
        return cls(_checked(url), (token or environ.get("LONGCALL_TOKEN") or "").strip())

    def client_options(self) -> dict[str, Any]:
        """What both of httpx2's clients are made with. Proxies of the environment are used, but never for loopback."""
        headers = {"User-Agent": f"longcall/{__version__}"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        direct = {f"all://{httpx2.URL(self.base_url).netloc.decode()}": None} if is_loopback(self.base_url) else None
        return {"headers": headers, "mounts": direct, "timeout": CONNECT_LIMIT, "limits": LIMITS}

    def request_options(self, request: Request) -> dict[str, Any]:
        """One request for httpx2. A body's bytes are asked for as they are: what lies between must not pack them."""
        options: dict[str, Any] = {
            "method": request.method,
            "url": f"{self.base_url}{request.path}",
            "content": request.body,
            "timeout": httpx2.Timeout(request.patience, connect=CONNECT_LIMIT),
            "follow_redirects": request.as_it_is,
            "headers": dict(request.headers) | ({"Accept-Encoding": "identity"} if request.as_it_is else {}),
        }
        if request.body is not None:
            options["headers"]["Content-Type"] = "application/json"
        return options


def new_id() -> str:
    """An id for a task, made before the first try: the same create sent again is then the same task."""
    return str(uuid.uuid4())  # noqa: TID251 — as above: the caller's own program, where nothing hands ids in


def answer_of(response: httpx2.Response, body: bytes, at: float) -> Answer:
    """An answer as a value."""
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body, at)


def broken_of(error: httpx2.RequestError, at: float) -> Broken:
    """What went wrong, as a value."""
    sent = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.ProxyError)
    if isinstance(error, httpx2.TimeoutException):
        return Broken("it stayed silent for too long", sent, at)
    return Broken(_ERRNO.sub("", str(error)) or type(error).__name__, sent, at)


def _checked(text: str) -> str:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise InvalidArgumentError(FieldError("url", f"{text!r} is no URL: {error}")) from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidArgumentError(FieldError("url", f"{text!r} is no URL of a server: write it like {DEFAULT_URL}"))
    return text.strip().rstrip("/")


def is_loopback(base_url: str) -> bool:
    """Tell whether a URL means this machine."""
    host = httpx2.URL(base_url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
