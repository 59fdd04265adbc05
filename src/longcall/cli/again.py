"""`longcall retry --state failed …`: all tasks that filters pick are run again, each by its id."""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.prompt import Confirm

from longcall.cli import flags, show
from longcall.cli.ends import FAILED, USAGE, say, sentence
from longcall.core.errors import CallerMistake, LongcallError, PermissionDeniedError, UnauthenticatedError
from longcall.core.task import State
from longcall.sdk.client import Longcall, Task
from longcall.sdk.messages import MAX_PAGE, Filters

FIRST = 5  # tasks that are shown before anything is done
_NOT_AGAIN = frozenset({State.SUCCEEDED, State.RUNNING})


@dataclass(frozen=True, slots=True)
class Picked:
    """What the filters pick: all ids, and the first few tasks."""

    ids: Sequence[str]
    first: Sequence[Task]


def retry_all(client: Longcall, filters: Filters, *, yes: bool, as_json: bool) -> None:
    """Run all that the filters pick again, once that is confirmed. Exits with 1 if one of them was not."""
    picked = _pick(client, _checked(filters))
    if not picked.ids:
        say("no task is like that, and nothing was changed")
        return
    if not yes:
        _confirm(picked)
    due, failed = 0, 0
    try:
        for task_id in _with_bar(picked.ids):
            if error := _again(client, task_id, as_json=as_json):
                failed += 1
                say(f"{task_id}: {sentence(error)}", "red")
            else:
                due += 1
    finally:  # also when the server goes away, or at Ctrl-C
        left = len(picked.ids) - due - failed
        parts = [f"{due} of {_tasks(len(picked.ids))} run again", *([f"{failed} do not"] if failed else [])]
        say("; ".join([*parts, *([f"{left} are left as they are"] if left else [])]))
    if failed:
        raise typer.Exit(FAILED)


def _checked(filters: Filters) -> Filters:
    """Failed ones when no state is given: to run what waits now, or what was cancelled, must be asked for."""
    states = list(filters.get("state") or ()) or [State.FAILED]
    if wrong := next((each for each in states if each in _NOT_AGAIN), None):
        raise flags.wrong("--state", f"what is {wrong} is not run again: failed, cancelled, waiting and scheduled can be given")
    return {**filters, "state": states, "page_size": MAX_PAGE}


def _pick(client: Longcall, filters: Filters) -> Picked:
    tasks = client.list(**filters)
    first = list(itertools.islice(tasks, FIRST))
    return Picked([each.id for each in itertools.chain(first, tasks)], first)


def _confirm(picked: Picked) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for each in picked.first:
        console.print(f"  {each.id}  {each.state}  {each.method} {each.url}", markup=False)
    if more := len(picked.ids) - len(picked.first):
        console.print(f"  … and {more} more")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        say(f"{_tasks(len(picked.ids))} would run again: give --yes", "yellow")
        raise typer.Exit(USAGE)
    try:
        sure = Confirm.ask(f"Run {_tasks(len(picked.ids))} again?", console=console, default=False)
    except EOFError:
        sure = False
    if not sure:
        say("nothing was changed")
        raise typer.Exit(FAILED)


def _again(client: Longcall, task_id: str, *, as_json: bool) -> LongcallError | None:
    """What keeps one task from being run again; what would keep all of them is raised."""
    try:
        task = client.retry(task_id)
    except (UnauthenticatedError, PermissionDeniedError):
        raise
    except CallerMistake as error:
        return error
    if as_json:
        show.print_json(task.raw)
    elif not sys.stdout.isatty():
        sys.stdout.write(f"{task.id}\n")
    return None


def _with_bar(ids: Sequence[str]) -> Iterator[str]:
    """The same, with a bar on a terminal."""
    if not sys.stderr.isatty():
        yield from ids
        return
    columns = (TextColumn("running again"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(ids)


def _tasks(count: int) -> str:
    return f"{count} task{'' if count == 1 else 's'}"
