"""The way to a PostgreSQL server: where it is in words, its connections, and what their failures mean."""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from longcall.core.errors import CallerMistake, UnavailableError

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Connection = Any

# Seconds for a read or a write, from its being asked for to its answer.
LIMIT = 5.0
# The server gives up first, so that its answer is a clear one: the write was not done.
SETTINGS = {
    "application_name": "longcall",
    "statement_timeout": "4000",
    "lock_timeout": "2000",
    # What takes milliseconds is not worth compiling, nor dividing among processes that take ten to start.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    # What is asked for here is few rows out of many, always by an index. A planner that has not seen the table grow does not know that.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
MALFORMED = (
    "LONGCALL_STORE is no URL of a PostgreSQL database: write postgresql://user:password@host:5432/database, "
    "and in the password %40 for @, %2F for /, %3A for :, %3F for ?, %23 for # and %25 for %"
)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(:\d{1,5})?")


def place_in(url: str) -> str:
    """Say which database a URL names, without user and password. Raises CallerMistake, which repeats nothing of the URL."""
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    except ValueError:
        raise CallerMistake(MALFORMED) from None
    *user, hosts = parts.netloc.split("@")
    rest = parts.path + parts.query + parts.fragment
    if len(user) > 1 or "@" in rest or parts.fragment or not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        raise CallerMistake(MALFORMED)
    return f"PostgreSQL at {hosts or query.get('host', ['its local socket'])[-1]}{parts.path.rstrip('/')}"


async def connect(url: str, settings: Mapping[str, str]) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect once, within the limit. Raises CallerMistake for what another URL would mend, UnavailableError."""
    place = place_in(url)
    try:
        return await asyncpg.connect(url, timeout=LIMIT, server_settings=dict(settings))
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise CallerMistake(f"{place} does not let this user in: {reason(error)}") from None
    except asyncpg.InvalidCatalogNameError:
        raise CallerMistake(f"{place}: there is no such database on that server; create it, or name another one") from None
    except (asyncpg.UndefinedObjectError, asyncpg.InvalidParameterValueError) as error:
        raise CallerMistake(f"{place} refuses a setting in the URL: {reason(error)}") from None
    except socket.gaierror:
        raise UnavailableError(f"{place} is out of reach: there is no host of that name, or no name service") from None
    except (OSError, asyncpg.PostgresError) as error:
        raise UnavailableError(f"{place} is out of reach: {reason(error)}") from None
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise CallerMistake(f"{place} can't be connected to as LONGCALL_STORE says: {reason(error)}") from None
    except ValueError:
        raise CallerMistake(MALFORMED) from None


def reason(error: BaseException) -> str:
    """What went wrong, in one line; the rest is the server's own detail, which may repeat what was written."""
    if isinstance(error, TimeoutError):
        return f"no answer within {LIMIT:g} s"
    return str(error).partition("\n")[0] or type(error).__name__


def refused(error: Exception) -> bool:
    """Whether nothing at all was done: the server answered with an error and works on, or asyncpg never sent what it was given."""
    answered = isinstance(error, asyncpg.PostgresError) and error.severity_en == "ERROR"
    return answered or isinstance(error, asyncpg.InterfaceError)


class Connections:
    """A few connections to one server, made when they are needed; one that may have broken is thrown away."""

    def __init__(self, url: str, size: int, settings: Mapping[str, str] = SETTINGS) -> None:
        self.place: str = place_in(url)
        self._pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            timeout=LIMIT,
            command_timeout=LIMIT,
            reset=_leave,
            server_settings=dict(settings),
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, size: int, settings: Mapping[str, str] = SETTINGS) -> "AsyncGenerator[Connections]":
        """No connection is made yet; on leaving, all are closed."""
        connections = cls(url, size, settings)
        _ = await connections._pool
        try:
            yield connections
        finally:
            await connections._close()

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[Connection]:
        """Lend a connection. Raises UnavailableError when there is none to be had: then nothing was sent."""
        try:
            connection = await self._pool.acquire(timeout=LIMIT)
        except FAILURES as error:
            raise self.away(error) from error
        try:
            yield connection
        except (asyncpg.PostgresError, asyncpg.DataError):
            raise  # it was answered, and can be used again; a closed one is never lent
        except BaseException:
            with suppress(asyncpg.InterfaceError):  # it is gone already
                connection.terminate()
            raise
        finally:
            await self._pool.release(connection)

    async def ask(self, sql: str, *values: object) -> "list[asyncpg.Record]":
        """Read. Raises UnavailableError, within the limit."""
        try:
            async with asyncio.timeout(LIMIT), self.one() as connection:
                return await connection.fetch(sql, *values)
        except FAILURES as error:
            raise self.away(error) from error

    def away(self, error: BaseException) -> UnavailableError:
        """The error of a server that does not do what it is asked."""
        return UnavailableError(f"{self.place} is out of reach: {reason(error)}")

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                await self._pool.close()
        except FAILURES:
            self._pool.terminate()


async def _leave(_connection: object) -> None:
    """Nothing is changed on a connection that would have to be undone: a round trip less each time."""
