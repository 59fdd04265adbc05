"""What `longcall doctor` looks at. Nothing here changes anything: no file is made, no message put, no schema brought up to date."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from longcall import __version__
from longcall.assembly import beside
from longcall.assembly.engine import open_files
from longcall.assembly.google import cloud_tasks, google
from longcall.core.attempt import Outcome
from longcall.core.checkup import Finding, Level, Share, clock_finding, files_finding, queue_findings
from longcall.core.errors import LongcallError, NotFoundError, UnavailableError
from longcall.core.request import Limits
from longcall.core.target import TargetRules, known_limit
from longcall.core.task import MAX_ATTEMPT, HttpRequest
from longcall.core.text import parse_duration
from longcall.engine.ports import CallRequest
from longcall.outbound import connections
from longcall.outbound.caller import HttpCaller
from longcall.outbound.clock import SystemClock
from longcall.outbound.cloud_tasks import APP_ENGINE_DEADLINE, HTTP_DEADLINE, Seen
from longcall.outbound.google import OWN
from longcall.outbound.minted import NoTokenError
from longcall.settings import CLOUD_TASKS, Settings, environment, names
from longcall.stores import open_store
from longcall.stores.bodies import open_bodies
from longcall.stores.sqlite_file import schema_of

PATIENCE = 15.0  # seconds for one check
CONNECT = timedelta(seconds=10)
HALF_A_SECOND = timedelta(seconds=0.5)  # `Date` has whole seconds, cut off


async def look(settings: Settings) -> list[Finding]:
    """Everything that is looked at without a target, in the order that it is needed in."""
    seen: list[Seen] = []
    found = [settings_read(), await store(settings), await bodies(settings), *await queues(settings, seen)]
    return [*found, clock(seen), await tokens(settings), keepalive(), files_finding(open_files(), settings.max_calls)]


def settings_read() -> Finding:
    """Which settings are set. No value is shown: some are secrets."""
    given = names()
    return Finding("settings", Level.OK, f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} set" if given else "none is set")


async def store(settings: Settings) -> Finding:
    """Whether the store is in reach, and whether this release can work on its schema."""
    where = settings.store
    if where == "memory://":
        return Finding("store", Level.WARN, "memory:// forgets every task when the process ends", "set LONGCALL_STORE")
    try:
        async with asyncio.timeout(PATIENCE):
            if where.startswith("sqlite:///") and where.strip("/") != "sqlite:":
                return await asyncio.to_thread(_sqlite, Path(where.removeprefix("sqlite:///")))
            async with open_store(where, SystemClock().now, migrate=False) as opened:
                await opened.ping()
    except UnavailableError as error:
        return Finding("store", Level.BAD, str(error), "see LONGCALL_STORE, and whether the server runs and lets this machine in")
    except LongcallError as error:
        return Finding("store", Level.BAD, str(error))  # which says what to do
    except TimeoutError:
        return Finding(
            "store", Level.BAD, f"no answer within {PATIENCE:g} s", "see LONGCALL_STORE, and whether the server lets this machine in"
        )
    return Finding("store", Level.OK, f"{where.partition(':')[0]} is in reach, and its schema is one that this release works on")


def _sqlite(path: Path) -> Finding:
    if not path.exists():
        return _not_there_yet("store", path, "the folder must be there: make it", path.absolute().parent)
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding("store", Level.BAD, f"SQLite file {path} can't be read and written by this user", "see who owns it")
    has, knows = schema_of(path)
    if has > knows:
        return Finding(
            "store", Level.BAD, f"SQLite file {path} has schema {has}, and this release knows those up to {knows}", "run a newer release"
        )
    later = "" if has == knows else f"; the next start brings it to {knows}"
    return Finding("store", Level.OK, f"SQLite file {path} has schema {has}{later}")


def _not_there_yet(name: str, path: Path, todo: str, parent: Path) -> Finding:
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return Finding(name, Level.WARN, f"{path} is not there yet; the first start makes it", "nothing, unless it should be there")
    return Finding(name, Level.BAD, f"{path} is not there and can't be made in {parent}", todo)


async def bodies(settings: Settings) -> Finding:
    """Whether the place for large bodies is in reach."""
    try:
        where = settings.bodies or beside(settings.store)
        if where.startswith("file:"):
            return _folder(Path(unquote(urlsplit(where).path)))
        async with asyncio.timeout(PATIENCE):
            await open_bodies(where).ping()
    except LongcallError as error:
        return Finding("bodies", Level.BAD, str(error), "see LONGCALL_BODIES, and what the runner's account may do there")
    except TimeoutError:
        return Finding("bodies", Level.BAD, f"no answer within {PATIENCE:g} s", "see LONGCALL_BODIES")
    return Finding("bodies", Level.OK, f"{where} answers")


def _folder(path: Path) -> Finding:
    if not path.exists():
        parent = next(each for each in path.parents if each.exists())
        return _not_there_yet("bodies", path, "give a folder that this user may write, as file:///absolute/path", parent)
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Finding(
            "bodies", Level.BAD, f"{path} is no folder that this user can read and write", "see who owns it, and LONGCALL_BODIES"
        )
    return Finding("bodies", Level.OK, f"folder {path} can be read and written")


async def queues(settings: Settings, seen: list[Seen]) -> list[Finding]:
    """Both queues."""
    named = (("queue", settings.queue), ("control queue", settings.control_queue))
    return [finding for name, full in named for finding in await queue_of(settings, name, full, seen)]


async def queue_of(settings: Settings, name: str, full: str, seen: list[Seen]) -> list[Finding]:
    """Whether a queue is there, and set as it must be. What was seen goes to `seen`."""
    where = "Cloud Tasks" if settings.queue_endpoint == CLOUD_TASKS else settings.queue_endpoint
    try:
        async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
            found = await (await cloud_tasks(stack, settings)).read(full)
    except (LongcallError, TimeoutError) as error:
        todo = "see LONGCALL_QUEUE_ENDPOINT, and " + (
            "roles/cloudtasks.viewer" if where == "Cloud Tasks" else "whether it runs: longcall up, or longcall queue"
        )
        return [Finding(name, Level.BAD, str(error) or f"{where} does not answer within {PATIENCE:g} s", todo)]
    seen.append(found)
    if found.queue is None:
        return [Finding(name, Level.BAD, f"{full} is not at {where}", "setup-env.sh makes it; longcall queue --queue does locally")]
    room = settings.hold_slots or settings.max_calls
    try:
        return queue_findings(name, full, found.queue, control=name != "queue", room=0 if name != "queue" else room)
    except (AttributeError, TypeError, ValueError) as error:
        return [Finding(name, Level.BAD, f"what {where} says of {full} can't be understood: {error}", "see LONGCALL_QUEUE_ENDPOINT")]


def clock(seen: list[Seen]) -> Finding:
    """Compare this machine's clock with the queue's, which names its time in each answer of Google's."""
    try:
        there = next((parsedate_to_datetime(each.date) for each in reversed(seen) if each.date), None)
    except ValueError:
        there = None
    if there is not None and there.tzinfo is not None:
        return clock_finding(SystemClock().now(), there + HALF_A_SECOND)
    if seen:
        return Finding("clock", Level.OK, "not compared: the embedded queue goes by this machine's own clock")
    return Finding("clock", Level.WARN, "not compared: no queue answers that could tell its time", "see the queue")


