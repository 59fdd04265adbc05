"""Watching tasks through whatever happens to the server meanwhile. No I/O and no clock here, as in tries.py: a client feeds it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic

from longcall.core.errors import UnavailableError
from longcall.core.wire import Json, loads
from longcall.sdk.errors import NotLongcallError
from longcall.sdk.messages import Answer, Broken, Request
from longcall.sdk.problems import passes
from longcall.sdk.sse import EventReader
from longcall.sdk.tries import TRIES, pause, trouble_of
from longcall.sdk.waiting import View

OK, NO_CONTENT = 200, 204
MAX_SEEN = 10_000  # tasks whose newest version is remembered
Away = Callable[[UnavailableError], None]


@dataclass
class Listening(Generic[View]):
    """One watch over any number of connections: `request` is the next one, and what comes of it is handed in.

    `single`: it watches one task, and is over with that task's end. What was heard of once is listened to through any trouble;
    before that a few tries are made.
    """

    first: Request
    base_url: str
    read: Callable[[Json], View]
    single: bool
    on_away: Away | None = None
    _over: bool = False
    _reader: EventReader = field(default_factory=EventReader)
    _seen: dict[str, tuple[object, int]] = field(default_factory=dict)
    _heard: bool = False
    _failures: int = 0
    _after: float = 0.0

    def goes_on(self) -> bool:
        """Tell whether there is more to come."""
        return not self._over

    def request(self) -> Request:
        """What to ask for next, from the place reached on."""
        self._reader = EventReader(self._reader.last_id)
        place = (("Last-Event-ID", self._reader.last_id),) if self._reader.last_id else ()
        return replace(self.first, after=self._after, headers=(*self.first.headers, *place))

    def opens(self, status: int, content_type: str) -> bool:
        """Tell whether an answer that begins so is the stream; any other is for `answered`."""
        return status == OK and content_type.startswith("text/event-stream")

    def hear(self, chunk: bytes) -> list[View]:
        """The news in these bytes: each version once, in the order it was told. Raises NotLongcallError."""
        self._heard, self._failures = True, 0
        return [task for data in self._reader.read(chunk) if self._is_news(task := self._read(data))]

    def ended(self) -> None:
        """The stream came to its end: the server stops, or its answers are short. Ask again as soon as it wants to be asked."""
        self._after = 1.0 if self._reader.retry is None else self._reader.retry

    def answered(self, heard: Answer | Broken) -> None:
        """Anything but a stream, or a connection that broke. Raises what can't be helped by asking again."""
        if isinstance(heard, Answer) and heard.status == NO_CONTENT:
            self._over = True
            return
        trouble = trouble_of(heard, self.base_url, self.first)
        self._failures += 1
        final = isinstance(heard, Answer) and not passes(heard)
        if final or not isinstance(trouble, UnavailableError) or (not self._heard and self._failures >= TRIES):
            raise trouble
        self._after = pause(heard, self._failures)
        if self.on_away:
            self.on_away(trouble)

    def _read(self, data: str) -> View:
        try:
            return self.read(loads(data))
        except ValueError:
            raise NotLongcallError(f"what answers at {self.base_url} is not Longcall's API: its event is no JSON") from None

    def _is_news(self, task: View) -> bool:
        created, version = self._seen.pop(task.id, (None, 0))
        newest = max(version, task.version) if created == task.create_time else task.version
        self._seen[task.id] = (task.create_time, newest)
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._over = self._over or (self.single and task.ended)
        return created != task.create_time or task.version > version
