"""`longcall runner`: one half of `longcall up`, in a process of its own."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from longcall.cli import options
from longcall.cli.ends import USAGE
from longcall.cli.up import fail, on_signals, serve, server_settings, settle_in
from longcall.core.errors import LongcallError
from longcall.core.text import human_duration

if TYPE_CHECKING:
    from longcall.assembly import Stopping
    from longcall.settings import Settings


def runner(
    host: Annotated[str, typer.Option(metavar="HOST", help="Where to listen; beyond loopback only with LONGCALL_AUTH.")] = "127.0.0.1",
    port: Annotated[int, options.port("The port; 0 takes a free one.")] = 8080,
    drain: Annotated[str, typer.Option(metavar="TIME", help="When told to stop, wait so long for running calls first, like 20m.")] = "0s",
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready.")] = False,  # noqa: FBT002 — how typer writes a flag
) -> None:
    """Run one runner with its API.

    Store and queue are where the settings say. SIGTERM drains it: its calls are closed, and go on elsewhere.
    """
    settings = server_settings()
    from longcall.assembly import Stopping  # noqa: PLC0415 — the server's parts are not in the light install
    from longcall.web.auth import check_host  # noqa: PLC0415 — as above

    try:
        check_host(settings.auth, host)
    except LongcallError as error:
        raise fail(f"--host {error}", USAGE) from None
    if not (settings.queue_secret or settings.dispatch_url or settings.app_engine):
        raise fail("LONGCALL_QUEUE_SECRET is not set: the queue and its runners share one, or no dispatch is let in", USAGE)
    try:
        stopping = Stopping(patience=human_duration(drain).total_seconds())
    except ValueError as error:
        raise fail(f"--drain: {error}", USAGE) from None
    serve(_run(host, port, settings, stopping, as_json=as_json))


async def _run(host: str, port: int, settings: "Settings", stopping: "Stopping", *, as_json: bool) -> None:
    from longcall.assembly import read_secrets  # noqa: PLC0415 — the server's parts are not in the light install
    from longcall.assembly import runner as running  # noqa: PLC0415 — as above
    from longcall.settings import read, references  # noqa: PLC0415 — as above

    async def reload() -> "Settings":
        return read(secrets=await read_secrets(references()))

    stop = on_signals(stopping)
    async with running(host, port, settings, stopping, reload=reload if references() else None) as url:
        settle_in()
        ready({"api": url}, as_json=as_json)
        await stop.wait()


def ready(where: dict[str, str], *, as_json: bool) -> None:
    """Say where a server is reached."""
    if as_json:
        print(json.dumps(where), flush=True)  # noqa: T201 — output is for a program
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print("[bold]Ready.[/bold] Ctrl-C stops it.")
    for name, what in where.items():
        console.print(f"  {name:<6} {what}")