async def tokens(settings: Settings) -> Finding:
    """Whether a token is to be had. It is not shown."""
    if not _wants_google(settings):
        return Finding(
            "tokens", Level.OK, "no token of Google's is needed here: LONGCALL_IMPERSONATE is not set, and the queue is no Cloud Tasks"
        )
    try:
        async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
            await (await google(stack, settings.impersonate)).bearer(OWN)
    except NoTokenError as error:
        return Finding("tokens", Level.BAD, error.trouble.message, error.trouble.hint or "see what the runner's account may do")
    except TimeoutError:
        return Finding("tokens", Level.BAD, f"no token came within {PATIENCE:g} s", "see the metadata server, or the login")
    return Finding("tokens", Level.OK, f"an access token was minted{f' as {settings.impersonate}' if settings.impersonate else ''}")


def _wants_google(settings: Settings) -> bool:
    return bool(settings.impersonate or settings.app_engine or settings.queue_endpoint == CLOUD_TASKS)


def keepalive() -> Finding:
    """Whether this system keeps silent connections alive as it is told, and lets them be watched."""
    wanted = {
        "TCP_KEEPIDLE": connections.KEEPALIVE_AFTER,
        "TCP_KEEPINTVL": connections.KEEPALIVE_EVERY,
        "TCP_KEEPCNT": connections.KEEPALIVE_TIMES,
        "TCP_USER_TIMEOUT": connections.USER_TIMEOUT_MS,
    }
    make = connections.vetted_sockets(TargetRules(allow_private=True))
    try:
        with make((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 0))) as made:
            known = {name: getattr(socket, name) for name in wanted if hasattr(socket, name)}
            lacking = [
                name for name, value in wanted.items() if name not in known or made.getsockopt(socket.IPPROTO_TCP, known[name]) != value
            ]
    except OSError as error:
        return Finding("keepalive", Level.BAD, f"a socket can't be set up: {error}", "run on Linux, as the runners do")
    lacking += [] if connections.CAN_WATCH_SILENCE else ["TCP_INFO"]
    if lacking:
        return Finding(
            "keepalive", Level.WARN, f"this system has not {', '.join(lacking)}: a silent connection may be lost unnoticed", "run on Linux"
        )
    every = f"every {connections.KEEPALIVE_EVERY} s after {connections.KEEPALIVE_AFTER} s of silence"
    return Finding("keepalive", Level.OK, f"sockets send keepalives {every}, and silence can be watched")


