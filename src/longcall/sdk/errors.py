"""What the SDK raises beside the errors of core, which it raises for the server's own problems."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longcall.core.errors import LongcallError, OurFault, UnavailableError
from longcall.core.task import Failure

if TYPE_CHECKING:
    from longcall.sdk.options import NewTask
    from longcall.sdk.view import TaskView

_UNTOLD = Failure("unknown", "the server gives no reason", may_have_run=True)


class TaskFailed(LongcallError):  # noqa: N818 — an end of the task, not an error of the SDK's
    """A task ended FAILED. `failure` has its reason, a sentence, and whether the target may have run."""

    def __init__(self, task: "TaskView") -> None:
        self.task = task
        self.failure: Failure = task.failure or _UNTOLD
        super().__init__(f"task {task.id} failed: {self.failure.reason}: {self.failure.message}")


class TaskCancelled(LongcallError):  # noqa: N818 — as above
    """A task ended CANCELLED."""

    def __init__(self, task: "TaskView") -> None:
        self.task = task
        super().__init__(f"task {task.id} was cancelled")


class WaitTimeout(LongcallError):  # noqa: N818 — as above
    """The wait was over before the task ended. The task goes on; `task` is how it was last seen."""

    def __init__(self, task: "TaskView") -> None:
        self.task = task
        super().__init__(f"task {task.id} is still {task.state}: waiting for it is over, and it goes on")


class NoResponseError(LongcallError):
    """A task's response is asked for, and its target has given none. `task` is the task."""

    code = "NOT_FOUND"

    def __init__(self, task: "TaskView") -> None:
        self.task = task
        why = f"{task.failure.reason}: {task.failure.message}" if task.failure else f"it is {task.state}"
        super().__init__(f"task {task.id} has no response: {why}; has_response tells")


class ResourceExhaustedError(UnavailableError):
    """The server takes no more just now."""

    code = "RESOURCE_EXHAUSTED"


class OutOfReachError(UnavailableError):
    """No answer comes from the server at `url`; `sent` is False when nothing listens there at all.

    `may_exist` is the id of a task whose making was asked for and not answered; `may_be_done` is True for any other change.
    """

    def __init__(self, url: str, why: str, *, sent: bool = False, may_exist: str | None = None, may_be_done: bool = False) -> None:
        self.url = url
        self.sent = sent
        self.may_exist = may_exist
        self.may_be_done = may_be_done
        said = f"the connection to {url} broke ({why})" if sent else f"nothing answers at {url} ({why})"
        made = f"; task {may_exist} may have been made: ask for it, or send the same again under this id" if may_exist else ""
        done = "; what was asked for may have been done, and can be asked for again" if may_be_done else ""
        super().__init__(f"{said}{made}{done}")


class NotLongcallError(OurFault):
    """Something answers at the URL, and it is not Longcall's API."""


@dataclass(frozen=True, slots=True)
class NotSubmitted:
    """One of many that was not submitted: its place, its arguments with its id, and why; None when it was not tried any more."""

    index: int
    request: "NewTask"
    error: LongcallError | None


class NotAllSubmittedError(LongcallError):
    """Some of many tasks were not submitted. `tasks` are those that were; `failed` are the others, both in their order.

    `submit_many([each.request for each in error.failed])` sends the rest again, under the same ids: what was made nevertheless is
    found, not made twice. The first error is the `__cause__`.
    """

    def __init__(self, tasks: "Sequence[TaskView]", failed: Sequence[NotSubmitted]) -> None:
        self.tasks: tuple[TaskView, ...] = tuple(tasks)
        self.failed: tuple[NotSubmitted, ...] = tuple(failed)
        first = next((each for each in failed if each.error), None)
        self.__cause__: BaseException | None = first.error if first else None
        why = f"; the first, number {first.index} ({first.request.get('id')}): {first.error}" if first else ""
        super().__init__(f"{len(failed)} of {len(tasks) + len(failed)} tasks were not submitted{why}")
