"""The schema of a PostgreSQL database, in numbered steps that only go forward."""

import asyncio
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

import asyncpg

from longcall.core.errors import CallerMistake, NewerSchemaError, UnavailableError
from longcall.stores.postgres_server import FAILURES, Connection, connect, place_in, reason

# Seconds for all steps together, and for another process to be done with them.
MIGRATE_LIMIT = 600.0
_SETTINGS = {"application_name": "longcall migrate", "lock_timeout": "60000"}
_OLDEST = re.compile(r"-- oldest: (\d+)\n")
# `oldest`: the oldest schema whose releases may still work on a database that has this step.
_TABLE = """
CREATE TABLE IF NOT EXISTS longcall_schema (
    version integer NOT NULL PRIMARY KEY,
    oldest integer NOT NULL,
    applied_time timestamptz NOT NULL DEFAULT now()
)
"""
_PRESENT = "SELECT coalesce(max(version), 0) AS version, coalesce(max(oldest), 0) AS oldest FROM longcall_schema"
# Any number, as long as it is always the same one: whoever brings a schema up to date holds the lock of this number.
_LOCK = "SELECT pg_advisory_xact_lock(7075643117)"


class Step(NamedTuple):
    """A step's SQL, and the oldest schema whose releases may still work after it."""

    sql: str
    oldest: int


class Schema(NamedTuple):
    """What a database says of itself; all zero for an empty one."""

    version: int
    oldest: int


class Migrated(NamedTuple):
    """The schema's version before and after; the same when there was nothing to do."""

    before: int
    after: int


async def migrate(url: str) -> Migrated:
    """Bring a database up to date. Of several that do so at once, one does it and the others find it done.

    Raises NewerSchemaError for one that this release can't work on, CallerMistake, UnavailableError.
    """
    place, connection = place_in(url), await connect(url, _SETTINGS)
    try:
        async with asyncio.timeout(MIGRATE_LIMIT), connection.transaction():
            return await apply(connection, steps(), place)
    except asyncpg.InsufficientPrivilegeError as error:
        raise CallerMistake(f"{place}: this user may not make or change Longcall's tables: {reason(error)}") from error
    except FAILURES as error:
        raise UnavailableError(f"{place} can't be brought up to date: {reason(error)}") from error
    finally:
        connection.terminate()


async def apply(connection: Connection, known: Mapping[int, Step], place: str) -> Migrated:
    """Apply the steps that are missing, in the transaction that is open: all of them or none."""
    await connection.execute(_LOCK)
    await connection.execute(_TABLE)
    before = await present(connection)
    check_not_too_new(before, max(known), place)
    for version in sorted(version for version in known if version > before.version):
        await connection.execute(known[version].sql)
        await connection.execute("INSERT INTO longcall_schema (version, oldest) VALUES ($1, $2)", version, known[version].oldest)
    return Migrated(before.version, (await present(connection)).version)


async def prepare(url: str, *, migrate_first: bool) -> None:
    """See that the schema is one this release can work on, bringing it up to date if allowed to.

    Raises NewerSchemaError, CallerMistake for one that is behind and may not be touched, UnavailableError.
    """
    place, connection, newest = place_in(url), await connect(url, _SETTINGS), max(steps())
    try:
        schema = await asyncio.wait_for(present(connection), MIGRATE_LIMIT)
    except FAILURES as error:
        raise UnavailableError(f"{place} is out of reach: {reason(error)}") from error
    finally:
        connection.terminate()
    check_not_too_new(schema, newest, place)
    if schema.version >= newest:
        return
    if not migrate_first:
        raise CallerMistake(f"{place} has schema {schema.version} and this release needs {newest}: run `longcall migrate`")
    await migrate(url)


async def present(connection: Connection) -> Schema:
    """What the database has."""
    if await connection.fetchval("SELECT to_regclass('longcall_schema')") is None:
        return Schema(0, 0)
    row = await connection.fetchrow(_PRESENT)
    assert row is not None  # noqa: S101 — an aggregate always gives a row
    return Schema(row["version"], row["oldest"])


def check_not_too_new(schema: Schema, newest: int, place: str) -> None:
    """Raise NewerSchemaError for a database that a release knowing steps up to `newest` would do harm to."""
    if schema.version > newest and schema.oldest > newest:
        raise NewerSchemaError(
            f"{place} has schema {schema.version}, for releases that know schema {schema.oldest} or later; "
            f"this one knows those up to {newest}: run a newer one"
        )


def steps() -> dict[int, Step]:
    """The steps this release knows, by number."""
    folder = files("longcall.stores") / "sql" / "postgres"
    return {
        int(file.name.partition("_")[0]): step_of(file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    }


def step_of(sql: str) -> Step:
    """Read a step; its first line says for whom it is still usable."""
    said = _OLDEST.match(sql)
    if said is None:
        raise ValueError('a step begins with "-- oldest: N", the oldest schema whose releases may still work after it')
    return Step(sql, int(said[1]))
