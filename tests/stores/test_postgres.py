"""What PostgreSQL promises beyond the contract: groups, doubt, outages, other processes, migrations, plans."""

import asyncio
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core.errors import CallerMistake, LongcallError, NewerSchemaError, UnavailableError, UnclearError
from longcall.core.lifecycle import create
from longcall.core.task import HttpRequest, State, Task, TaskSpec
from longcall.engine.ports import Query, Runner, Stored
from longcall.stores import open_store
from longcall.stores import postgres as module
from longcall.stores import postgres_work as work
from longcall.stores.postgres import LIST_SETTINGS, PostgresStore
from longcall.stores.postgres_groups import MOST_BYTES, Groups
from longcall.stores.postgres_page import page_select
from longcall.stores.postgres_schema import Migrated, Step, apply, migrate, step_of, steps
from longcall.stores.postgres_server import SETTINGS, Connection, Connections, connect
from longcall.stores.postgres_text import original, plain
from tests.postgres import PASSWORD, TEMPLATE, Postgres
from tests.wire import Wire, wire

START = datetime(2026, 11, 24, 8, tzinfo=UTC)
LABELS = {"team": "ml"}


def make(task_id: str = "a", *, labels: dict[str, str] | None = None, **fields: object) -> Task:
    """A task; fields by name replace its own."""
    spec = TaskSpec(HttpRequest("https://t.example/"), labels=LABELS if labels is None else labels)
    return replace(create(task_id, spec, queue="q", trace="t", now=START), **fields)  # type: ignore[arg-type]  # fields by name


def following(task: Task, **fields: object) -> Task:
    """The record's next version, with these fields changed."""
    return replace(task, version=task.version + 1, **fields)  # type: ignore[arg-type]  # fields by name


@pytest.fixture
async def url(postgres: Postgres) -> AsyncIterator[str]:
    """A database with the schema."""
    async with postgres.database() as url:
        yield url


@pytest.fixture
async def empty(postgres: Postgres) -> AsyncIterator[str]:
    """A database without it."""
    async with postgres.database("template0") as url:
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    """An open store."""
    async with PostgresStore.open(url, migrate=False) as store:
        yield store


@pytest.fixture
async def beside(url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A connection of somebody else to the same database."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def until(true: Callable[[], Awaitable[object]]) -> None:
    """Wait for it, ten seconds at most."""
    async with asyncio.timeout(10):
        while not await true():  # noqa: ASYNC110 — the database tells nobody
            await asyncio.sleep(0.01)


async def waiting_for_a_lock(beside: "asyncpg.Connection[asyncpg.Record]") -> Sequence[int]:
    """The backends that wait for a lock in this database."""
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return [record["pid"] for record in await beside.fetch(sql)]


# The store


async def test_leaving_finishes_what_was_written(url: str) -> None:
    """A write that was asked for before the store is left is kept, waited for or not."""
    async with PostgresStore.open(url, migrate=False) as store:
        writes = [asyncio.ensure_future(store.insert(make(f"t{n}"))) for n in range(600)]
        await asyncio.sleep(0)
    assert all(await asyncio.gather(*writes))
    async with PostgresStore.open(url, migrate=False) as store:
        assert (await store.counts(START)).by_state == {State.SCHEDULED: 600}


async def test_a_store_that_was_left_answers_nothing(url: str) -> None:
    """After leaving, every call says that the store is closed."""
    async with PostgresStore.open(url, migrate=False) as store:
        pass
    for call in (store.insert(make()), store.get("a"), store.page(Query()), store.ping()):
        with pytest.raises(UnavailableError, match="closed"):
            await call


async def test_a_commit_is_answered_when_it_is_on_the_disk(url: str) -> None:
    """The store's connections leave `synchronous_commit` as it is on the server, which is on."""
    connection = await connect(url, SETTINGS)
    assert await connection.fetchval("SHOW synchronous_commit") == "on"
    await connection.close()


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=4), max_size=8))
def test_texts_sort_in_columns_as_they_do_here(texts: list[str]) -> None:
    """What is written for a column holds no NUL, is read back as it was, and sorts by code point, whatever is in it."""
    columns = {plain(text).encode(): text for text in texts}
    assert [columns[column] for column in sorted(columns)] == sorted(set(texts))
    for text in texts:
        assert "\x00" not in plain(text)
        assert original(plain(text)) == text


