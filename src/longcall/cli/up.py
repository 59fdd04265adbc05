"""`longcall up`: everything on this machine, in one process."""

import asyncio
import errno
import gc
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from longcall.cli import options
from longcall.cli.ends import INTERRUPTED, OUT_OF_REACH, USAGE, say
from longcall.core.errors import LongcallError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from longcall.assembly import Laptop, LaptopOptions, Stopping
    from longcall.settings import Settings

OWN = ("store", "bodies", "queue_secret")  # up has these in its data folder
MISSING = "this needs the server's parts: pip install 'longcall[all]'"


def fail(message: str, code: int) -> typer.Exit:
    """Say one sentence on standard error, and give what ends the command with this exit code."""
    say(message, "red")
    return typer.Exit(code)


def up(
    port: Annotated[int, options.port("The API's port; 0 takes a free one.")] = 8080,
    grpc_port: Annotated[int, options.port("The queue's port for Cloud Tasks clients over gRPC.")] = 8123,
    rest_port: Annotated[int, options.port("The queue's port for Cloud Tasks clients over REST.")] = 8124,
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Where tasks, queue and bodies are kept.")] = Path("longcall-data"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready.")] = False,  # noqa: FBT002 — how typer writes a flag
) -> None:
    """Run everything on this machine.

    Queue, runner and API listen on loopback, in one process. Ctrl-C stops them; what was running goes on at the next start.
    """
    settings = server_settings()
    if unused := [f"LONGCALL_{name.upper()}" for name in OWN if getattr(settings, name) != getattr(type(settings)(), name)]:
        say(f"{', '.join(unused)} is not used by up, which keeps everything in its data folder; longcall runner uses it", "yellow")
    from longcall.assembly import LAPTOP_DRAIN_LIMIT, LaptopOptions, Stopping  # noqa: PLC0415 — the server's parts are not in the light install

    serve(_serve(LaptopOptions(port, grpc_port, rest_port, data, settings), Stopping(drain_limit=LAPTOP_DRAIN_LIMIT), as_json=as_json))


def server_settings() -> "Settings":
    """Read the settings and set up logs; ends the command when the server's parts are missing or a setting is wrong."""
    try:
        settings = read_settings()
    except LongcallError as error:
        raise fail(str(error), OUT_OF_REACH) from None
    from longcall.telemetry import set_up_logs  # noqa: PLC0415 — the server's parts are not in the light install

    set_up_logs(settings.log_format, on_google=settings.app_engine, project=settings.project)
    return settings


def read_settings() -> "Settings":
    """Read the settings; ends the command when the server's parts are missing. Raises CallerMistake, UnavailableError."""
    try:
        import uvloop  # noqa: PLC0415 — the server's parts are not in the light install

        from longcall import assembly  # noqa: PLC0415 — as above
        from longcall.settings import read, references  # noqa: PLC0415 — as above
    except ModuleNotFoundError as error:
        raise fail(f"{error.name} is not installed; {MISSING}", USAGE) from None
    asked = references()
    return read(secrets=uvloop.run(assembly.read_secrets(asked)) if asked else {})


def serve(work: "Coroutine[object, object, None]") -> None:
    """Run a server to its end; what keeps it from starting is said in one sentence."""
    import uvloop  # noqa: PLC0415 — the server's parts are not in the light install

    try:
        uvloop.run(work)
    except LongcallError as error:
        raise fail(str(error), OUT_OF_REACH) from None
    except OSError as error:
        raise fail(f"it can't start: {_in_the_way(error)}", OUT_OF_REACH) from None
    except RuntimeError as error:
        raise fail(f"it can't start: {error}", OUT_OF_REACH) from None


def settle_in() -> None:
    """Let the collector of reference cycles leave alone what was made at the start, and come after 5,000 new objects instead of 700.

    A dispatch makes hundreds of objects and no cycle. With Python's own threshold a seventh of a busy runner's time went there.
    """
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)


def _in_the_way(error: OSError) -> str:
    """What the system said, and what would be right."""
    said = error.strerror or str(error)
    if error.errno in {errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL} and not error.filename:
        return f"{said.lower()}; give --port another one, 0 for a free one"
    return f"{error.filename}: {said.lower()}; give --data a folder that can be written" if error.filename else said


def on_signals(stopping: "Stopping | None" = None) -> asyncio.Event:
    """An event that SIGTERM or Ctrl-C sets. A second SIGTERM ends the waiting for calls, a second Ctrl-C the process."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def ask(again: bool) -> None:  # noqa: FBT001 — whether it was the second time
        if again and stopping is not None:
            stopping.hurry.set()
        stop.set()

    def interrupt() -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)  # as a kill would: what was running is settled at the next start
        ask(again=False)

    loop.add_signal_handler(signal.SIGTERM, lambda: ask(again=stop.is_set()))
    loop.add_signal_handler(signal.SIGINT, interrupt)
    return stop


async def _serve(options: "LaptopOptions", stopping: "Stopping", *, as_json: bool) -> None:
    from longcall.assembly import laptop  # noqa: PLC0415 — the server's parts are not in the light install

    stop = on_signals(stopping)
    async with laptop(options, stopping) as running:
        settle_in()
        _say(running, options.data, as_json=as_json)
        await stop.wait()


def _say(running: "Laptop", data: Path, *, as_json: bool) -> None:
    grpc, rest = f"127.0.0.1:{running.grpc_port}", f"http://127.0.0.1:{running.rest_port}"
    if as_json:
        print(json.dumps({"api": running.api_url, "grpc": grpc, "rest": rest}), flush=True)  # noqa: T201 — output is for a program
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print("[bold]Longcall is up.[/bold] Ctrl-C stops it.")
    lines = {
        "API": running.api_url,
        "queue over gRPC": grpc,
        "queue over REST": rest,
        "queue's name": running.queue,
        "callbacks": f"signed with {', '.join(sorted(running.webhook_secrets))}; {data}/webhook-secret has the secret unless it was set",
    }
    for name, what in lines.items():
        console.print(f"  {name:<16} {what}")
    if running.taken_over:
        console.print(f"  {running.taken_over} calls were open when it last stopped; their tasks go on by their own policies.")
