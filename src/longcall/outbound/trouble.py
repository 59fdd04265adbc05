"""What an exception of the HTTP client means: which outcome, and a plain sentence. No such exception passes beyond here."""

import errno
import ssl
from datetime import datetime, timedelta

import aiohttp

from longcall.core.attempt import Break, Broken, Trouble
from longcall.core.errors import LongcallError
from longcall.core.hints import looks_like
from longcall.core.target import FORBIDDEN_ADDRESS
from longcall.outbound.connections import ForbiddenAddressError


class NothingSentError(LongcallError):
    """Nothing could be sent; `trouble` says what was missing."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        super().__init__(trouble.message)


class SilentError(Exception):
    """The idle clock struck."""


class NotResentError(aiohttp.ClientError):
    """Stands for an error after which aiohttp would send a GET, HEAD, PUT, DELETE or OPTIONS again by itself."""


def broken(error: BaseException, sent_time: datetime | None, now: datetime) -> Broken:
    """Tell what became of a call that ended with this exception. `sent_time` None: the connection never stood, so nothing was sent."""
    cause = error.__cause__ if isinstance(error, NotResentError) and error.__cause__ else error
    if sent_time is None and isinstance(forbidden := getattr(cause, "os_error", cause), ForbiddenAddressError):
        return Broken(Break.REFUSED, Trouble(FORBIDDEN_ADDRESS, str(forbidden)), now)
    if sent_time is None:
        return Broken(Break.UNREACHABLE, _unreachable(cause), now)
    return Broken(Break.DISCONNECTED, _disconnected(cause, now - sent_time), now, sent_time)


def _unreachable(error: BaseException) -> Trouble:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Trouble("NAME_NOT_FOUND", f"the name {error.host} was not found", "check the URL's host")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError() | ssl.SSLError():
            return Trouble("TLS", f"no TLS connection: {error}", "the certificate may not be the host's, or the port may not speak TLS")
        case aiohttp.ConnectionTimeoutError() | TimeoutError():
            return Trouble(
                "CONNECT_TIMEOUT", "no connection within connectTimeout", "the host may be down, or a firewall may drop the packets"
            )
        case aiohttp.ClientConnectorError(os_error=OSError(errno=errno.ECONNREFUSED)):
            return Trouble(
                "CONNECTION_REFUSED", f"nothing listens at {error.host}:{error.port}", "the service may be down or on another port"
            )
        case aiohttp.InvalidURL():
            return Trouble("BAD_URL", f"{error} is no URL that can be called")
        case _:
            return Trouble("NO_CONNECTION", f"no connection: {_said(error)}")


def _disconnected(error: BaseException, open_for: timedelta) -> Trouble:
    into, hint = f"{open_for.total_seconds():.1f} s into the call", looks_like(open_for)
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            why = _unreachable(error)
            return Trouble(why.code, f"the target answered 401, and a second try with a fresh token did not reach it: {why.message}")
        case aiohttp.ServerDisconnectedError():
            return Trouble("CLOSED", f"the target closed the connection {into}, before it answered", hint)
        case OSError(errno=errno.ECONNRESET | errno.EPIPE):
            return Trouble("RESET", f"the connection was reset {into}", hint)
        case OSError(errno=errno.ETIMEDOUT):
            return Trouble("NO_SIGN_OF_LIFE", f"the target's machine stopped answering keepalives {into}", "it may be down or cut off")
        case aiohttp.ClientOSError():
            return Trouble("CLOSED", f"the connection was closed {into}, while the request was being written", hint)
        case aiohttp.ClientPayloadError():
            return Trouble("CUT", f"the response broke off {into}, before it was complete", hint)
        case aiohttp.ClientResponseError():
            return Trouble("BAD_HTTP", f"what came back {into} is no HTTP response: {_first_line(error.message)}")
        case _:
            return Trouble("BROKEN", f"the call broke {into}: {_said(error)}")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip(":")


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