def budget(settings: Settings, target: str | None) -> list[Share]:
    """Every limit that a call has to fit into, as far as it is known here; the shortest wins."""
    over_http, detached = bool(settings.dispatch_url), settings.when_full == "detach"
    queue = parse_duration(HTTP_DEADLINE if over_http else APP_ENGINE_DEADLINE).total_seconds()
    after = (
        "dispatches are HTTP tasks; when it passes, the call goes on"
        if over_http
        else "dispatches are App Engine tasks, held while their calls run"
    )
    shares = [Share("queue", queue, after, cuts=not (over_http or detached))]
    if settings.app_engine:
        shares.append(Share("host", 86400.0, "App Engine on basic or manual scaling; 600 s on automatic scaling", cuts=not detached))
    elif environment().get("K_SERVICE"):
        shares.append(
            Share(
                "host",
                300.0,
                "Cloud Run ends a request after 300 s by default and 3600 s at most; a detached call outlives it",
                cuts=not detached,
            )
        )
    else:
        shares.append(Share("host", None, "no limit is known of where this runs; a proxy before it may have one"))
    shares.append(Share("policy", MAX_ATTEMPT.total_seconds(), "attemptTimeout, at most and by default"))
    if target is not None:
        known = known_limit(target)
        shares.append(Share("target", known[1].total_seconds() if known else None, known[0] if known else "no limit of this host is known"))
    return shares


async def hold_call(settings: Settings, target: str, hold: timedelta) -> Outcome:
    """GET the target by the rules that are set, and hold the call for so long at most. What it answers is read and dropped."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        minting = await google(stack, settings.impersonate) if _wants_google(settings) else None
        opening = HttpCaller.open(_Nowhere(), clock, settings.max_response_bytes, settings.targets, minting)
        caller = await stack.enter_async_context(opening)
        headers = (("User-Agent", f"longcall/{__version__} (doctor)"),)
        request = CallRequest(HttpRequest(url=target, method="GET"), headers, None, "doctor")
        return await caller.call(request, Limits(min(CONNECT, hold), None, hold), lambda _: None)


class _Nowhere:
    """`Bodies` that keep nothing."""

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:  # noqa: ARG002 — a port has what others need
        async for _ in chunks:
            pass

    def open(self, key: str) -> AsyncIterator[bytes]:
        raise NotFoundError(f"there is no body {key}")

    async def delete(self, key: str) -> None:
        pass

    async def ping(self) -> None:
        pass

    async def link(self, key: str, seconds: int) -> str | None:  # noqa: ARG002 — as above
        return None
