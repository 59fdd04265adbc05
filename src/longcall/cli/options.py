"""The options of the client commands: each has one name, one form and one sentence, wherever it is taken."""

from typing import Annotated, Any

import typer

Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The Longcall server; else LONGCALL_URL, else http://127.0.0.1:8080.")
]
Token = Annotated[str | None, typer.Option("--token", metavar="TOKEN", help="The server's token; else LONGCALL_TOKEN.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.")]
OneOrPicked = Annotated[str | None, typer.Argument(metavar="ID", help="The task's id; without it, all that the options pick.")]
TaskIds = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Only these tasks, up to their ends.")]

Target = Annotated[str, typer.Argument(metavar="URL", help="What to call.")]
Data = Annotated[
    str | None, typer.Option("--data", "-d", metavar="TEXT", help="The body: text, @file, or - for standard input. JSON is sent as JSON.")
]
Method = Annotated[str, typer.Option("--method", "-X", metavar="METHOD", help="The HTTP method.")]
Headers = Annotated[
    list[str] | None, typer.Option("--header", "-H", metavar="HEADER", help="A header, like 'Accept: text/plain'; can be repeated.")
]
GivenId = Annotated[str | None, typer.Option("--id", metavar="ID", help="The task's id; the same again is the same task.")]
Retry = Annotated[
    str | None,
    typer.Option(
        metavar="POLICY", help="When to try again, like max=5,jitter=full; also min=1s, max-backoff=10m, multiplier=2, on=503+5xx."
    ),
]
AttemptTimeout = Annotated[str | None, typer.Option(metavar="TIME", help="The limit of one attempt, like 45m; up to 24h.")]
TaskTimeout = Annotated[str | None, typer.Option(metavar="TIME", help="The limit of all attempts together.")]
IdleTimeout = Annotated[str | None, typer.Option(metavar="TIME", help="Give an attempt up when the target is silent for so long.")]
ConnectTimeout = Annotated[str | None, typer.Option(metavar="TIME", help="The limit for reaching the target.")]
Schedule = Annotated[str | None, typer.Option(metavar="WHEN", help="Not before then, like 2026-11-24T08:00:00Z.")]
CallbackUrl = Annotated[
    str | None, typer.Option("--callback", metavar="URL", help="Whom to tell of the end: a signed POST, tried again for a day.")
]
Labels = Annotated[list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="A label, like team=ml; can be repeated.")]
ToTheEnd = Annotated[bool, typer.Option("--wait", help="Wait for the end, and print the target's answer.")]
WaitTime = Annotated[str | None, typer.Option(metavar="TIME", help="How long to wait, like 10m; the task goes on.")]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be queued.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before many are run again.")]

States = Annotated[list[str] | None, typer.Option("--state", metavar="STATE", help="Only in this state, like running; can be repeated.")]
Label = Annotated[str | None, typer.Option(metavar="NAME=VALUE", help="Only with this label, like team=ml.")]
Host = Annotated[str | None, typer.Option(metavar="HOST", help="Only calls to this host.")]
Reason = Annotated[str | None, typer.Option(metavar="REASON", help="Only failed for this reason, like timed_out.")]
Since = Annotated[str | None, typer.Option(metavar="WHEN", help="Only created after then, like 2026-11-24T08:00:00Z.")]
Limit = Annotated[int, typer.Option(min=1, metavar="COUNT", help="At most so many.")]


def port(explained: str) -> Any:  # noqa: ANN401 — as Typer's own Option
    """A port to listen on."""
    return typer.Option(metavar="PORT", min=0, max=65_535, help=explained)
