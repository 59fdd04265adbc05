"""Sending one request until it is answered: generators that yield requests and are sent what came of them.

No I/O and no clock here: every answer brings its own monotonic time.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import TypeVar

from longcall.core.errors import LongcallError
from longcall.core.wire import Json
from longcall.sdk.errors import OutOfReachError
from longcall.sdk.messages import Answer, Broken, Request
from longcall.sdk.problems import SERVER_ERRORS, passes, problem, read_json, retry_after

TRIES = 3
NOT_FOUND = 404
FIRST_PAUSE, LAST_PAUSE, MAX_ASKED_PAUSE = 0.2, 5.0, 30.0  # seconds

End = TypeVar("End")
Talk = Generator[Request, Answer | Broken, End]


def tried(request: Request, base_url: str) -> Talk[tuple[Answer, bool]]:
    """Send a request that may be sent twice without harm, a few times if need be.

    Returns any answer but those that say "not now", and whether an earlier try may have been served, its answer lost.
    """
    heard = yield request
    arrived = False
    for failures in range(1, TRIES):
        if not _is_trouble(heard):
            break
        arrived = arrived or may_have_arrived(heard)
        heard = yield replace(request, after=pause(heard, failures))
    if isinstance(heard, Broken):
        raise _unanswered(heard, base_url, request, arrived=arrived or heard.sent)
    return heard, arrived


def once(request: Request, base_url: str) -> Talk[Answer]:
    """The same, for the answer alone."""
    answer, _ = yield from tried(request, base_url)
    return answer


def ask(request: Request, base_url: str) -> Talk[Json]:
    """The same, for the answer's JSON. Raises the error that a problem stands for."""
    return read_json((yield from once(request, base_url)), base_url, request.task_id)


def pause(heard: Answer | Broken, failures: int) -> float:
    """Seconds before the next try: 0.2, doubled up to 5, or what Retry-After asks for, up to 30."""
    asked = retry_after(heard) if isinstance(heard, Answer) else 0.0
    return max(min(asked, MAX_ASKED_PAUSE), min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10)))


def may_have_arrived(trouble: Answer | Broken) -> bool:
    """Tell whether what was asked for may have been done: no answer, or one of those that a proxy gives when it hears none."""
    return trouble.sent if isinstance(trouble, Broken) else trouble.status >= SERVER_ERRORS


def trouble_of(heard: Answer | Broken, base_url: str, request: Request) -> LongcallError:
    """The error that a bad answer, or none, stands for."""
    if isinstance(heard, Broken):
        return _unanswered(heard, base_url, request, arrived=heard.sent)
    return problem(heard, base_url, request.task_id)


def _is_trouble(heard: Answer | Broken) -> bool:
    return isinstance(heard, Broken) or passes(heard)


def _unanswered(heard: Broken, base_url: str, request: Request, *, arrived: bool) -> OutOfReachError:
    may_exist = request.task_id if request.creates and arrived else None
    may_be_done = arrived and not request.creates and request.method != "GET"
    return OutOfReachError(base_url, heard.why, sent=heard.sent, may_exist=may_exist, may_be_done=may_be_done)
