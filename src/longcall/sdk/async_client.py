"""The client for programs with asyncio: the same surface, with `await`."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx2

from longcall.core.errors import LongcallError
from longcall.core.wire import Json
from longcall.sdk.errors import NoResponseError
from longcall.sdk.listening import Away, Listening
from longcall.sdk.many import AT_ONCE, Many, Progress
from longcall.sdk.messages import Answer, Broken, Filters, Request, Watched, body_request
from longcall.sdk.options import Duration, Moment, NewTask, TaskOptions
from longcall.sdk.server import Server, answer_of, broken_of, new_id
from longcall.sdk.talk import Talks
from longcall.sdk.tries import Talk, trouble_of
from longcall.sdk.view import Requeued, Response, TaskView, response_fields, view_fields
from longcall.sdk.waiting import News

End = TypeVar("End")


@dataclass(frozen=True)
class AsyncResponse(Response):
    """A response whose body, where the view does not have it, is fetched by `await response.read()`; then `content` and `text` have it."""

    fetch_async: Callable[[], Awaitable[bytes]] = field(repr=False, compare=False)

    async def read(self) -> bytes:
        """The body as it came, byte for byte."""
        if "content" not in self.__dict__:
            self.__dict__["content"] = await self.fetch_async() if self.size else b""
        return self.content


@dataclass(frozen=True)
class AsyncTask(TaskView):
    """A task as it was when it was read; `refresh` reads it again. `response` is the target's last complete one."""

    client: "AsyncLongcall" = field(repr=False, compare=False)
    received: AsyncResponse | None = field(default=None, kw_only=True)

    @property
    def response(self) -> AsyncResponse:
        """As `TaskView.response`, with a `read`."""
        if self.received is None:
            raise NoResponseError(self)
        return self.received

    async def wait(self, timeout: Duration | None = None, on_news: "News[AsyncTask] | None" = None) -> "AsyncTask":  # noqa: ASYNC109 — the surface of both clients
        """As `AsyncLongcall.wait`; the server may be away for any time meanwhile, since this task is known to exist."""
        return await self.client._wait(self.id, timeout, on_news, self)  # noqa: SLF001 — a task and its client are one thing in two parts

    def events(self, on_away: Away | None = None) -> "AsyncIterator[AsyncTask]":
        """As `Longcall.events`: `async for seen in task.events():`."""
        return self.client.events(self.id, on_away)

    async def refresh(self) -> "AsyncTask":
        """Read the task again."""
        return await self.client.get(self.id)

    async def cancel(self) -> "AsyncTask":
        """As `AsyncLongcall.cancel`."""
        return await self.client.cancel(self.id)

    async def retry(self) -> "AsyncTask":
        """As `AsyncLongcall.retry`."""
        return await self.client.retry(self.id)


