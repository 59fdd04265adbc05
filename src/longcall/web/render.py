"""Tasks as readers see them."""

from collections.abc import Iterable
from dataclasses import dataclass

from longcall.core import view, wire
from longcall.core.task import Task


@dataclass(frozen=True)
class Renderer:
    """Knows where the API is reached, and which headers' values nobody is shown."""

    public_url: str
    redact: frozenset[str] = view.ALWAYS_REDACTED

    def view(self, task: Task, callbacks: Iterable[Task] = ()) -> wire.Json:
        """One task, whole, with what became of its callbacks."""
        return view.view(task, self.public_url, self.redact, callbacks)

    def row(self, task: Task) -> wire.Json:
        """A list's entry."""
        return view.row(task, self.public_url, self.redact)
