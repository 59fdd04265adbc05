"""`longcall queue`: the embedded queue alone, for `longcall runner` and for anybody's programs that use Cloud Tasks."""

import re
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longcall.cli import options
from longcall.cli.ends import OUT_OF_REACH, USAGE
from longcall.cli.serving import ready
from longcall.cli.up import fail, on_signals, serve, server_settings
from longcall.core.errors import LongcallError

if TYPE_CHECKING:
    from longcall.settings import Settings

MISSING = "this needs the queue's parts: pip install 'longcall[queue]'"
# As in assembly.py: the thread that waits for the disk soon gets the interpreter's lock from a busy loop.
_SWITCH_INTERVAL = 0.0001


@dataclass(frozen=True, slots=True)
class _Options:
    grpc_port: int
    rest_port: int
    path: Path | None
    queues: list[str]
    app_engine: str | None
    issuer: str


def queue(  # noqa: PLR0913, PLR0917 — a command has as many options as it has
    grpc_port: Annotated[int, options.port("The port for Cloud Tasks clients over gRPC; 0 takes a free one.")] = 8123,
    rest_port: Annotated[int, options.port("The port for Cloud Tasks clients over REST.")] = 8124,
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the queue is kept.")] = Path("longcall-data"),
    memory: Annotated[bool, typer.Option("--memory", help="Keep nothing.")] = False,  # noqa: FBT002 — how typer writes a flag
    queues: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", metavar="NAME", envvar="INITIAL_QUEUES", help="A queue to make, projects/P/locations/L/queues/Q; repeatable."
        ),
    ] = None,
    app_engine: Annotated[
        str | None, typer.Option(metavar="URL", envvar="APP_ENGINE_EMULATOR_HOST", help="Where App Engine tasks go.")
    ] = None,
    issuer: Annotated[str, typer.Option(metavar="URL", help="The issuer in tokens, if not the REST address.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready.")] = False,  # noqa: FBT002 — as above
) -> None:
    """Run only the queue.

    It speaks Google's Cloud Tasks API over gRPC and REST, on loopback. The setting LONGCALL_QUEUE_SECRET goes with App Engine tasks.
    """
    settings = _settings()
    names = [name for each in queues or () for name in re.split(r"[,\s]+", each) if name]
    _check(names)
    path = None if memory else data / "queue.db"
    serve(_serve(_Options(grpc_port, rest_port, path, names, _url(app_engine), issuer), settings, as_json=as_json))


def _settings() -> "Settings":
    try:
        import uvloop  # noqa: F401, PLC0415 — the queue's parts are not in the light install

        from longcall import queue  # noqa: F401, PLC0415 — as above
        from longcall.settings import read, references  # noqa: PLC0415 — as above
        from longcall.telemetry import set_up_logs  # noqa: PLC0415 — as above
    except ModuleNotFoundError as error:
        raise fail(f"{error.name} is not installed; {MISSING}", USAGE) from None
    if references():  # secrets in Secret Manager are the server's parts' to read
        return server_settings()
    try:
        settings = read()
    except LongcallError as error:
        raise fail(str(error), OUT_OF_REACH) from None
    set_up_logs(settings.log_format)
    return settings


def _check(names: list[str]) -> None:
    from longcall.queue import RefusedError  # noqa: PLC0415 — the queue's parts are not in the light install
    from longcall.queue.names import check_queue  # noqa: PLC0415 — as above

    for name in names:
        try:
            check_queue(name)
        except RefusedError as error:
            raise fail(f"--queue {name}: {error}", USAGE) from None


def _url(app_engine: str | None) -> str | None:
    # The variable is a host in some people's environment and a URL in others'.
    return app_engine if not app_engine or "://" in app_engine else f"http://{app_engine}"


async def _serve(options: _Options, settings: "Settings", *, as_json: bool) -> None:
    from longcall import folder  # noqa: PLC0415 — the queue's parts are not in the light install
    from longcall.outbound.clock import SystemClock  # noqa: PLC0415 — as above
    from longcall.queue import EmbeddedQueue, QueueConfig, QueueOptions  # noqa: PLC0415 — as above
    from longcall.queue.own import own_queues  # noqa: PLC0415 — as above

    sys.setswitchinterval(_SWITCH_INTERVAL)
    stop, clock = on_signals(), SystemClock()
    async with AsyncExitStack() as stack:
        if options.path is not None:
            stack.enter_context(folder.hold(options.path.parent))
        opening = EmbeddedQueue.open(
            path=options.path,
            grpc_port=options.grpc_port,
            rest_port=options.rest_port,
            queues=[*own_queues(settings.queue, settings.control_queue), *map(QueueConfig, options.queues)],
            app_engine=options.app_engine or None,
            secret=settings.queue_secret or None,
            now=clock.now,
            new_id=clock.new_ordered_id,
            chance=clock.chance,
            options=QueueOptions(issuer=options.issuer),
        )
        running = await stack.enter_async_context(opening)
        running.start_dispatching()
        ready({"grpc": f"127.0.0.1:{running.grpc_port}", "rest": f"http://127.0.0.1:{running.rest_port}"}, as_json=as_json)
        await stop.wait()
