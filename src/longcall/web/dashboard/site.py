"""The dashboard as an ASGI app."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from longcall.core.errors import LongcallError, UnavailableError
from longcall.engine.control import Control
from longcall.engine.ports import Clock
from longcall.engine.stats import Stats
from longcall.web import problems
from longcall.web.dashboard.changes import CANCEL, RETRY, Changes
from longcall.web.dashboard.pages import Pages
from longcall.web.dashboard.paint import Painter
from longcall.web.render import Renderer
from longcall.web.static import Static


@dataclass(frozen=True)
class Parts:
    """What the dashboard shows and changes tasks with. `asks`: callers are asked who they are; `project`: Google Cloud's, if any."""

    control: Control
    stats: Stats
    clock: Clock
    renderer: Renderer
    public_url: str
    version: str
    project: str = ""
    asks: bool = False


def make(parts: Parts) -> Starlette:
    """Put it together."""
    painter = Painter(Static.load(), parts.version)
    pages = Pages(parts.control, parts.stats, parts.clock, parts.renderer, painter, parts.public_url, parts.project, parts.asks)
    routes = [Route("/", pages.overview), Route("/tasks", pages.tasks)]
    for action in (CANCEL, RETRY):
        changes = Changes(action, parts.control, parts.clock, painter)
        for path, ask, do in (
            (f"/tasks:{action.name}", changes.ask_many, changes.do_many),
            (f"/tasks/{{task_id}}/{action.name}", changes.ask_one, changes.do_one),
        ):
            routes += [Route(path, ask), Route(path, do, methods=["POST"])]
    routes += [Route("/tasks/{task_id}/request", pages.request_body), Route("/tasks/{task_id}", pages.task)]

    async def trouble(request: Request, error: Exception) -> Response:
        """Say in a page what went wrong; of what was not foreseen nothing is told."""
        status, said = _told(error)
        values = {"status": status.value, "title": status.phrase, "said": said}
        answer = painter.page(request, "trouble.html", parts.clock.now(), values, status)
        if isinstance(error, UnavailableError):
            answer.headers["Retry-After"] = problems.RETRY_AFTER
        return answer

    return Starlette(routes=routes, exception_handlers={LongcallError: trouble, HTTPException: trouble, Exception: trouble})


def _told(error: Exception) -> tuple[HTTPStatus, str]:
    match error:
        case LongcallError():
            return problems.status_of(error), str(error)
        case HTTPException():
            return HTTPStatus(error.status_code), "There is no such page." if error.status_code == HTTPStatus.NOT_FOUND else ""
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; the log says what."
