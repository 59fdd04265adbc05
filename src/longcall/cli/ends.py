"""How a command ends: its exit code, and one sentence on standard error."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.markup import escape

from longcall.core.errors import (
    AlreadyExistsError,
    CallerMistake,
    FieldError,
    InvalidArgumentError,
    LongcallError,
    MayExistError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from longcall.core.task import Failure
from longcall.sdk.errors import OutOfReachError, TaskCancelled, TaskFailed, WaitTimeout
from longcall.sdk.server import is_loopback

FINE, FAILED, USAGE, OUT_OF_REACH, STILL_RUNNING, NO_SUCH_TASK, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
_OPTIONS = {
    "/attemptTimeout": "--timeout",
    "/callback/url": "--callback",
    "/callback": "--callback",
    "/connectTimeout": "--connect-timeout",
    "/createdAfter": "--since",
    "/httpRequest/body": "-d",
    "/httpRequest/headers": "-H",
    "/httpRequest/httpMethod": "-X",
    "/httpRequest/url": "URL",
    "/httpRequest": "the request",
    "/id": "--id",
    "/idleTimeout": "--idle-timeout",
    "/label": "--label",
    "/labels": "--label",
    "/retry": "--retry",
    "/scheduleTime": "--schedule",
    "/state": "--state",
    "/taskTimeout": "--task-timeout",
    "timeout": "--timeout",
    "url": "--url",
}


@dataclass(slots=True)
class Follow:
    """How to come back to a task: the command that waits for it. `made` turns True once the server is known to have the task."""

    task_id: str
    url: str | None
    made: bool = True

    @property
    def command(self) -> str:
        """A whole command line."""
        return shlex.join(["longcall", "wait", self.task_id, *(["--url", self.url] if self.url else [])])


def say(message: str, style: str = "") -> None:
    """One line on standard error, under the program's name."""
    text = escape(message)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[{style}]longcall:[/{style}] {text}" if style else text)


@contextmanager
def ending(follow: Follow | None = None) -> Iterator[None]:
    """End a command by what goes wrong within. `follow`: the task that goes on after Ctrl-C, or when the wait is over."""
    try:
        yield
    except LongcallError as error:
        say(sentence(error, follow), "yellow" if isinstance(error, WaitTimeout) else "red")
        raise typer.Exit(code_of(error)) from None
    except KeyboardInterrupt:
        sys.stderr.write("\n" if sys.stderr.isatty() else "")
        if follow:
            say(f"the task {'goes on' if follow.made else 'may have been made'}; wait for it with `{follow.command}`", "yellow")
        raise typer.Exit(INTERRUPTED) from None


def code_of(error: LongcallError) -> int:
    """The exit code for an error."""
    match error:
        case TaskFailed() | TaskCancelled():
            return FAILED
        case WaitTimeout():
            return STILL_RUNNING
        case NotFoundError():
            return NO_SUCH_TASK
        case UnauthenticatedError() | PermissionDeniedError():
            return OUT_OF_REACH
        case CallerMistake():
            return USAGE
        case _:
            return OUT_OF_REACH


def sentence(error: LongcallError, follow: Follow | None = None) -> str:
    """What was wrong, where, and what would be right."""
    match error:
        case InvalidArgumentError():
            return "; ".join(_named(each) for each in error.errors)
        case OutOfReachError():
            return f"{error}{_way_on(error, follow)}"
        case MayExistError() if follow:
            return f"{error}: ask with `{follow.command}`"
        case AlreadyExistsError():
            named = ", ".join(_option(pointer) for pointer in error.differing) or "what was asked for"
            return f"this task exists and differs in {named}: give another --id, or ask for what was asked for before"
        case UnauthenticatedError():
            return f"{error}: give --token, or set LONGCALL_TOKEN"
        case NotFoundError():
            return f"{error}; `longcall list` shows those there are"
        case WaitTimeout() if follow:
            return f"{error}; wait on with `{follow.command}`"
        case TaskFailed():
            return f"{error.task.id} failed on attempt {error.task.attempt_count}: {failure_sentence(error.failure)}"
        case TaskCancelled():
            return f"{error.task.id} was cancelled"
        case _:
            return str(error)


def failure_sentence(failure: Failure) -> str:
    """Why a task failed, and, where there was no answer, whether the target may have run."""
    if failure.reason == "status":
        return failure.message
    ran = "the target may have run" if failure.may_have_run else "the target has not run"
    return f"{failure.reason}: {failure.message}; {ran}"


def _way_on(error: OutOfReachError, follow: Follow | None) -> str:
    if error.may_exist is not None:
        return f": ask with `{Follow(error.may_exist, follow.url if follow else None).command}`"
    if error.may_be_done:
        return ""
    here = is_loopback(error.url) and not error.sent
    return f": {'start it with `longcall up`, or give --url' if here else 'is --url, or LONGCALL_URL, right?'}"


def _named(error: FieldError) -> str:
    return f"{_option(error.pointer)}: {error.message}" if error.pointer else error.message


def _option(pointer: str) -> str:
    """The option that a field is given by, with what lies deeper: `--retry maxAttempts`."""
    for known, option in _OPTIONS.items():
        if pointer == known or pointer.startswith(f"{known}/"):
            return f"{option}{pointer.removeprefix(known).replace('/', ' ')}"
    return pointer
