"""`longcall doctor`: what stands, what does not, and what to do about it; and what cuts a call that is held."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from longcall.cli.ends import OUT_OF_REACH, USAGE, ending
from longcall.cli.show import now
from longcall.cli.up import fail, read_settings
from longcall.core.checkup import Finding, Level, Share, budget_finding, call_finding, held
from longcall.core.errors import LongcallError
from longcall.core.text import span_text

if TYPE_CHECKING:
    from longcall.core.attempt import Outcome
    from longcall.settings import Settings

HOLD = 300
DAY = 86400
_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.BAD: "bold red"}


def doctor(
    target: Annotated[str | None, typer.Option(metavar="URL", help="Call this too, by GET, and say what cuts the call.")] = None,
    hold: Annotated[
        int | None, typer.Option(metavar="SECONDS", min=1, max=DAY, help=f"How long to hold that call; {HOLD} if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,  # noqa: FBT002 — how typer writes a flag
) -> None:
    """Look at everything that a runner stands on.

    With the runner's own settings; nothing is changed. Exit code 3 when something is bad; warnings are allowed.
    """
    if hold is not None and target is None:
        raise fail("--hold is for --target: say which URL is to be called", USAGE)
    try:
        settings = read_settings()
    except LongcallError as error:
        report = _Report(as_json=as_json)
        report.tell([Finding("settings", Level.BAD, str(error), "docs/settings.md has every setting")])
        raise typer.Exit(report.end()) from None
    with ending():
        raise typer.Exit(_look(settings, target, timedelta(seconds=hold or HOLD), as_json=as_json))


def _look(settings: "Settings", target: str | None, hold: timedelta, *, as_json: bool) -> int:
    import uvloop  # noqa: PLC0415 — the server's parts are not in the light install

    from longcall.assembly import checks  # noqa: PLC0415 — as above
    from longcall.telemetry import set_up_silence  # noqa: PLC0415 — as above

    set_up_silence()
    report = _Report(as_json=as_json)
    report.tell(uvloop.run(checks.look(settings)))
    report.limits(checks.budget(settings, target))
    if target is not None:
        with _holding(hold):
            outcome = uvloop.run(checks.hold_call(settings, target, hold))
        report.call(outcome, hold)
    return report.end()


class _Report:
    """What was found, told as it comes, or in one JSON object at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._found: list[Finding] = []
        self._json: dict[str, object] = {}
        self._console = None if as_json else Console(soft_wrap=True, highlight=False)

    def tell(self, found: list[Finding]) -> None:
        self._found += found
        for each in found if self._console else ():
            self._line(Text.assemble((f"{each.level:<5}", _STYLES[each.level]), (f"{each.name:<22}", "bold"), each.says))
            if each.todo and each.level is not Level.OK:
                self._line(Text.assemble(" " * 27, ("do: ", "dim"), each.todo))

    def limits(self, shares: list[Share]) -> None:
        self._json["budget"] = [each._asdict() for each in shares]
        self._line(Text("\nWhat a call has to fit into; the shortest wins:", "bold"))
        for each in shares:
            length = "-" if each.seconds is None else f"{each.seconds:.0f} s"
            self._line(Text.assemble(" " * 5, f"{each.whose:<10}{length:>10}  ", (each.says, "dim")))
        self._line(Text())
        self.tell([budget_finding(shares)])

    def call(self, outcome: "Outcome", hold: timedelta) -> None:
        self._json["held"] = held(outcome)
        self.tell([call_finding(outcome, hold)])

    def end(self) -> int:
        bad = any(each.level is Level.BAD for each in self._found)
        if self._console is None:
            checks = [{"name": each.name, "level": each.level, "says": each.says, "todo": each.todo} for each in self._found]
            sys.stdout.write(json.dumps({"ok": not bad, "checks": checks, **self._json}, ensure_ascii=False) + "\n")
        return OUT_OF_REACH if bad else 0

    def _line(self, text: Text) -> None:
        if self._console:
            self._console.print(text)


class _Held:
    """How long the call has been held, said anew at each refresh."""

    def __init__(self, hold: timedelta) -> None:
        self._began, self._hold = now(), hold
        self._spinner = Spinner("dots")

    def __rich__(self) -> Spinner:
        self._spinner.update(text=f"held for {span_text(now() - self._began)} of {span_text(self._hold)}")
        return self._spinner


@contextmanager
def _holding(hold: timedelta) -> Iterator[None]:
    """A live line while a call is held, on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with Live(_Held(hold), console=Console(stderr=True), refresh_per_second=8, transient=True):
        yield
