"""Who may come in: the gate before the API, and its three ways to know a caller."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longcall.core import access, session
from longcall.core.access import Caller, Right
from longcall.core.errors import CallerMistake, PermissionDeniedError, UnauthenticatedError
from longcall.engine.ports import Clock
from longcall.web import origin, problems
from longcall.web.id_tokens import IdTokens
from longcall.web.rates import Buckets

COOKIE, CSRF_COOKIE = "longcall-session", "longcall-csrf"
CREATE = ("POST", "/v1/tasks")
FORMS = ("/tasks/", "/tasks:")  # the dashboard's: what is posted there carries the CSRF token in a field, which web/dashboard looks at
_ANYBODY = Caller("", Right.WRITE)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is calling. `ambient`: a browser sends what shows it by itself, so another site's page may have made it do so.

    `csrf`: what changes must carry in X-CSRF-Token; empty for nothing.
    """

    caller: Caller
    ambient: bool
    csrf: str = ""


class Guard(Protocol):
    """One way to know callers."""

    async def identify(self, request: HTTPConnection) -> Identity:
        """Tell who is calling. Raises UnauthenticatedError, PermissionDeniedError for one who is known and not let in."""
        ...


@dataclass(frozen=True, slots=True)
class NoGuard:
    """AUTH none: whoever reaches loopback. A name that is not this machine's is a page's that was made to point here (DNS rebinding)."""

    known: Collection[str]

    async def identify(self, request: HTTPConnection) -> Identity:
        """Everybody may do everything."""
        if not origin.is_known(request.headers.get("host", ""), self.known):
            raise PermissionDeniedError("this server answers to localhost and loopback addresses; LONGCALL_PUBLIC_URL adds a name")
        return Identity(_ANYBODY, ambient=True)


@dataclass(slots=True)
class TokenGuard:
    """AUTH token: one of the tokens, or the session that /login began for one of them. The tokens may be changed while it stands."""

    tokens: Sequence[access.Token]
    secret: str
    clock: Clock

    async def identify(self, request: HTTPConnection) -> Identity:
        """A token counts before a cookie, also a wrong one."""
        shown = bearer(request.headers)
        if shown is not None:
            token = access.holder(self.tokens, shown)
            if token is None:
                raise UnauthenticatedError("this token is not known here")
            return Identity(token.caller, ambient=False)
        found = self.session(request)
        if found is None:
            raise UnauthenticatedError
        return Identity(found.caller, ambient=True, csrf=found.csrf)

    def session(self, request: HTTPConnection) -> session.Session | None:
        """The session that the request's cookie stands for."""
        return session.resume(self.tokens, self.secret, request.cookies.get(COOKIE, ""), self.clock.now())


@dataclass(frozen=True, slots=True)
class GoogleGuard:
    """AUTH google: an ID token, or the header that Identity-Aware Proxy signs; only of those who are allowed."""

    id_tokens: IdTokens
    iap: IdTokens
    callers: Mapping[str, Right]

    async def identify(self, request: HTTPConnection) -> Identity:
        """IAP's header counts first: the token that got a program past IAP is meant for IAP."""
        assertion, token = request.headers.get("x-goog-iap-jwt-assertion"), bearer(request.headers)
        if assertion is not None and self.iap.audiences:
            return Identity(self._allowed(await self.iap.email(assertion)), ambient=True)
        if token is None:
            raise UnauthenticatedError
        return Identity(self._allowed(await self.id_tokens.email(token)), ambient=False)

    def _allowed(self, email: str) -> Caller:
        caller = access.allowed(self.callers, email)
        if caller is None:
            raise PermissionDeniedError(f"{email} is not among LONGCALL_ALLOWED_CALLERS")
        return caller


@dataclass(frozen=True)
class Gate:
    """Lets in who may, to do what they may, as often as they may.

    What is behind it finds the caller in `request.state.caller`, and what a form must carry in `request.state.csrf`.
    """

    app: ASGIApp
    guard: Guard
    creates: Buckets
    known: Collection[str]
    app_engine: bool
    login: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises UnauthenticatedError, PermissionDeniedError."""
        request = Request(scope)
        try:
            identity = await self.guard.identify(request)
        except UnauthenticatedError:
            if not self.login or request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
                raise
            await RedirectResponse(self.login, 303)(scope, receive, send)
            return
        self._permit(request, identity)
        scope.setdefault("state", {}).update(caller=identity.caller, csrf=identity.csrf)
        if (request.method, scope["path"]) != CREATE:
            await self.app(scope, receive, send)
            return
        await self._limited(identity, request)(scope, receive, send)

    def _permit(self, request: Request, identity: Identity) -> None:
        if not identity.caller.right.covers(access.right_for(request.method)):
            raise PermissionDeniedError(f"{identity.caller.name} may only read here, and this is a change")
        if identity.ambient:
            refuse_forged(request, self.known, "" if request.url.path.startswith(FORMS) else identity.csrf)

    def _limited(self, identity: Identity, request: Request) -> ASGIApp:
        reading = self.creates.take(identity.caller.name or address(request, app_engine=self.app_engine))
        headers = self.creates.rate.headers(reading)
        if not reading.passed:
            return problems.too_often(request.url.path, headers)

        async def told(scope: Scope, receive: Receive, send: Send) -> None:
            async def with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], *((name.lower().encode(), text.encode()) for name, text in headers.items())]
                await send(message)

            await self.app(scope, receive, with_headers)

        return told


def refuse_forged(request: Request, known: Collection[str], csrf: str = "", sent: str = "") -> None:
    """Refuse a change that another site's page may have made a browser ask for. Raises PermissionDeniedError."""
    if access.right_for(request.method) is Right.READ:
        return
    if origin.is_foreign(request.headers.get("origin"), request.headers.get("host", ""), known):
        raise PermissionDeniedError("this change comes from another site's page")
    refuse_unmarked(request, csrf, sent)


def refuse_unmarked(request: Request, csrf: str, sent: str) -> None:
    """Refuse a change without its session's CSRF token, in X-CSRF-Token or as `sent`: a form's field. Raises PermissionDeniedError."""
    if csrf and not access.same(request.headers.get("x-csrf-token", sent), csrf):
        raise PermissionDeniedError(f"a change in a browser's session carries X-CSRF-Token, which is in the cookie {CSRF_COOKIE}")


def bearer(headers: Headers) -> str | None:
    """The token in `Authorization: Bearer` (RFC 6750, 2.1); None without one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def address(request: HTTPConnection, *, app_engine: bool) -> str:
    """Where a request comes from: what App Engine's front end says of it there, or the connection's other end."""
    told = request.headers.get("x-appengine-user-ip") if app_engine else None
    return told or (request.client.host if request.client else "")


def check_host(auth: str, host: str) -> None:
    """Refuse to listen where others can reach us while nobody is asked who they are. Raises CallerMistake."""
    if auth not in {"", "none"} or origin.is_loopback(host):
        return
    said = "LONGCALL_AUTH is none" if auth else "LONGCALL_AUTH is not set"
    raise CallerMistake(f"{host} can be reached from outside and {said}: set it to token or google, or listen on a loopback address")
