"""`longcall up`: everything on this machine, in one process."""

import asyncio
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from longcall.cli.ends import OUT_OF_REACH, USAGE, say
from longcall.core.errors import LongcallError

if TYPE_CHECKING:
    from longcall.assembly import Laptop, LaptopOptions

MISSING = "this needs the server's parts: pip install 'longcall[all]'"


def fail(message: str, code: int) -> typer.Exit:
    """Say one sentence on standard error, and give what ends the command with this exit code."""
    say(message, "red")
    return typer.Exit(code)


def up(
    port: Annotated[int, typer.Option(help="The API's port; 0 takes a free one.")] = 8080,
    grpc_port: Annotated[int, typer.Option(help="The queue's port for Cloud Tasks clients over gRPC.")] = 8123,
    rest_port: Annotated[int, typer.Option(help="The queue's port for Cloud Tasks clients over REST.")] = 8124,
    data: Annotated[Path, typer.Option(help="Where tasks, queue and bodies are kept.")] = Path("longcall-data"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready.")] = False,  # noqa: FBT002 — how typer writes a flag
) -> None:
    """Run everything on this machine.

    Queue, runner and API listen on loopback, in one process. Ctrl-C stops them; what was running goes on at the next start.
    """
    try:
        import uvloop  # noqa: PLC0415 — the server's parts are not in the light install

        from longcall.assembly import LaptopOptions  # noqa: PLC0415 — as above
        from longcall.settings import read  # noqa: PLC0415 — as above
        from longcall.telemetry import set_up_logs  # noqa: PLC0415 — as above
    except ModuleNotFoundError as error:
        raise fail(f"{error.name} is not installed; {MISSING}", USAGE) from None
    try:
        settings = read()
        set_up_logs(settings.log_format)
        uvloop.run(_serve(LaptopOptions(port, grpc_port, rest_port, data, settings), as_json=as_json))
    except LongcallError as error:
        raise fail(str(error), OUT_OF_REACH) from None
    except (OSError, RuntimeError) as error:
        raise fail(f"it can't start: {error}", OUT_OF_REACH) from None


async def _serve(options: "LaptopOptions", *, as_json: bool) -> None:
    from longcall.assembly import laptop  # noqa: PLC0415 — the server's parts are not in the light install

    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with laptop(options) as running:
        _say(running, as_json=as_json)
        await stop.wait()


def _say(running: "Laptop", *, as_json: bool) -> None:
    grpc, rest = f"127.0.0.1:{running.grpc_port}", f"http://127.0.0.1:{running.rest_port}"
    if as_json:
        print(json.dumps({"api": running.api_url, "grpc": grpc, "rest": rest}), flush=True)  # noqa: T201 — output is for a program
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print("[bold]Longcall is up.[/bold] Ctrl-C stops it.")
    for name, where in (("API", running.api_url), ("queue over gRPC", grpc), ("queue over REST", rest), ("queue's name", running.queue)):
        console.print(f"  {name:<16} {where}")
    if running.taken_over:
        console.print(f"  {running.taken_over} calls were open when it last stopped; their tasks go on by their own policies.")
