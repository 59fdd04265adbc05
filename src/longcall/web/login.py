"""/login: a form for a token, and the session that a browser gets for it. No script, nothing from elsewhere."""

from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from longcall.core import access, session
from longcall.core.errors import PermissionDeniedError
from longcall.web import form, origin, problems
from longcall.web.auth import COOKIE, CSRF_COOKIE, TokenGuard, address, refuse_forged
from longcall.web.rates import Buckets, Rate

PATH, HOME = "/login", "/"
FAILURES = Rate("login", per_second=0.1, burst=10)
_MAX_FORM = 4096  # bytes
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # under no-referrer a browser sends `Origin: null` with a form (Fetch, 3.2), which is nobody's origin
}


@dataclass(frozen=True)
class Login:
    """Gives a session for a token. `failures` counts wrong tokens by address."""

    guard: TokenGuard
    failures: Buckets
    known: Collection[str]
    app_engine: bool

    async def answer(self, request: Request) -> Response:
        """The form, or what comes of sending it. Raises PermissionDeniedError for another site's form."""
        if request.method != "POST":
            return _page()
        refuse_forged(request, self.known)
        who = address(request, app_engine=self.app_engine)
        if not (reading := self.failures.look(who)).passed:
            return problems.too_often(PATH, self.failures.rate.headers(reading))
        sent = await form.read(request, _MAX_FORM)
        token = access.holder(self.guard.tokens, sent.get("token", [""])[0].strip())
        if token is None:
            self.failures.take(who)
            return _page("This token is not known here.", HTTPStatus.UNAUTHORIZED)
        return self._begun(request, session.begin(token, self.guard.secret, self.guard.clock.now()))

    async def end(self, request: Request) -> Response:
        """Forget the session in this browser. Raises PermissionDeniedError without its CSRF token."""
        found = self.guard.session(request)
        if found is None:
            raise PermissionDeniedError("there is no session to end")
        refuse_forged(request, self.known, found.csrf, await _field(request, "csrf"))
        answer = RedirectResponse(PATH, HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE)
        answer.delete_cookie(CSRF_COOKIE)
        return answer

    def _begun(self, request: Request, begun: session.Session) -> Response:
        answer = RedirectResponse(HOME, HTTPStatus.SEE_OTHER)
        life = int(session.LIFE.total_seconds())
        plain = request.url.scheme == "http" and origin.is_loopback(origin.host_of(request.headers.get("host", "")))
        for name, value, hidden in ((COOKIE, begun.value, True), (CSRF_COOKIE, begun.csrf, False)):
            answer.set_cookie(name, value, max_age=life, secure=not plain, httponly=hidden, samesite="strict")
        return answer


async def _field(request: Request, name: str) -> str:
    """A field of the form; empty without one, or without a form."""
    sent = await form.read(request, _MAX_FORM) if form.is_form(request) else {}
    return sent.get(name, [""])[0].strip()


def _page(trouble: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    text = resources.files("longcall.web").joinpath("login.html").read_text("utf-8")
    said = f'<p role="alert">{trouble}</p>' if trouble else ""
    headers = _HEADERS | ({"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {})
    return HTMLResponse(text.replace("<!-- trouble -->", said), status, headers)
