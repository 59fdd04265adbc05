"""The line that stands while a task is waited for: live on a terminal, a line for each change on a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from longcall.cli.show import now, style_of
from longcall.core.attempt import Attempt
from longcall.core.errors import UnavailableError
from longcall.core.task import State
from longcall.core.text import span_text
from longcall.sdk.client import Task
from longcall.sdk.view import TaskView

Tell = Callable[[Task | UnavailableError], None]


class Line:
    """What is known of the task, said anew at each refresh."""

    def __init__(self, task: Task | None) -> None:
        self.task = task
        self.trouble: UnavailableError | None = None
        self.began: datetime = now()
        self.spinner: Spinner = Spinner("dots")

    def tell(self, news: Task | UnavailableError) -> None:
        """Take news in."""
        if isinstance(news, UnavailableError):
            self.trouble = news
        else:
            self.task, self.trouble = news, None

    def __rich__(self) -> Spinner:
        self.spinner.update(text=self.text())
        return self.spinner

    def text(self) -> Text:
        """State, elapsed time since the task was created, attempt, and what is in the way."""
        if self.task is None:
            return Text.assemble("not seen yet  ", span_text(now() - self.began))
        task = self.task
        parts = [(task.state, style_of(task)), ("  ", ""), (span_text(now() - task.create_time), ""), (f"  {progress(task)}", "dim")]
        if self.trouble:
            parts.append(("  the server is away, trying again", "yellow"))
        return Text.assemble(*parts)


@contextmanager
def watching(task: Task | None) -> Iterator[Tell]:
    """Show how a task goes on standard error, until the block ends."""
    if not sys.stderr.isatty():
        plain = _Plain()
        if task:
            plain(task)
        yield plain
        return
    line = Line(task)
    with Live(line, console=Console(stderr=True), refresh_per_second=8, transient=True):
        yield line.tell


class _Plain:
    """News as lines; the same line is not said twice in a row. The end is told by its result."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, news: Task | UnavailableError) -> None:
        if isinstance(news, UnavailableError):
            self._say(f"{news}; trying again")
        elif not news.ended:
            self._say(f"{news.id} {news.state} {progress(news)}".rstrip())

    def _say(self, line: str) -> None:
        if line != self.last:
            self.last = line
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def progress(task: TaskView) -> str:
    """How far a task is that has not ended."""
    made = f"attempt {task.attempt_count}" if task.attempt_count else ""
    if task.next_attempt_time is None or task.state not in {State.WAITING, State.SCHEDULED}:
        return made
    left = task.next_attempt_time - now()
    due = f"attempt {task.attempt_count + 1} in {span_text(left)}" if left > timedelta() else f"attempt {task.attempt_count + 1} is due"
    return f"{made} {_ended(task.attempts[-1])}, {due}" if task.attempts else due


def _ended(attempt: Attempt) -> str:
    return f"was answered {attempt.status}" if attempt.status else f"was {attempt.outcome}".replace("_", " ")
