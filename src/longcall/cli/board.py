"""What `longcall watch` shows: a live table on a terminal, a line for each change on a pipe."""

import heapq
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from longcall.cli import show
from longcall.cli.answer import what_came
from longcall.cli.ends import say
from longcall.cli.live import progress
from longcall.core.errors import UnavailableError
from longcall.core.task import State
from longcall.core.text import span_text, time_text
from longcall.sdk.view import TaskView

Tell = Callable[[TaskView | UnavailableError], None]
MAX_GOING = 2_000  # tasks that are remembered to be shown
MAX_ENDED = 8
_ORDER: dict[str, int] = {State.RUNNING: 0, State.WAITING: 1, State.SCHEDULED: 2}


@contextmanager
def showing(*, as_json: bool) -> Iterator[Tell]:
    """Show news on standard output until the block ends."""
    if as_json or not sys.stdout.isatty():
        yield _Lines(as_json=as_json).tell
        return
    board = Board()
    with Live(board, console=Console(highlight=False), refresh_per_second=4):
        yield board.tell


@dataclass
class Board:
    """The tasks that go on, and those that ended last, said anew at each refresh."""

    going: dict[str, TaskView] = field(default_factory=dict)
    ended: deque[TaskView] = field(default_factory=lambda: deque(maxlen=MAX_ENDED))
    away: bool = False

    def tell(self, news: TaskView | UnavailableError) -> None:
        """Take news in."""
        self.away = isinstance(news, UnavailableError)
        if isinstance(news, UnavailableError):
            return
        self.going.pop(news.id, None)
        if news.ended:
            self.ended.append(news)
            return
        self.going[news.id] = news
        if len(self.going) > MAX_GOING:
            del self.going[next(iter(self.going))]

    def __rich_console__(self, console: Console, _: ConsoleOptions) -> RenderResult:
        room = max(console.height - len(self.ended) - 4, 1)
        shown = heapq.nsmallest(
            room, self.going.values(), key=lambda task: (_ORDER.get(State(task.state), 3), -task.create_time.timestamp())
        )
        table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0), expand=True)
        for name in ("id", "state", "age", "changed"):
            table.add_column(name, no_wrap=True)
        for name in ("", "call"):
            table.add_column(name, no_wrap=True, ratio=1)  # they get what the others leave
        for task in [*shown, *reversed(self.ended)]:
            table.add_row(*_cells(task))
        yield Group(table, Text(self._below(len(shown)), "yellow" if self.away else "dim"))

    def _below(self, shown: int) -> str:
        if self.away:
            return "the server is away, trying again"
        more = len(self.going) - shown
        return f"{len(self.going)} under way{f', {more} of them not shown' if more else ''}; Ctrl-C stops watching"


def _place(task: TaskView) -> tuple[int, float]:
    """What runs stands first, then what waits; the newest first."""
    return _ORDER.get(task.state, len(_ORDER)), -task.create_time.timestamp()


def _cells(task: TaskView) -> tuple[Text, ...]:
    age = span_text((task.finish_time or show.now()) - task.create_time)
    style = "dim" if task.ended else ""
    ago = f"{span_text(show.now() - task.update_time)} ago"
    return (
        Text(task.id, style),
        Text(task.state, show.style_of(task)),
        Text(age, style),
        Text(ago, style),
        Text(_said(task), style),
        Text(task.url, style),
    )


class _Lines:
    """A line for each change: when, which, where it stands, attempts made, and a word about it; tabs between them. Or its JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.away = ""

    def tell(self, news: TaskView | UnavailableError) -> None:
        """Write one line, at once. That the server is away is said on standard error, and not again and again."""
        if isinstance(news, UnavailableError):
            if str(news) != self.away:
                self.away = str(news)
                say(f"{news}; trying again", "yellow")
            return
        self.away = ""
        if self.as_json:
            show.print_json(news.raw)
        else:
            sys.stdout.write("\t".join((time_text(news.update_time), news.id, news.state, str(news.attempt_count), _said(news))) + "\n")
        sys.stdout.flush()


def _said(task: TaskView) -> str:
    if task.failure:
        text = f"{task.failure.reason}: {task.failure.message}"
    elif task.ended:
        text = what_came(task.response) if task.has_response else ""
    else:
        text = progress(task)
    return " ".join(text.split())
