"""Telling what happens to tasks while it happens, and keeping count of what held."""

from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape

from longcall.core.attempt import Attempt
from longcall.sdk.view import TaskView

STYLES = {"SUCCEEDED": "bold green", "FAILED": "bold red", "CANCELLED": "bold yellow"}
HUM_EVERY = 2.0  # seconds between two words about a call that is silent


@dataclass
class Story:
    """Lines for people: seconds since the beginning, who it is about, what happened."""

    console: Console
    start: float
    checks: list[tuple[bool, str]] = field(default_factory=list)

    def say(self, at: float, who: str, what: str, style: str = "") -> None:
        """One line; `at` in monotonic seconds."""
        text = f"[{style}]{escape(what)}[/{style}]" if style else escape(what)
        self.console.print(f"[dim]{at - self.start:5.1f} s[/dim]  [cyan]{who:<8}[/cyan] {text}")

    def check(self, held: bool, what: str) -> None:  # noqa: FBT001 — whether it held is the one thing to say
        """One thing that the demo shows."""
        self.checks.append((held, what))

    def conclude(self) -> bool:
        """Say what was shown; True when all of it held."""
        self.console.print("\n[bold]What this showed[/bold]")
        for held, what in self.checks:
            self.console.print(f"  {'[green]✓[/green]' if held else '[red]✗[/red]'} {escape(what)}")
        wrong = sum(not held for held, _ in self.checks)
        self.console.print(f"\n{len(self.checks) - wrong} of {len(self.checks)} held.", style="bold red" if wrong else "bold green")
        return not wrong


@dataclass
class Chapter:
    """One task's part of the story."""

    story: Story
    who: str
    told: TaskView | None = None
    hummed: float = 0.0

    def follow(self, task: TaskView, at: float) -> None:
        """Tell what is new since the last look; `at` in monotonic seconds."""
        known = self.told.attempts if self.told else ()
        for number, attempt in enumerate(task.attempts):
            before = known[number] if number < len(known) else None
            self._attempt(attempt, before, at)
        if task.ended and not (self.told and self.told.ended):
            self.story.say(at, self.who, _end(task), STYLES[task.state])
        self.told = task

    def _attempt(self, attempt: Attempt, before: Attempt | None, at: float) -> None:
        if before is None and attempt.end_time is None:
            self.story.say(at, self.who, f"attempt {attempt.number} is made, and its connection held")
            self.hummed = at
        if attempt.end_time is not None and (before is None or before.end_time is None):
            self.story.say(at, self.who, _attempt_end(attempt), "yellow" if attempt.trouble else "")
        elif attempt.end_time is None and at - self.hummed >= HUM_EVERY:
            self.story.say(at, self.who, "still held, not a byte yet", "dim")
            self.hummed = at


def seconds(attempt: Attempt) -> float:
    """How long an ended attempt took."""
    return (attempt.end_time - attempt.start_time).total_seconds() if attempt.end_time else 0.0


def _attempt_end(attempt: Attempt) -> str:
    how = attempt.trouble.message if attempt.trouble else f"the target answered {attempt.status}"
    if attempt.retry_time is None or attempt.end_time is None:
        took = f" after {seconds(attempt):.1f} s" if seconds(attempt) >= 1 else ""
        return f"attempt {attempt.number}: {how}{took}"
    wait = (attempt.retry_time - attempt.end_time).total_seconds()
    return f"attempt {attempt.number}: {how}; again in {wait:.2f} s"


def _end(task: TaskView) -> str:
    if task.failure is None:
        return f"{task.state} with {task.attempt_count} attempt{'s' if task.attempt_count > 1 else ''}"
    run = "may have run" if task.failure.may_have_run else "never reached the target, so sending it again is safe"
    return f"{task.state}: {task.failure.reason}, and it {run}"
