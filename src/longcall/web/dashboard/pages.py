"""The pages that only show."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from longcall.core.task import Kind, State, Task, TaskSpec
from longcall.core.text import parse_bytes
from longcall.engine.control import Control
from longcall.engine.lease import alive
from longcall.engine.ports import Clock, Page, Query, Runner
from longcall.engine.stats import Stats
from longcall.web.dashboard import charts, filters, shown
from longcall.web.dashboard.changes import CANCEL, RETRY
from longcall.web.dashboard.filters import Filters
from longcall.web.dashboard.paint import Painter
from longcall.web.dashboard.timeline import timeline
from longcall.web.download import harmless
from longcall.web.render import Renderer

LIVE, RESTING = 2, 10  # seconds between looks at a page that is open
MOST_RUNNING, MOST_FAILED, MOST_SHOWN = 100, 10, 10
SILENT_SHOWN = timedelta(days=1)


@dataclass(frozen=True)
class Pages:
    """Overview, list and task. `project`: Google Cloud's, where we run there."""

    control: Control
    stats: Stats
    clock: Clock
    renderer: Renderer
    painter: Painter
    public_url: str
    project: str
    asks: bool = False

    async def overview(self, request: Request) -> Response:
        """What is running, what failed, who is there to run it."""
        counts, runners, recent, running, failed = await asyncio.gather(
            self.stats.counts.get(),
            self.stats.runners.get(),
            self.stats.recent.get(),
            self.control.page(Query(states=frozenset({State.RUNNING}), limit=MOST_RUNNING)),
            self.control.page(Query(states=frozenset({State.FAILED}), limit=MOST_FAILED)),
        )
        now = self.clock.now()
        values = {
            "counts": counts,
            "total": sum(counts.by_state.values()),
            "running": sorted(running.tasks, key=_began),
            "most_shown": MOST_SHOWN,
            "more_running": running.next_token != "",
            "failed": failed.tasks,
            "activity": charts.activity(recent.tasks, now),
            "durations": charts.durations(recent.tasks),
            "recent": recent,
            "runners": [each for each in runners if alive(each) or (not each.gone and each.age < SILENT_SHOWN)],
            "manned": any(alive(each) for each in runners),
            "gone": sum(each.gone for each in runners),
            "filters": Filters(),
            "public_url": self.public_url,
            "asks": self.asks,
            "live": LIVE,
        }
        return self.painter.page(request, "overview.html", now, values | self._words(runners))

    async def tasks(self, request: Request) -> Response:
        """A list by what the URL asks for."""
        asked, now = filters.read(request.query_params.multi_items()), self.clock.now()
        page = Page([]) if asked.wrong else await self.control.page(asked.query(now))
        values = {
            "filters": asked,
            "page": page,
            "many": [action.name for action in (RETRY, CANCEL) if action.narrowed(asked).states],
            "reasons": filters.REASONS,
            "kinds": list(Kind),
            "live": 0 if asked.wrong else LIVE,
        }
        return self.painter.page(request, "tasks.html", now, values | self._words(()))

    async def task(self, request: Request) -> Response:
        """One task, whole. Raises NotFoundError."""
        task = await self.control.read(request.path_params["task_id"])
        told, runners, now = await self.control.callbacks(task), await self.stats.runners.get(), self.clock.now()
        spec = task.spec if isinstance(task.spec, TaskSpec) else None
        values = {
            "task": task,
            "spec": spec,
            "view": self.renderer.view(task, told),
            "told": told,
            "timeline": timeline(task, now),
            "again": shown.again(task),
            "can_cancel": shown.can_cancel(task),
            "can_retry": shown.can_retry(task),
            "links": shown.links(task, self.project, now),
            "sent": shown.body(spec.request.body) if spec and isinstance(spec.request.body, bytes) else None,
            "got": shown.body(task.response.inline) if task.response and task.response.inline is not None else None,
            "raw": self._raw(task),
            "live": RESTING if task.state.ended else LIVE,
            "said": request.query_params.get("said", ""),
        }
        return self.painter.page(request, "task.html", now, values | self._words(runners))

    async def request_body(self, request: Request) -> Response:
        """The body that the target is sent, to be saved. Raises NotFoundError."""
        task, chunks = await self.control.request_body(request.path_params["task_id"])
        given = task.spec.request.headers if isinstance(task.spec, TaskSpec) else {}
        kind = next((value for name, value in given.items() if name.lower() == "content-type"), "application/octet-stream")
        return StreamingResponse(chunks, headers=harmless({"content-type": kind}))

    def _words(self, runners: Sequence[Runner]) -> dict[str, object]:
        now = self.clock.now()
        return {
            "states": list(State),
            "overdue": lambda task: shown.is_overdue(task, now),
            "cancellable": shown.can_cancel,
            "retryable": shown.can_retry,
            "good": alive,
            "silent": {each.name for each in runners if not alive(each)},
        }

    def _raw(self, task: Task) -> shown.Body | None:
        """What was no valid task, without the credentials in it."""
        raw = self.renderer.view(task).get("raw")
        return None if raw is None else shown.body(parse_bytes(raw))


def _began(task: Task) -> datetime:
    return task.attempts[-1].start_time if task.attempts else task.update_time