class AsyncLongcall:
    """As `Longcall`, for one event loop."""

    def __init__(self, base_url: str | None = None, token: str | None = None) -> None:
        self.server: Server = Server.of(base_url, token)
        self._http = httpx2.AsyncClient(**self.server.client_options())
        self._talks = Talks(self.server.base_url, self._view)

    async def submit(
        self,
        url: str,
        *,
        id: str | None = None,  # noqa: A002 — the API's own word
        schedule_time: Moment | None = None,
        **options: Unpack[TaskOptions],
    ) -> AsyncTask:
        """As `Longcall.submit`."""
        return await self._drive(self._talks.submit(id or new_id(), url, schedule_time, options))

    async def submit_many(
        self, requests: Iterable[NewTask], *, at_once: int = AT_ONCE, progress: Progress | None = None
    ) -> tuple[AsyncTask, ...]:
        """As `Longcall.submit_many`."""
        many = Many(requests, at_once, self._talks)
        senders = [asyncio.ensure_future(self._send_many(many, progress)) for _ in range(min(at_once, len(many.requests)))]
        try:
            await asyncio.gather(*senders)
        finally:
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
        return many.tasks()

    async def get(self, id: str) -> AsyncTask:  # noqa: A002 — the API's own word
        """Read a task. Raises NotFoundError."""
        return await self._drive(self._talks.get(id))

    async def wait(
        self,
        id: str,  # noqa: A002 — the API's own word
        timeout: Duration | None = None,  # noqa: ASYNC109 — the surface of both clients
        on_news: News[AsyncTask] | None = None,
    ) -> AsyncTask:
        """As `Longcall.wait`."""
        return await self._wait(id, timeout, on_news, None)

    def events(self, id: str, on_away: Away | None = None) -> AsyncIterator[AsyncTask]:  # noqa: A002 — the API's own word
        """As `Longcall.events`: `async for task in client.events(id):`."""
        return self._listen(self._talks.events(id, on_away))

    def changes(self, on_away: Away | None = None, **filters: Unpack[Watched]) -> AsyncIterator[AsyncTask]:
        """As `Longcall.changes`: `async for task in client.changes():`."""
        return self._listen(self._talks.changes(filters, on_away))

    async def list(self, **filters: Unpack[Filters]) -> AsyncIterator[AsyncTask]:
        """As `Longcall.list`: `async for task in client.list(…)`."""
        tasks, token = await self._drive(self._talks.page(filters, ""))
        while True:
            for task in tasks:
                yield task
            if not token:
                return
            tasks, token = await self._drive(self._talks.page(filters, token))

    async def cancel(self, id: str) -> AsyncTask:  # noqa: A002 — the API's own word
        """As `Longcall.cancel`."""
        return await self._drive(self._talks.cancel(id))

    async def retry(self, id: str) -> AsyncTask:  # noqa: A002 — the API's own word
        """As `Longcall.retry`."""
        return await self._drive(self._talks.retry(id))

    async def forget(self, id: str) -> None:  # noqa: A002 — the API's own word
        """As `Longcall.forget`."""
        await self._drive(self._talks.forget(id))

    async def requeue(self, *, dry_run: bool = False) -> Requeued:
        """As `Longcall.requeue`."""
        return await self._drive(self._talks.requeue(dry_run=dry_run))

    async def response(self, id: str) -> bytes:  # noqa: A002 — the API's own word
        """As `Longcall.response`."""
        return await self._drive(self._talks.body(id))

    @asynccontextmanager
    async def stream(self, id: str) -> AsyncIterator[AsyncIterator[bytes]]:  # noqa: A002 — the API's own word
        """As `Longcall.stream`: `async with client.stream(id) as chunks:`."""
        request = body_request(id)
        try:
            async with self._http.stream(**self.server.request_options(request)) as answer:
                if not answer.is_success:
                    raise trouble_of(answer_of(answer, await answer.aread(), 0), self.server.base_url, request)
                yield answer.aiter_raw()
        except httpx2.RequestError as error:
            raise trouble_of(broken_of(error, 0), self.server.base_url, request) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _wait(self, task_id: str, timeout: Duration | None, on_news: News[AsyncTask] | None, seen: AsyncTask | None) -> AsyncTask:  # noqa: ASYNC109 — as above
        return await self._drive(self._talks.wait(task_id, timeout, seen, on_news).talk(time.monotonic()))

    def _view(self, data: Json) -> AsyncTask:
        found = data.get("response")
        response = (
            AsyncResponse(**response_fields(found), fetch=_not_here, fetch_async=lambda: self.response(data["id"])) if found else None
        )
        return AsyncTask(**view_fields(data), received=response, client=self)

    async def _drive(self, talk: Talk[End]) -> End:
        try:
            request = next(talk)
            while True:
                request = talk.send(await self._send(request))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # a generator's return value comes as Any

    async def _send_many(self, many: Many[AsyncTask], progress: Progress | None) -> None:
        while sending := many.take():
            try:
                many.came(sending, await self._drive(sending.talk))
            except LongcallError as error:
                many.failed(sending, error)
            if progress:
                progress(many.done, len(many.requests))

    async def _listen(self, listening: Listening[AsyncTask]) -> AsyncIterator[AsyncTask]:
        while listening.goes_on():
            request = listening.request()
            await asyncio.sleep(request.after)
            try:
                async with self._http.stream(**self.server.request_options(request)) as answer:
                    if not listening.opens(answer.status_code, answer.headers.get("content-type", "")):
                        listening.answered(answer_of(answer, await answer.aread(), time.monotonic()))
                        continue
                    async for chunk in answer.aiter_raw():
                        for task in listening.hear(chunk):
                            yield task
                        if not listening.goes_on():
                            return
                    listening.ended()
            except httpx2.RequestError as error:
                listening.answered(broken_of(error, time.monotonic()))

    async def _send(self, request: Request) -> Answer | Broken:
        await asyncio.sleep(request.after)
        try:
            async with self._http.stream(**self.server.request_options(request)) as answer:
                body = b"".join([chunk async for chunk in answer.aiter_raw()]) if request.as_it_is else await answer.aread()
                return answer_of(answer, body, time.monotonic())
        except httpx2.RequestError as error:
            return broken_of(error, time.monotonic())


def _not_here() -> bytes:
    raise LongcallError("this body is not in the task's view: `await response.read()` fetches it")
