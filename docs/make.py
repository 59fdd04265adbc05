"""Make docs/lifecycle.md from the table in core/lifecycle.py: `make fix` runs it, and a test holds the page to it."""

from pathlib import Path

from longcall.core.lifecycle import LEADS_TO, Event
from longcall.core.task import State

PAGE = Path(__file__).parent / "lifecycle.md"
SAID = {
    Event.TAKE: "a runner begins the next attempt",
    Event.SETTLE: "the attempt has ended: 2xx, policy says again, policy says no, or its cancel was asked for",
    Event.EXPIRE: "`taskTimeout` was over before the next attempt began",
    Event.CANCEL: "the caller wants no more of it; a running attempt is asked to stop, and its owner settles it",
    Event.RETRY: "`:retry`: what waits goes now, what failed or was cancelled goes again with a fresh budget",
}


def page() -> str:
    """The page as it should stand."""
    arrows = [f"    {before} --> {after}: {event}" for (before, event), ends in LEADS_TO.items() for after in State if after in ends]
    rows = [
        f"| {before} | {event} | {', '.join(after for after in State if after in ends)} | {SAID[event]} |"
        for (before, event), ends in LEADS_TO.items()
    ]
    ends = ", ".join(state for state in State if state.ended)
    return "\n".join(
        [
            "# The life of a task",
            "",
            "Made from `LEADS_TO` in `src/longcall/core/lifecycle.py` by `make fix`; what is not in the table can't happen.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            "    [*] --> SCHEDULED",
            *arrows,
            "```",
            "",
            f"{ends} are ends: only `:retry` leaves one, and never SUCCEEDED.",
            "",
            "| in | event | leads to | when |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page())