async def test_ids_and_names_of_any_text_come_back(store: PostgresStore) -> None:
    """NUL in an id, an owner or a runner's name is no trouble, and neither is half a character in a question."""
    odd = "a\x00b\x01\x02é"
    await store.insert(make(odd, state=State.RUNNING, owner=odd, cancel_request_time=START))
    await store.beat(Runner(odd, START, START))
    assert (list(await store.owned(odd)), list(await store.cancelled(odd))) == ([odd], [odd])
    assert [runner.name for runner in await store.runners()] == [odd]
    assert await store.runner(odd) is not None
    assert await store.get("\ud800") is None
    assert list((await store.page(Query(label=("\ud800", "")))).tasks) == []


async def test_a_host_that_is_none_is_kept_and_found(store: PostgresStore) -> None:
    """A URL with thousands of characters where the host belongs is a record like any other."""
    host = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(100)) + ".example"
    task = make(spec=TaskSpec(HttpRequest(f"https://{host}/")))
    assert await store.insert(task)
    assert list((await store.page(Query(host=host))).tasks) == [task]


# Groups


class Watch:
    """A kind of write that says what is under way, and takes its time."""

    def __init__(self) -> None:
        self.under_way: Counter[str] = Counter()
        self.groups: list[list[tuple[str, int]]] = []
        self.most_at_once = 0

    async def run(self, connection: Connection, asked: Sequence[tuple[str, int]]) -> Sequence[int]:
        """Note the group; its answers are its numbers."""
        self.groups.append(list(asked))
        self.under_way.update(key for key, _ in asked)
        assert max(self.under_way.values()) == 1, "two writes of one id"
        self.most_at_once = max(self.most_at_once, self.under_way.total())
        await connection.execute("SELECT pg_sleep(0.005)")
        self.under_way.subtract(key for key, _ in asked)
        return [number for _, number in asked]


@pytest.fixture
async def groups(url: str) -> AsyncIterator[Groups]:
    """A line with four groups at a time."""
    async with Connections.open(url, 4) as connections:
        groups = Groups(connections, 4)
        yield groups
        await groups.close()


