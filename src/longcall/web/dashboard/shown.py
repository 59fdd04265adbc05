"""What a page says about one task, worked out from its record."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from longcall.core.console import CONSOLE, logs_url
from longcall.core.task import State, Task, TaskSpec, Unreadable
from longcall.core.wire import is_deep, loads

MOST_SHOWN = 64 * 1024  # characters of a body; the rest is in the download
OVERDUE = timedelta(minutes=5)  # past its next attempt's time, as `engine.ports.Counts` has it
_RETRIED = frozenset({State.SCHEDULED, State.WAITING, State.FAILED, State.CANCELLED})


def is_overdue(task: Task, now: datetime) -> bool:
    """Whether a message should have come for it by now."""
    due = task.next_attempt_time
    return task.state in {State.SCHEDULED, State.WAITING} and due is not None and due + OVERDUE < now


def can_cancel(task: Task) -> bool:
    """Whether there is anything to cancel that nobody has asked for yet."""
    return not task.state.ended and task.cancel_request_time is None


def can_retry(task: Task) -> bool:
    """Whether it can be run again, or now."""
    return task.state in _RETRIED and isinstance(task.spec, TaskSpec)


@dataclass(frozen=True, slots=True)
class Again:
    """Whether a task may be run again without a second thought, and why."""

    safe: bool
    why: str


def again(task: Task) -> Again:
    """What there is to know before a task is run again."""
    if isinstance(task.spec, Unreadable):
        return Again(safe=False, why="What came was no valid task, so there is nothing to run. Put a corrected one on the queue.")
    if task.state is State.SUCCEEDED:
        return Again(safe=False, why="It has succeeded. To make the call once more, create another task.")
    if task.state is State.RUNNING:
        return Again(safe=False, why="It is running now. Should its runner be gone, another one takes it up by itself.")
    ran = [each.number for each in task.attempts if each.may_have_run]
    if not ran:
        return Again(safe=True, why="Safe to run: no attempt has reached the target.")
    which = f"attempt {ran[0]}" if len(ran) == 1 else f"{len(ran)} attempts, the last of them {ran[-1]},"
    same = "Every attempt carries the same Idempotency-Key, so a target that looks at it does no work twice."
    return Again(safe=False, why=f"The target may have run: {which} may have reached it. {same}")


@dataclass(frozen=True, slots=True)
class Body:
    """A body as text: `pretty` where it is JSON. `cut`: there is more of it than is shown."""

    size: int
    text: str
    pretty: str = ""
    encoded: bool = False
    cut: bool = False


def body(raw: bytes) -> Body:
    """Show bytes as what they are: JSON, other text, or else base64."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = base64.b64encode(raw).decode()
        return Body(len(raw), text[:MOST_SHOWN], encoded=True, cut=len(text) > MOST_SHOWN)
    pretty = _pretty(text)
    return Body(len(raw), text[:MOST_SHOWN], pretty[:MOST_SHOWN], cut=max(len(text), len(pretty)) > MOST_SHOWN)


def _pretty(text: str) -> str:
    if not text.lstrip().startswith(("{", "[")):
        return ""
    try:
        data = loads(text)
    except ValueError:
        return ""
    return "" if is_deep(data) else json.dumps(data, indent=2, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Links:
    """Google's pages about a task; empty off Google Cloud."""

    logs: str = ""
    trace: str = ""


def links(task: Task, project: str, now: datetime) -> Links:
    """Where Google Cloud shows what a task logged, from its creation to its end, and its trace."""
    if not project:
        return Links()
    return Links(
        logs_url(project, task.id, task.create_time, task.finish_time or now),
        f"{CONSOLE}/traces/explorer;traceId={quote(task.trace, safe='')}?project={quote(project)}",
    )
