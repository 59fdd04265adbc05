"""Submitting many tasks: what is still to be sent, and what came of each. No I/O, as in tries.py; threads may share it."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic

from longcall.core.errors import (
    CallerMistake,
    FieldError,
    InvalidArgumentError,
    LongcallError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from longcall.sdk.errors import NotAllSubmittedError, NotSubmitted
from longcall.sdk.options import NewTask
from longcall.sdk.server import new_id
from longcall.sdk.talk import Talks
from longcall.sdk.tries import Talk
from longcall.sdk.waiting import View

AT_ONCE = 16  # as many connections as are kept for the next request, and a few to spare
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Sending(Generic[View]):
    """One of the tasks: its place, and how it is asked for."""

    index: int
    talk: Talk[View]


class Many(Generic[View]):
    """The tasks of one call. Every id is made here, before anything is sent, and what can't be written down is found here.

    A refusal of one task does not keep the others back. Anything else that goes wrong would befall the others too, so no more is sent.
    """

    def __init__(self, requests: Iterable[NewTask], at_once: int, talks: Talks[View]) -> None:
        if at_once < 1:
            raise InvalidArgumentError(FieldError("at_once", f"at least one must be sent at once, not {at_once}"))
        self.requests: list[NewTask] = [{**each, "id": each.get("id") or new_id()} for each in requests]
        self._left = deque(Sending(index, _talk(talks, index, each)) for index, each in enumerate(self.requests))
        self._tasks: dict[int, View] = {}
        self._errors: dict[int, LongcallError] = {}

    @property
    def done(self) -> int:
        """How many are there or were given up."""
        return len(self._tasks) + len(self._errors)

    def take(self) -> Sending[View] | None:
        """The next one to be sent; None when there is none, or when no more is to be sent."""
        try:
            return self._left.popleft()
        except IndexError:
            return None

    def came(self, sending: Sending[View], task: View) -> None:
        """The task is there."""
        self._tasks[sending.index] = task

    def failed(self, sending: Sending[View], error: LongcallError) -> None:
        """The task was not made, or it is not known whether it was."""
        self._errors[sending.index] = error
        if not isinstance(error, CallerMistake) or isinstance(error, UnauthenticatedError | PermissionDeniedError):
            self.stop()

    def stop(self) -> None:
        """Send no more."""
        self._left.clear()

    def tasks(self) -> tuple[View, ...]:
        """All of them, in their order. Raises NotAllSubmittedError."""
        made = tuple(self._tasks[index] for index in sorted(self._tasks))
        if len(made) == len(self.requests):
            return made
        failed = [NotSubmitted(i, each, self._errors.get(i)) for i, each in enumerate(self.requests) if i not in self._tasks]
        raise NotAllSubmittedError(made, failed)


def _talk(talks: Talks[View], index: int, request: NewTask) -> Talk[View]:
    options = {**request}
    if "url" not in options:
        raise InvalidArgumentError(FieldError(f"/{index}/url", "every task needs a url"))
    task_id, url, schedule_time = str(options.pop("id")), options.pop("url"), options.pop("schedule_time", None)
    try:
        return talks.submit(task_id, url, schedule_time, options)  # type: ignore[arg-type] # what is left of a NewTask are TaskOptions
    except InvalidArgumentError as error:
        raise InvalidArgumentError(*(FieldError(f"/{index}{each.pointer}", each.message) for each in error.errors)) from None