async def test_no_two_writes_of_one_id_are_ever_under_way(groups: Groups) -> None:
    """Three hundred writes of ten ids: each is answered for itself, those of one id in their order, never two at once."""
    watch = Watch()

    async def write(n: int) -> object:
        await asyncio.sleep(n // 50 * 0.003)
        return await groups.do(watch.run, (f"t{n % 10}", n), key=f"t{n % 10}")

    assert await asyncio.gather(*(write(n) for n in range(300))) == list(range(300))
    for key in range(10):
        done = [number for group in watch.groups for name, number in group if name == f"t{key}"]
        assert done == sorted(done)
    assert watch.most_at_once > 1


async def test_what_waits_goes_in_one_group(groups: Groups) -> None:
    """Two hundred writes of as many ids, asked for at once, are one statement unless they are large; reads of one id share theirs."""
    watch = Watch()
    await asyncio.gather(*(groups.do(watch.run, (f"t{n}", n), key=f"t{n}") for n in range(200)))
    assert [len(group) for group in watch.groups] == [200]
    await asyncio.gather(*(groups.do(watch.run, (f"t{n}", n), key=f"t{n}", size=MOST_BYTES // 2) for n in range(4)))
    assert [len(group) for group in watch.groups[1:]] == [2, 2]

    async def read(_connection: Connection, asked: Sequence[str]) -> Sequence[int]:
        return [len(asked)] * len(asked)

    assert await asyncio.gather(*(groups.do(read, "a") for _ in range(20))) == [20] * 20


async def test_racing_writes_of_one_id_are_done_in_order(store: PostgresStore) -> None:
    """Writes given one after the other without waiting each see what the one before did."""
    first, again = make(), make(create_time=START + timedelta(seconds=1))
    answers = await asyncio.gather(
        store.insert(first),
        store.replace(following(first), 1),
        store.replace(following(first), 1),
        store.delete(first, 1),
        store.delete(first, 2),
        store.delete(first, 2),
        store.insert(again),
        store.insert(first),
    )
    assert answers == [True, 2, None, False, True, False, True, False]
    stored = await store.get("a")
    assert stored is not None
    assert stored.task == again


async def test_a_write_that_is_refused_takes_no_other_with_it(store: PostgresStore) -> None:
    """A label too long for its index is its own caller's error; the rest of the group lands."""
    long = "".join(chr(33 + n * n % 8191) for n in range(9000))
    bad = make("bad", labels={"k": long})
    answers = await asyncio.gather(store.insert(make("b")), store.insert(bad), store.insert(make("c")), return_exceptions=True)
    assert [type(answer) for answer in answers] == [bool, UnavailableError, bool]
    assert "index row" in str(answers[1])
    assert await store.get("bad") is None
    assert [task.id for task in (await store.page(Query(label=("team", "ml")))).tasks] == ["c", "b"]


async def test_two_processes_that_write_the_same_ids_wait_for_nobody_for_ever(url: str) -> None:
    """Two stores that replace the same hundred records at once, each in another order: each record has one winner."""
    async with PostgresStore.open(url, migrate=False) as one, PostgresStore.open(url, migrate=False) as other:
        tasks = [make(f"t{n}") for n in range(100)]
        await asyncio.gather(*(one.insert(task) for task in tasks))
        ours = asyncio.gather(*(one.replace(following(task, owner="one"), 1) for task in tasks))
        theirs = asyncio.gather(*(other.replace(following(task, owner="other"), 1) for task in reversed(tasks)))
        won, lost = await ours, list(reversed(await theirs))
        assert [a != b for a, b in zip(won, lost, strict=True)] == [True] * 100


# Doubt


@asynccontextmanager
async def locked(beside: "asyncpg.Connection[asyncpg.Record]", task_id: str) -> AsyncIterator[None]:
    """While somebody else holds a record's row."""
    async with beside.transaction():
        await beside.execute("SELECT FROM longcall_task WHERE id = $1 FOR UPDATE", task_id)
        yield


async def test_a_write_whose_connection_breaks_is_unclear_and_can_be_read_back(
    store: PostgresStore, beside: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A backend that is killed in the midst of a write leaves it in doubt; the next read tells, and the next write lands."""
    await store.insert(make())
    async with locked(beside, "a"):
        write = asyncio.ensure_future(store.replace(following(make()), 1))
        await until(lambda: waiting_for_a_lock(beside))
        (backend,) = await waiting_for_a_lock(beside)
        await beside.execute("SELECT pg_terminate_backend($1)", backend)
        with pytest.raises(UnclearError, match="whether it kept a write"):
            await write
    assert await store.get("a") == Stored(make(), 1)
    assert await store.replace(following(make()), 1)


async def test_a_row_that_stays_locked_is_no_doubt_and_holds_up_no_other(
    store: PostgresStore, beside: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The server gives up after 2 s and says so: the write did not land and never will; those beside it in its group did."""
    tasks = [make(task_id) for task_id in ("a", "b", "c")]
    await asyncio.gather(*(store.insert(task) for task in tasks))
    async with asyncio.timeout(5), locked(beside, "b"):
        answers = await asyncio.gather(*(store.replace(following(task), 1) for task in tasks), return_exceptions=True)
        assert [type(answer) for answer in answers] == [int, UnavailableError, int]
        assert "lock timeout" in str(answers[1])
    assert [stored and stored.task.version for stored in [await store.get(task.id) for task in tasks]] == [2, 1, 2]


@pytest.fixture
async def between(postgres: Postgres) -> AsyncIterator[Wire]:
    """A wire to the server."""
    async with wire(postgres.port) as between:
        yield between


@pytest.fixture
async def far(url: str, postgres: Postgres, between: Wire) -> AsyncIterator[PostgresStore]:
    """A store at the other end of it."""
    async with PostgresStore.open(url.replace(f":{postgres.port}/", f":{between.port}/"), migrate=False) as store:
        yield store


async def test_a_write_that_landed_unheard_is_unclear_and_read_back_as_landed(
    far: PostgresStore, between: Wire, beside: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The server did it and the answer was lost: UnclearError, and the record says that it landed."""
    second = following(make())
    await far.insert(make())
    assert await far.replace(second, 1)
    between.deaf = True
    write = asyncio.ensure_future(far.replace(following(second), 2))
    await until(lambda: beside.fetchval("SELECT 1 FROM longcall_task WHERE version = 3"))
    between.cut()
    with pytest.raises(UnclearError):
        await write
    between.deaf = False
    assert await far.get("a") == Stored(following(second), 3)


async def test_nothing_takes_longer_than_its_limit(far: PostgresStore, between: Wire) -> None:
    """On a wire where nothing passes, a write is unclear and everything else out of reach after 5 s; afterwards all is well again."""
    await far.insert(make())
    assert await far.replace(following(make()), 1)
    await asyncio.gather(*(far.owned("r") for _ in range(8)), far.page(Query()), far.page(Query()))  # now all connections are made
    between.hold()
    write = asyncio.ensure_future(far.replace(following(following(make())), 2))
    await asyncio.sleep(0.01)
    asks = (
        write,
        far.get("a"),
        far.page(Query()),
        far.counts(START),
        far.owned("r"),
        far.runners(),
        far.ping(),
        far.changed("a", 3, 60),
    )
    async with asyncio.timeout(7):
        answers = await asyncio.gather(*asks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [UnclearError, *[UnavailableError] * 7]
    between.release()
    stored = await far.get("a")
    assert stored is not None
    assert await far.insert(make("b"))
    await far.ping()


async def test_a_write_that_only_stood_in_line_is_not_unclear(url: str, beside: "asyncpg.Connection[asyncpg.Record]") -> None:
    """What waits behind a write of its own id was never sent: UnavailableError, and it does not land later."""
    async with Connections.open(url, 1) as connections:
        groups = Groups(connections, 1)

        async def sleep(connection: Connection, _asked: Sequence[None]) -> Sequence[None]:
            await connection.execute("SET statement_timeout = 0")
            await connection.execute("SELECT pg_sleep(30)")
            raise AssertionError

        first = asyncio.ensure_future(groups.do(sleep, None, key="a"))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(groups.do(work.insert, work.insert_of(make()), key="a"))
        answers = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(answer) for answer in answers] == [UnclearError, UnavailableError]
        await groups.close()
    assert await beside.fetchval("SELECT count(*) FROM longcall_task") == 0


# Outages


async def test_the_store_outlives_the_servers_death(postgres: Postgres, url: str) -> None:
    """While the server is away every call says so at once; when it is back the same store works, with all it was told True for."""
    async with PostgresStore.open(url, migrate=False) as store, PostgresStore.open(url, migrate=False) as other:
        await asyncio.gather(*(store.insert(make(f"t{n}")) for n in range(100)))
        await store.page(Query())
        await asyncio.to_thread(postgres.stop, "immediate")
        try:
            for call in (
                store.ping(),
                store.get("t1"),
                store.insert(make("x")),
                store.page(Query()),
                store.beat(Runner("r", START, START)),
            ):
                with pytest.raises(UnavailableError, match=f"127.0.0.1:{postgres.port}"):
                    await call
        finally:
            await asyncio.to_thread(postgres.start)
        await store.ping()
        assert (await store.counts(START)).by_state == {State.SCHEDULED: 100}
        waiter = await waiting(store, "y")
        assert await other.insert(make("y"))
        await heard(waiter)


# Other processes


async def waiting(store: PostgresStore, task_id: str = "a", after: int = 0) -> "asyncio.Task[Stored | None]":
    """Somebody who waits, and has had the time to see that there is nothing yet; the store has had the time to listen."""
    waiter = asyncio.ensure_future(store.changed(task_id, after, 30))
    await asyncio.sleep(0.1)
    assert not waiter.done()
    return waiter


async def heard(waiter: "asyncio.Task[Stored | None]") -> Stored | None:
    """What the waiter was told, before it would have read again by itself."""
    async with asyncio.timeout(4):
        return await waiter


async def test_a_write_of_another_process_wakes_those_who_wait(store: PostgresStore, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An insert, a replace, a delete and a purge of another store are each seen at once, and not by reading again."""
    monkeypatch.setattr(module, "AGAIN", 1000.0)
    done = make("b", state=State.SUCCEEDED, finish_time=START)
    async with PostgresStore.open(url, migrate=False) as patient:
        waiter = await waiting(patient)
        await store.insert(make())
        assert await heard(waiter) == Stored(make(), 1)
        waiter = await waiting(patient, after=1)
        await store.replace(following(make()), 1)
        assert await heard(waiter) == Stored(following(make()), 2)
        waiter = await waiting(patient, after=2)
        await store.delete(following(make()), 2)
        assert await heard(waiter) is None
        await store.insert(done)
        waiter = await waiting(patient, "b", after=1)
        assert await store.purge(START + timedelta(seconds=1), 9) == [done]
        assert await heard(waiter) is None


async def test_a_group_tells_of_everything_in_it(store: PostgresStore, url: str) -> None:
    """A thousand records forgotten in one statement are told of, all of them: a notification has room for 400."""
    tasks = [make(f"t{n}", state=State.SUCCEEDED, finish_time=START) for n in range(1000)]
    await asyncio.gather(*(store.insert(task) for task in tasks))
    async with PostgresStore.open(url, migrate=False) as other:
        waiters = [await waiting(other, f"t{n}", after=1) for n in (0, 500, 999)]
        assert len(await store.purge(START + timedelta(seconds=1), 1000)) == 1000
        assert [await heard(waiter) for waiter in waiters] == [None] * 3


CHANGE = "UPDATE longcall_task SET version = 2, doc = replace(doc, '\"version\":1', '\"version\":2')"


async def test_a_write_nobody_told_of_is_found_by_reading_again(
    url: str, beside: "asyncpg.Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost notification costs a waiter some seconds and not the wait."""
    monkeypatch.setattr(module, "AGAIN", 0.2)
    async with PostgresStore.open(url, migrate=False) as store:
        await store.insert(make())
        waiter = await waiting(store, after=1)
        await beside.execute(CHANGE)
        assert await heard(waiter) == Stored(following(make()), 2)


async def test_a_listener_that_comes_back_lets_all_read_again(
    url: str, beside: "asyncpg.Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written while nobody listened is seen as soon as somebody does again, and so is what comes after."""
    monkeypatch.setattr(module, "AGAIN", 1000.0)
    async with PostgresStore.open(url, migrate=False) as store, PostgresStore.open(url, migrate=False) as other:
        await store.insert(make())
        waiter = await waiting(store, after=1)
        await beside.execute(CHANGE)
        await beside.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        assert await heard(waiter) == Stored(following(make()), 2)
        waiter = await waiting(store, after=2)
        await other.replace(following(following(make())), 2)
        assert await heard(waiter) is not None


# The schema


async def test_an_empty_database_is_brought_up_to_date_once(empty: str) -> None:
    """The first time makes the schema, the second finds it done; opening with `migrate` does the same by itself."""
    assert await migrate(empty) == Migrated(0, max(steps()))
    assert await migrate(empty) == Migrated(max(steps()), max(steps()))
    async with PostgresStore.open(empty, migrate=False) as store:
        assert await store.insert(make())


async def test_of_many_who_begin_at_once_one_makes_the_schema(empty: str) -> None:
    """Eight processes that start together: one does the work, the others wait for it, all of them can write."""
    done = await asyncio.gather(*(migrate(empty) for _ in range(8)))
    assert sorted(done) == [Migrated(0, 1), *[Migrated(1, 1)] * 7]


async def test_many_who_open_an_empty_database_at_once_all_succeed(empty: str) -> None:
    """The same by opening."""

    async def use(name: str) -> bool:
        async with open_store(empty, lambda: START) as store:
            return await store.insert(make(name))

    assert await asyncio.gather(*(use(f"t{n}") for n in range(6))) == [True] * 6


async def test_a_database_that_is_behind_is_not_touched_without_leave(empty: str, postgres: Postgres) -> None:
    """Without `migrate` the error says what to run, and nothing is made."""
    with pytest.raises(CallerMistake, match=r"has schema 0 and this release needs 1: run `longcall migrate`$"):
        async with open_store(empty, lambda: START, migrate=False):
            pass
    assert await postgres.do("SELECT 1 FROM pg_tables WHERE tablename LIKE 'longcall%'", url=empty) == []


async def later(url: str, *changes: Step) -> Migrated:
    """What later releases, each with one step more, make of a database."""
    known = steps() | dict(enumerate(changes, max(steps()) + 1))
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            return await apply(connection, known, "here")
    finally:
        await connection.close()


WIDER = step_of("-- oldest: 1\nALTER TABLE longcall_task ADD COLUMN priority integer;\nALTER TABLE longcall_runner ADD COLUMN zone text")
NARROWER = step_of("-- oldest: 3\nALTER TABLE longcall_task DROP COLUMN host")


async def test_this_release_works_on_a_later_schema_that_allows_it(url: str) -> None:
    """A step that says this release may still work after it: the store opens, writes and lists, and migrates nothing."""
    assert await later(url, WIDER) == Migrated(1, 2)
    assert await migrate(url) == Migrated(2, 2)
    async with PostgresStore.open(url, migrate=False) as store:
        assert await store.insert(make())
        await store.beat(Runner("r", START, START))
        assert list((await store.page(Query(label=("team", "ml")))).tasks) == [make()]
        assert len(await store.runners()) == 1


async def test_this_release_refuses_a_later_schema_that_does_not_allow_it(url: str) -> None:
    """One step that breaks with this release is enough, whatever the steps around it say."""
    assert await later(url, WIDER, NARROWER, WIDER._replace(sql="SELECT 1")) == Migrated(1, 4)
    for act in (migrate(url), PostgresStore.open(url, migrate=True).__aenter__(), PostgresStore.open(url, migrate=False).__aenter__()):
        with pytest.raises(
            NewerSchemaError, match=r"/test_\d+ has schema 4, for releases that know schema 3 or later; this one knows those up to 1"
        ):
            await act


async def test_a_step_that_fails_leaves_everything_as_it_was(url: str, postgres: Postgres) -> None:
    """The steps are applied all or none."""
    with pytest.raises(asyncpg.PostgresError):
        await later(url, WIDER, step_of("-- oldest: 1\nALTER TABLE nobody ADD COLUMN x integer"))
    assert await migrate(url) == Migrated(1, 1)
    assert await postgres.do("SELECT 1 FROM information_schema.columns WHERE column_name = 'priority'", url=url) == []


def test_a_step_says_for_whom_it_is_still_usable() -> None:
    """A step without that line is the author's mistake, found at once."""
    with pytest.raises(ValueError, match="oldest: N"):
        step_of("CREATE TABLE x ()")


# What is wrong at the start


async def error_of(url: str) -> LongcallError:
    """What opening says: one sentence, which names the server and keeps the password to itself."""
    with pytest.raises(LongcallError) as caught:
        async with open_store(url, lambda: START):
            pass
    message = str(caught.value)
    assert PASSWORD not in message
    assert "wrong-one" not in message
    assert "\n" not in message
    return caught.value


async def test_a_wrong_password_is_said_without_it(postgres: Postgres) -> None:
    """The caller's mistake, with where and who."""
    error = await error_of(postgres.url(TEMPLATE, "wrong-one"))
    assert type(error) is CallerMistake
    assert f"127.0.0.1:{postgres.port}/{TEMPLATE}" in str(error)
    assert "password authentication failed" in str(error)


async def test_a_missing_database_is_named(postgres: Postgres) -> None:
    """The caller's mistake."""
    error = await error_of(postgres.url("nobody"))
    assert type(error) is CallerMistake
    assert f"127.0.0.1:{postgres.port}/nobody: there is no such database" in str(error)


async def test_a_server_that_is_not_there_is_out_of_reach() -> None:
    """Nobody listens on the port."""
    async with wire(1) as unused:
        port = unused.port
    error = await error_of(f"postgresql://u:wrong-one@127.0.0.1:{port}/db")
    assert type(error) is UnavailableError
    assert f"PostgreSQL at 127.0.0.1:{port}/db is out of reach" in str(error)


async def test_a_host_nobody_knows_is_out_of_reach() -> None:
    """A name without an address (RFC 2606 keeps `.invalid` free of them)."""
    error = await error_of("postgresql://u:wrong-one@nowhere.invalid/db")
    assert type(error) is UnavailableError
    assert "nowhere.invalid/db is out of reach: there is no host of that name" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:wrong-one@127.0.0.1:port/db",
        "postgresql://u:wrong-one/1@127.0.0.1/db",
        "postgresql://u:1/wrong-one@127.0.0.1/db",
        "postgresql://u:wrong-one@1@127.0.0.1/db",
        "postgresql://u:1#wrong-one@127.0.0.1/db",
        "postgresql://u:wrong-one?@127.0.0.1/db",
        "postgresql://u:wrong-one@127.0.0.1/db?sslmode",
        "postgresql://u:wrong-one@[::1/db",
    ],
)
async def test_a_url_that_can_not_be_read_is_not_repeated(url: str) -> None:
    """A password with letters that mean something in a URL, or anything else unreadable: what is right is said, and nothing of the URL."""
    error = await error_of(url)
    assert type(error) is CallerMistake
    assert "%40 for @" in str(error)


async def test_a_setting_the_server_does_not_know_is_named(url: str) -> None:
    """What follows the question mark is the server's to refuse."""
    error = await error_of(f"{url}?nobodys_setting=1")
    assert type(error) is CallerMistake
    assert "nobodys_setting" in str(error)


async def test_a_setting_nobody_knows_how_to_follow_is_named() -> None:
    """What asyncpg itself refuses is said in its words."""
    error = await error_of("postgresql://u:wrong-one@127.0.0.1/db?sslmode=perhaps")
    assert type(error) is CallerMistake
    assert "`sslmode` parameter must be one of" in str(error)


async def test_a_socket_is_a_server_too(postgres: Postgres, tmp_path: Path) -> None:
    """Cloud SQL on App Engine is a socket in a folder with colons in its name: it is what `host` says, and named so."""
    folder = tmp_path / "project:region:instance"
    error = await error_of(f"postgresql://u:wrong-one@/db?host={folder}")
    assert type(error) is UnavailableError
    assert f"PostgreSQL at {folder}/db is out of reach" in str(error)
    folder.symlink_to(postgres.folder)
    async with open_store(f"postgresql://postgres@/{TEMPLATE}?host={folder}&port={postgres.port}", lambda: START) as store:
        await store.ping()


async def test_a_user_who_may_make_no_tables_is_told(empty: str, postgres: Postgres) -> None:
    """A user without the right to make the tables: the caller's mistake, at the start."""
    await postgres.do("DROP ROLE IF EXISTS guest")
    await postgres.do("CREATE ROLE guest LOGIN PASSWORD 'wrong-one'")
    error = await error_of(empty.replace("postgres:" + PASSWORD, "guest:wrong-one"))
    assert type(error) is CallerMistake
    assert "may not make or change Longcall's tables" in str(error)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
async def test_both_schemes_open_the_store(url: str, scheme: str) -> None:
    """`postgres://` is what some providers write."""
    async with open_store(url.replace("postgresql", scheme), lambda: START) as store:
        await store.ping()


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the command."""
    for name in [name for name in sys.modules if name.startswith(("asyncpg", "longcall.stores.postgres"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(CallerMistake, match=r"pip install 'longcall\[postgres\]'$"):
        open_store("postgresql://u:p@127.0.0.1/db", lambda: START)


# How it is looked up

MANY = 20_000
FILL = f"""
INSERT INTO longcall_task (id, version, kind, host, create_time, state, reason, owner, update_time, finish_time, next_attempt_time, doc)
SELECT 't' || n, 1, 'call', 'h' || n % 10, '2026-11-24'::timestamptz + n * interval '1 s',
    CASE n % 1000 WHEN 0 THEN 'RUNNING' WHEN 1 THEN 'WAITING' WHEN 2 THEN 'FAILED' ELSE 'SUCCEEDED' END,
    CASE n % 1000 WHEN 2 THEN 'status' END,
    CASE n % 1000 WHEN 0 THEN 'r' END, '2026-11-24'::timestamptz + n * interval '1 s', '2026-11-24'::timestamptz + n * interval '1 s',
    CASE n % 1000 WHEN 1 THEN '2026-11-24'::timestamptz END, repeat('x', 1000)
FROM generate_series(1, {MANY}) AS n
"""  # noqa: S608 — a number
FILL_LABELS = """
INSERT INTO longcall_label (key, value, kind, create_time, id)
SELECT key, value, kind, create_time, id
FROM longcall_task, LATERAL (VALUES ('team', 'ml'), ('customer', 'c' || right(id, 2))) AS l (key, value)
"""
QUERIES = {
    "newest": Query(),
    "later": Query(created_before=START),
    "host": Query(host="h3"),
    "reason": Query(reason="status"),
    "label of many": Query(label=("team", "ml")),
    "label of few": Query(label=("customer", "c7")),
    "a rare state": Query(states=frozenset({State.RUNNING})),
    "the usual state": Query(states=frozenset({State.SUCCEEDED})),
    "all states": Query(states=frozenset(State)),
    "updated lately": Query(updated_after=datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=MANY - 30)),
    "overdue": Query(overdue_at=START + timedelta(days=2)),
}
PAIRS = {
    "rare state and host": Query(states=frozenset({State.FAILED}), host="h2"),
    "rare state and label": Query(states=frozenset({State.FAILED}), label=("team", "ml")),
    "usual state and label": Query(states=frozenset({State.SUCCEEDED}), label=("customer", "c7")),
    "label and host": Query(label=("team", "ml"), host="h7"),
    "reason and label": Query(reason="status", label=("team", "ml")),
}


@pytest.fixture(scope="module")
def full(postgres: Postgres) -> str:
    """A database with many tasks of which the planner knows nothing."""
    url = postgres.url("full_of_tasks")

    async def fill() -> None:
        await postgres.do(f"CREATE DATABASE full_of_tasks TEMPLATE {TEMPLATE}")
        await postgres.do("ALTER TABLE longcall_task SET (autovacuum_enabled = off)", url=url)
        await postgres.do("ALTER TABLE longcall_label SET (autovacuum_enabled = off)", url=url)
        await postgres.do(FILL, url=url)
        await postgres.do(FILL_LABELS, url=url)

    asyncio.run(fill())
    return url


@pytest.fixture(scope="module")
def known(postgres: Postgres, full: str) -> str:
    """The same, once the planner has looked at it, as the server sees to within a minute."""
    del full
    url = postgres.url("known_tasks")

    async def look() -> None:
        await postgres.do("CREATE DATABASE known_tasks TEMPLATE full_of_tasks")
        await postgres.do("ANALYZE", url=url)

    asyncio.run(look())
    return url


def steps_of(plan: dict[str, object]) -> list[str]:
    """The kinds of node in a plan."""
    inner = plan.get("Plans", [])
    assert isinstance(inner, list)
    return [str(plan["Node Type"]), *(step for part in inner for step in steps_of(part))]


async def explained(url: str, sql: str, *values: object) -> tuple[list[str], int]:
    """The nodes of a statement's plan, and how many blocks of 8 KiB it looked at."""
    connection = await connect(url, LIST_SETTINGS)
    try:
        ((explained,),) = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *values)
    finally:
        await connection.close()
    plan = json.loads(explained)[0]["Plan"]
    return steps_of(plan), plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
async def test_a_list_is_walked_in_an_index(full: str, query: Query) -> None:
    """No table is read whole, and what is looked at is a page's worth, though the planner has never looked at these tables."""
    select = page_select(query, None)
    nodes, blocks = await explained(full, select.sql, *select.params)
    assert "Seq Scan" not in nodes
    assert blocks < 700


@pytest.mark.parametrize("query", [*QUERIES.values(), *PAIRS.values()], ids=[*QUERIES, *PAIRS])
async def test_the_rarer_of_two_filters_is_walked(known: str, query: Query) -> None:
    """A planner that knows the tables looks at next to nothing for two filters as well."""
    select = page_select(query, None)
    nodes, blocks = await explained(known, select.sql, *select.params)
    assert "Seq Scan" not in nodes
    assert blocks < 1000


OTHERS: dict[str, tuple[str, tuple[object, ...]]] = {
    "owned": (work.OWNED, ("r",)),
    "owned by anyone": (work.RUNNING, ()),
    "cancelled": (work.CANCELLED, ("r",)),
    "purge": (work.ENDED, (START, 20)),
}


@pytest.mark.parametrize(("sql", "values"), OTHERS.values(), ids=OTHERS)
async def test_claims_and_purge_read_nothing_but_their_own(full: str, sql: str, values: tuple[object, ...]) -> None:
    """With twenty thousand tasks beside it, each does next to nothing."""
    nodes, blocks = await explained(full, sql, *values)
    assert "Seq Scan" not in nodes
    assert blocks < 100


@pytest.mark.parametrize("sql", [work.GET, work.REPLACE, work.DELETE], ids=["get", "replace", "delete"])
async def test_a_plan_made_for_a_few_records_does_for_many(store: PostgresStore, url: str, sql: str) -> None:
    """Plans are kept while a table grows, so a record is looked up by its id even where reading the whole table were quicker."""
    await asyncio.gather(*(store.insert(make(f"t{n}")) for n in range(20)))
    nothing = ", ".join(["NULL"] * len(set(re.findall(r"\$\d+", sql))))
    connection = await connect(url, SETTINGS | {"plan_cache_mode": "force_generic_plan"})
    try:
        await connection.execute(f"ANALYZE; PREPARE kept AS {sql}")
        plan = [line for (line,) in await connection.fetch(f"EXPLAIN EXECUTE kept ({nothing})")]
    finally:
        await connection.close()
    assert any("longcall_task_pkey" in line for line in plan)
    assert not any("Seq Scan" in line for line in plan)
