"""Cancel and run again, one task or all that a filter shows: first a page that says what will happen, then a form that does it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from longcall.core.errors import FailedPreconditionError, FieldError, InvalidArgumentError, LongcallError
from longcall.core.task import State, Task
from longcall.engine.control import Control
from longcall.engine.ports import Clock
from longcall.web import form
from longcall.web.auth import refuse_unmarked
from longcall.web.dashboard import filters, shown
from longcall.web.dashboard.filters import Filters
from longcall.web.dashboard.paint import Painter

MOST_AT_ONCE, MOST_SIDE_BY_SIDE = 500, 16
_MOST_FORM = 512 * 1024  # bytes: so many ids of the longest kind


@dataclass(frozen=True, slots=True)
class Chosen:
    """A task as it was when somebody decided about it."""

    task_id: str
    version: int

    @classmethod
    def read(cls, text: str) -> "Chosen":
        """Read a form's field. Raises InvalidArgumentError."""
        version, _, task_id = text.partition(" ")
        if not (version.isascii() and version.isdigit() and task_id):
            raise InvalidArgumentError(FieldError("/task", "a version and an id were expected: take the form's own fields"))
        return cls(task_id, int(version[:9]))

    def __str__(self) -> str:
        return f"{self.version} {self.task_id}"


@dataclass(frozen=True, slots=True)
class Action:
    """Something that is done to tasks. `states`: those it means; `usual`: those it means when a filter names none."""

    name: str
    states: frozenset[State]
    usual: frozenset[State]
    fits: Callable[[Task], bool]

    def narrowed(self, asked: Filters) -> Filters:
        """The filter without the tasks that this is not for."""
        due = self.states & {State.SCHEDULED, State.WAITING} if asked.overdue else self.usual
        return replace(asked, states=asked.states & self.states if asked.states else due, token="")


CANCEL = Action(
    "cancel",
    frozenset({State.SCHEDULED, State.WAITING, State.RUNNING}),
    frozenset({State.SCHEDULED, State.WAITING, State.RUNNING}),
    shown.can_cancel,
)
RETRY = Action(
    "retry",
    frozenset({State.SCHEDULED, State.WAITING, State.FAILED, State.CANCELLED}),
    frozenset({State.FAILED, State.CANCELLED}),  # what waits for its time is only hurried when it was asked for by name
    shown.can_retry,
)


@dataclass(frozen=True)
class Changes:
    """The pages and forms of one action."""

    action: Action
    control: Control
    clock: Clock
    painter: Painter

    async def ask_one(self, request: Request) -> Response:
        """What will happen to a task. Raises NotFoundError."""
        task = await self.control.read(request.path_params["task_id"])
        values = {"task": task, "action": self.action.name, "fits": self.action.fits(task), "again": shown.again(task)}
        values["chosen"] = Chosen(task.id, task.version)
        return self.painter.page(request, "change.html", self.clock.now(), values)

    async def do_one(self, request: Request) -> Response:
        """Do it. Raises PermissionDeniedError for a forged form, NotFoundError, FailedPreconditionError, UnavailableError."""
        task_id = request.path_params["task_id"]
        chosen = Chosen.read((await _sent(request)).get("task", [""])[0])
        if chosen.task_id != task_id:
            raise InvalidArgumentError(FieldError("/task", "this form is another task's"))
        await self._do(chosen)
        return RedirectResponse(f"/tasks/{task_id}?said={self.action.name}", 303)

    async def ask_many(self, request: Request) -> Response:
        """Which tasks, and how many."""
        asked = filters.read(request.query_params.multi_items())
        narrowed = self.action.narrowed(asked)
        found: Sequence[Task] = []
        more = False
        if not asked.wrong and narrowed.states:
            page = await self.control.page(narrowed.query(self.clock.now(), MOST_AT_ONCE))
            found, more = [task for task in page.tasks if self.action.fits(task)], page.next_token != ""
        values = {
            "action": self.action.name,
            "filters": asked,
            "tasks": found,
            "more": more,
            "most": MOST_AT_ONCE,
            "ran": sum(any(each.may_have_run for each in task.attempts) for task in found),
            "chosen": lambda task: Chosen(task.id, task.version),
        }
        return self.painter.page(request, "changes.html", self.clock.now(), values)

    async def do_many(self, request: Request) -> Response:
        """Do it to exactly those that were shown. Raises PermissionDeniedError for a forged form, InvalidArgumentError."""
        sent = await _sent(request)
        chosen = [Chosen.read(text) for text in sent.get("task", [])[:MOST_AT_ONCE]]
        refused = await self._try_all(chosen)
        values = {
            "action": self.action.name,
            "filters": filters.read(request.query_params.multi_items()),
            "done": len(chosen) - len(refused),
            "refused": refused,
        }
        return self.painter.page(request, "changed.html", self.clock.now(), values)

    async def _try_all(self, chosen: Iterable[Chosen]) -> list[tuple[str, str]]:
        """Those that could not be done, and why."""
        room = asyncio.Semaphore(MOST_SIDE_BY_SIDE)

        async def trouble(each: Chosen) -> str:
            async with room:
                try:
                    await self._do(each)
                except LongcallError as error:
                    return str(error)
            return ""

        wanted = list(chosen)
        said = await asyncio.gather(*(trouble(each) for each in wanted))
        return [(each.task_id, why) for each, why in zip(wanted, said, strict=True) if why]

    async def _do(self, chosen: Chosen) -> None:
        if self.action is CANCEL:
            await self.control.cancel(chosen.task_id)
            return
        # Once for what was seen: neither a form sent twice nor an old page runs again what has run again since.
        task = await self.control.read(chosen.task_id)
        if task.version != chosen.version:
            raise FailedPreconditionError(f"task {task.id} has changed since you looked: it is {task.state} now")
        await self.control.retry(chosen.task_id)


Answer = Callable[[Request], Awaitable[Response]]


async def _sent(request: Request) -> dict[str, list[str]]:
    """The form's fields, once it is known not to be forged: the gate leaves that to here."""
    sent = await form.read(request, _MOST_FORM)
    refuse_unmarked(request, request.state.csrf, sent.get("csrf", [""])[0])
    return sent
