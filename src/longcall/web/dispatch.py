"""The queue's door: POST /dispatch."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from longcall.core.delivery import Delivery, HandPut, Visit
from longcall.core.errors import CallerMistake, LongcallError, OurFault, PermissionDeniedError
from longcall.core.messages import Message, TaskMessage, message_from_json
from longcall.core.task import TaskSpec, Unreadable
from longcall.core.wire import dumps, loads
from longcall.engine import observe
from longcall.engine.dispatch import Dispatcher
from longcall.engine.ports import Clock
from longcall.web import body, problems, trace
from longcall.web.queue_door import QueueDoor
from longcall.web.schema import Reader


@dataclass(frozen=True)
class DispatchDoor:
    """Opens only for the queue; reads what it delivers and hands it to the engine."""

    dispatcher: Dispatcher
    clock: Clock
    reader: Reader
    doors: Sequence[QueueDoor]
    queue_parent: str
    baggage: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        try:
            answer = await self.answer(request)
        except (LongcallError, HTTPException) as error:
            answer = await problems.answer(request, error)
        await answer(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """Answer one delivery: 200 or 429; 403 when it is not from the queue; 500, never 503, which throttles a whole App Engine queue."""
        if request.method != "POST":
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        try:
            await self._admit(request)
            answer = await self.dispatcher.dispatch(self._delivery(request, await body.read(request)))
        except OurFault as error:
            observe.dispatch_answered(HTTPStatus.INTERNAL_SERVER_ERROR)
            return problems.problem(HTTPStatus.INTERNAL_SERVER_ERROR, error.code, str(error), request.url.path)
        observe.dispatch_answered(answer.status)
        return Response(dumps(answer.details), answer.status, media_type="application/json")

    async def _admit(self, request: Request) -> None:
        for door in self.doors:
            if await door.opens(request.headers):
                return
        raise PermissionDeniedError

    def _delivery(self, request: Request, raw: bytes) -> Delivery:
        match self._read(raw):
            case TaskMessage() as message:
                asked = None if message.create is None else partial(self._own, raw)
                return Visit(message.task, message.created, message.version, message.at, asked, message.caller)
            case TaskSpec() | Unreadable() as asked:
                return self._hand_put(request, asked)
            case message:
                return message

    def _read(self, raw: bytes) -> Message | TaskSpec | Unreadable:
        """A message of ours, a task put by hand, or nothing that can be read."""
        try:
            data = body.parse(raw)
            return message_from_json(data) or self.reader.hand_put(data)
        except (CallerMistake, ValueError, OverflowError) as error:
            return Unreadable(raw, str(error))

    def _own(self, raw: bytes) -> TaskSpec | Unreadable:
        """What a message of ours asks for; read a second time, for which it seldom is needed."""
        try:
            return self.reader.own(loads(raw)["create"])
        except (CallerMistake, ValueError, OverflowError) as error:
            return Unreadable(raw, str(error))

    def _hand_put(self, request: Request, asked: TaskSpec | Unreadable) -> HandPut:
        name = _queue_header(request, "TaskName") or "unnamed"
        queue = f"{self.queue_parent}/queues/{_queue_header(request, 'QueueName')}"
        return HandPut(name, queue, self._eta(_queue_header(request, "TaskETA")), asked, trace.caller(request, with_baggage=self.baggage))

    def _eta(self, text: str) -> datetime:
        try:
            return datetime.fromtimestamp(float(text), UTC)
        except (ValueError, OverflowError):
            return self.clock.now()


def _queue_header(request: Request, name: str) -> str:
    """A header of App Engine's or of Cloud Tasks' own dispatches."""
    return request.headers.get(f"x-appengine-{name}") or request.headers.get(f"x-cloudtasks-{name}", "")
