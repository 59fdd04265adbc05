"""What Firestore promises beyond the contract: unclear answers, limits of lists, shared polls, documents that expire."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from longcall.core.errors import UnavailableError, UnclearError
from longcall.core.lifecycle import create
from longcall.core.task import HttpRequest, State, Task, TaskSpec
from longcall.engine.ports import Query, Runner, Stored
from longcall.stores import firestore, firestore_page, firestore_polls
from longcall.stores.firestore import FirestoreStore
from longcall.stores.firestore_documents import key_of, name_of
from longcall.stores.firestore_polls import Polls
from longcall.testing.contract import Make, StoreContract, all_pages, population, queries, wanted
from tests.firestore import Proxy, Spoil, new_project, opened

START = datetime(2026, 11, 24, 8, tzinfo=UTC)
RUNNER = Runner("r", START, START)
make_tasks = StoreContract.make

# A server that looked at a write and did not make it answers with one of the first; any other may come from the way.
REFUSALS = [
    StatusCode.INVALID_ARGUMENT,
    StatusCode.PERMISSION_DENIED,
    StatusCode.UNAUTHENTICATED,
    StatusCode.UNIMPLEMENTED,
    StatusCode.NOT_FOUND,
    StatusCode.FAILED_PRECONDITION,
]
UNCLEAR = [code for code in StatusCode if code not in {*REFUSALS, StatusCode.OK, StatusCode.ALREADY_EXISTS}]


def now() -> datetime:
    """A clock that stands."""
    return START


def make(task_id: str = "a", **fields: object) -> Task:
    """A task; fields by name replace its own."""
    task = create(task_id, TaskSpec(HttpRequest("https://t.example/"), labels={"team": "ml"}), queue="q", trace="t", now=START)
    return replace(task, **fields)  # type: ignore[arg-type]  # fields by name


def following(stored: Stored) -> Task:
    """The record's next version."""
    return replace(stored.task, version=stored.task.version + 1)


async def kept(store: FirestoreStore, task_id: str = "a") -> Stored:
    """What is there; something is."""
    stored = await store.get(task_id)
    assert stored is not None
    return stored


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """What the store's calls go through."""
    async with Proxy().running() as proxy:
        yield proxy


@pytest.fixture
def project() -> str:
    """The database of this test."""
    return new_project()


@pytest.fixture
async def store(proxy: Proxy, project: str) -> AsyncIterator[FirestoreStore]:
    """A store behind the proxy."""
    async with opened(now, proxy.address, project=project) as store:
        yield store


@pytest.fixture
async def beside(project: str) -> AsyncIterator[FirestoreStore]:
    """Another process's store in the same database, with nothing between."""
    async with opened(now, project=project) as store:
        yield store


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that are given up after a moment."""
    monkeypatch.setattr(firestore, "WRITE_LIMIT", 0.3)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls that come ten times as often."""
    monkeypatch.setattr(firestore_polls, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(firestore_polls, "LONGEST_PAUSE", 0.5)


# Unclear answers


@pytest.mark.usefixtures("hasty")
async def test_an_insert_whose_answer_is_lost_is_unclear_and_may_have_landed(proxy: Proxy, store: FirestoreStore) -> None:
    """No answer within the limit: UnclearError, after one write; whoever reads finds the record."""
    proxy.spoil = lambda method: Spoil(lands=True) if method == "Commit" else None
    with pytest.raises(UnclearError, match=r"Firestore database \(default\) of project longcall-test"):
        await store.insert(make())
    assert (await kept(store)).task == make()
    assert proxy.count("Commit") == 1


@pytest.mark.usefixtures("hasty")
async def test_an_insert_that_is_lost_on_its_way_is_unclear_too(proxy: Proxy, store: FirestoreStore) -> None:
    """The writer can't tell the two apart; reading does."""
    proxy.spoil = lambda method: Spoil(lands=False) if method == "Commit" else None
    with pytest.raises(UnclearError):
        await store.insert(make())
    assert await store.get("a") is None


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("write", ["replace", "delete", "beat"])
async def test_other_writes_whose_answer_is_lost_are_unclear(proxy: Proxy, store: FirestoreStore, write: str) -> None:
    """A replace, a delete and a beat like an insert: what they wrote is there."""
    await store.insert(make())
    stored = await kept(store)
    proxy.spoil = lambda method: Spoil(lands=True) if method == "Commit" else None
    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "replace": lambda: store.replace(following(stored), stored.tag),
        "delete": lambda: store.delete(*stored),
        "beat": lambda: store.beat(RUNNER),
    }
    with pytest.raises(UnclearError):
        await asked[write]()
    found, runner = await store.get("a"), await store.runner("r")
    assert (found and found.task.version, runner and runner.name) == {
        "replace": (2, None),
        "delete": (None, None),
        "beat": (1, "r"),
    }[write]


@pytest.mark.usefixtures("quick")
async def test_a_write_whose_connection_is_cut_is_unclear(proxy: Proxy, store: FirestoreStore, beside: FirestoreStore) -> None:
    """The connection ends after the write was sent and before its answer came."""
    proxy.spoil = lambda _method: Spoil(lands=True)
    waiting = asyncio.ensure_future(beside.changed("a", 0, 5))
    writing = asyncio.ensure_future(store.insert(make()))
    assert await waiting is not None
    await proxy.cut()
    with pytest.raises(UnclearError):
        await writing


@pytest.mark.parametrize("code", UNCLEAR, ids=lambda code: code.name)
async def test_an_answer_that_does_not_say_no_is_unclear(proxy: Proxy, store: FirestoreStore, code: StatusCode) -> None:
    """Any code that a way between or a server in trouble may give, also for a write that landed; it is sent once."""
    proxy.spoil = lambda method: Spoil(lands=True, code=code) if method == "Commit" else None
    with pytest.raises(UnclearError, match=code.name):
        await store.insert(make())
    assert (await kept(store)).task == make()
    assert proxy.count("Commit") == 1


@pytest.mark.parametrize("code", REFUSALS, ids=lambda code: code.name)
async def test_a_refused_write_did_not_land(proxy: Proxy, store: FirestoreStore, code: StatusCode) -> None:
    """A refusal is no unclear answer: UnavailableError, and nobody need read back."""
    proxy.spoil = lambda _method: Spoil(lands=False, code=code)
    with pytest.raises(UnavailableError, match=code.name) as caught:
        await store.insert(make())
    assert not isinstance(caught.value, UnclearError)


@pytest.mark.parametrize("code", [StatusCode.NOT_FOUND, StatusCode.FAILED_PRECONDITION], ids=lambda code: code.name)
async def test_a_precondition_that_fails_is_false(proxy: Proxy, store: FirestoreStore, code: StatusCode) -> None:
    """The service may say of a record that moved on, or is gone, either of two codes: both mean that nothing was written."""
    await store.insert(make())
    stored = await kept(store)
    proxy.spoil = lambda method: Spoil(lands=False, code=code) if method == "Commit" else None
    assert not await store.replace(following(stored), stored.tag)
    assert not await store.delete(*stored)


@pytest.mark.parametrize("code", [*REFUSALS, *UNCLEAR], ids=lambda code: code.name)
async def test_a_failed_read_is_out_of_reach(proxy: Proxy, store: FirestoreStore, code: StatusCode) -> None:
    """Whatever a read fails with is UnavailableError and never unclear, for one record and for lists; it is asked once."""
    proxy.spoil = lambda _method: Spoil(lands=False, code=code)
    for read in (store.get("a"), store.page(Query()), store.owned("r"), store.runner("r"), store.counts(START), store.ping()):
        with pytest.raises(UnavailableError, match=code.name) as caught:
            await read
        assert not isinstance(caught.value, UnclearError)
    assert proxy.count("BatchGetDocuments") == 3


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (StatusCode.PERMISSION_DENIED, "grant this service account the role roles/datastore.user"),
        (StatusCode.NOT_FOUND, "there is no such project or database"),
        (StatusCode.FAILED_PRECONDITION, "deploy/firestore.indexes.json"),
    ],
)
async def test_what_an_operator_can_mend_is_said(proxy: Proxy, store: FirestoreStore, code: StatusCode, says: str) -> None:
    """Where, what is missing, and Firestore's own words."""
    proxy.spoil = lambda _method: Spoil(lands=False, code=code)
    with pytest.raises(UnavailableError) as caught:
        await store.ping()
    assert str(caught.value).startswith("Firestore database (default) of project longcall-test-")
    assert says in str(caught.value)
    assert "spoiled" in str(caught.value)


async def test_a_record_that_is_too_large_is_refused(store: FirestoreStore) -> None:
    """Firestore's own limit, 1 MiB for a document, is said in its words."""
    with pytest.raises(UnavailableError, match="longer than") as caught:
        await store.insert(make(extra={"large": "x" * 2**20}))
    assert not isinstance(caught.value, UnclearError)


# Out of reach


async def test_a_server_that_is_not_there_is_out_of_reach_at_once(proxy: Proxy, store: FirestoreStore) -> None:
    """Nobody listens: reads and pings raise UnavailableError, writes UnclearError, since the code is that of a broken connection."""
    await proxy.cut()
    async with asyncio.timeout(5):
        for read in (store.get("a"), store.ping()):
            with pytest.raises(UnavailableError):
                await read
        with pytest.raises(UnclearError):
            await store.insert(make())


async def test_a_server_that_is_silent_is_out_of_reach_within_five_seconds() -> None:
    """A connection on which no answer comes: every call by id gives up after 5 s, however often it has failed before."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with opened(now, f"127.0.0.1:{silent.getsockname()[1]}") as store:
            began = time.monotonic()
            calls = [store.ping(), store.get("a"), store.insert(make()), store.beat(RUNNER)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert 4.9 < time.monotonic() - began < 7
    assert [type(answer) for answer in answers] == [UnavailableError, UnavailableError, UnclearError, UnclearError]


async def test_a_store_that_was_left_answers_nothing() -> None:
    """After leaving, every call says that the store is closed."""
    async with opened(now) as store:
        await store.insert(make())
    for call in (store.get("a"), store.insert(make()), store.page(Query())):
        with pytest.raises(UnavailableError, match="closed"):
            await call


async def test_of_writers_in_two_processes_one_wins(store: FirestoreStore, beside: FirestoreStore) -> None:
    """Fifty writers under one tag, by two connections: one lands, and the record is that writer's."""
    await store.insert(make())
    task, tag = await kept(store)
    writes = [(store, beside)[n % 2].replace(replace(task, version=2, owner=f"r{n}"), tag) for n in range(50)]
    (winner,) = (number for number, told in enumerate(await asyncio.gather(*writes)) if told is not None)
    assert (await kept(beside)).task.owner == f"r{winner}"


# Names


KEYS = st.text(st.sampled_from("_./-0a~é\U0001d11e"), min_size=1, max_size=8)


@given(KEYS, KEYS)
def test_names_stand_in_the_order_of_ids(one: str, other: str) -> None:
    """Firestore sorts names by their bytes in UTF-8, which is by code point: as ids are sorted."""
    assert (name_of(one).encode() < name_of(other).encode()) == (one < other)


@given(KEYS)
def test_a_name_leads_back_to_its_id_and_is_never_reserved(key: str) -> None:
    """No name has a slash, is a dot or two, or begins and ends with two underscores."""
    name = name_of(key)
    assert key_of(name) == key
    assert "/" not in name
    assert name not in {".", ".."}
    assert not name.startswith("__")


@pytest.mark.parametrize("task_id", [".", "..", "__x__", "a/b", "a.callback-7", "_", "a%2Fb", "𝄞"])
async def test_any_id_works(store: FirestoreStore, task_id: str) -> None:
    """Ids that Firestore keeps for itself or can't name are kept like any other."""
    assert await store.insert(make(task_id, state=State.RUNNING, owner="r"))
    assert not await store.insert(make(task_id))
    assert await store.owned("r") == [task_id]
    assert (await store.page(Query())).tasks == [(await kept(store, task_id)).task]
    assert await store.delete(*await kept(store, task_id))


async def test_an_id_too_long_for_a_name_is_nobodys(store: FirestoreStore) -> None:
    """What Firestore would not even look for reads as None."""
    assert await store.get("x" * 1501) is None
    assert await store.get("") is None


async def test_labels_are_told_apart(store: FirestoreStore) -> None:
    """A label whose name has an equals sign is no other label."""
    spec = TaskSpec(HttpRequest("https://t.example/"), labels={"a=b": "c", "a%3Db": "d"})
    await store.insert(make(spec=spec))
    for label, fits in ((("a=b", "c"), 1), (("a", "b=c"), 0), (("a%3Db", "d"), 1), (("a=b", "d"), 0)):
        assert len((await store.page(Query(label=label))).tasks) == fits, label


# Lists


@pytest.fixture
def make_task() -> Make:
    """As the contract makes them."""
    return make_tasks.__wrapped__(StoreContract())  # type: ignore[attr-defined,no-any-return]  # a fixture's own function


@pytest.mark.parametrize("step", [2, 200])
async def test_lists_gone_through_in_steps_are_the_list(
    beside: FirestoreStore, make_task: Make, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """With more tasks in a range than are put in order here, every query still gives exactly what fits."""
    monkeypatch.setattr(firestore_page, "FEW", 0)
    monkeypatch.setattr(firestore_page, "STEP", step)
    tasks = population(make_task)
    await asyncio.gather(*(beside.insert(task) for task in tasks))
    newest_first = sorted(tasks, key=lambda task: (task.create_time, task.id), reverse=True)
    asked = [query for query in queries() if query.updated_after or query.overdue_at][:: 1 if step == 200 else 9]
    for query in asked:
        expected = [task.id for task in newest_first if wanted(task, query)]
        assert [task for page in await all_pages(beside, query) for task in page] == expected, query


async def test_a_request_looks_at_a_bounded_number_of_tasks(proxy: Proxy, store: FirestoreStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing fits, a page ends empty after so many tasks, and its token goes on to the last one that does."""
    monkeypatch.setattr(firestore_page, "FEW", 3)
    monkeypatch.setattr(firestore_page, "LOOKED_AT", 10)
    monkeypatch.setattr(firestore_page, "STEP", 5)
    moment = START + timedelta(seconds=50)
    old = [make(f"old{n}", create_time=START, update_time=moment + timedelta(seconds=1)) for n in range(4)]
    await asyncio.gather(*(store.insert(make(f"t{n:02}", create_time=moment, update_time=moment)) for n in range(30)))
    await asyncio.gather(*(store.insert(task) for task in old))
    query, pages = Query(updated_after=moment, limit=5), list[list[str]]()
    while query.token or not pages:
        proxy.seen.clear()
        page = await store.page(query)
        pages.append([task.id for task in page.tasks])
        assert len(proxy.seen) <= 1 + 2  # a count and two steps
        query = replace(query, token=page.next_token)
    assert [task_id for page in pages for task_id in page] == ["old3", "old2", "old1", "old0"]
    assert pages[0] == []


# Waiting


@pytest.mark.usefixtures("quick")
async def test_waiters_share_one_poll(proxy: Proxy, store: FirestoreStore, beside: FirestoreStore) -> None:
    """Fifty who wait for one id see another process's write by the readings of one, and nobody reads when nobody waits."""
    await store.insert(make())
    stored = await kept(beside)
    waiters = [asyncio.ensure_future(store.changed("a", 1, 30)) for _ in range(50)]
    await asyncio.sleep(0.25)
    assert await beside.replace(following(stored), stored.tag)
    async with asyncio.timeout(5):
        seen = await asyncio.gather(*waiters)
    assert {each.task.version for each in seen if each} == {2}
    done = proxy.count("BatchGetDocuments")
    assert done <= 10
    await asyncio.sleep(0.6)
    assert proxy.count("BatchGetDocuments") == done


async def test_a_write_of_this_process_is_read_once_for_all(proxy: Proxy, store: FirestoreStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is woken by an own write, not by the next poll, and all share one reading of it."""
    monkeypatch.setattr(firestore_polls, "FIRST_PAUSE", 30)
    await store.insert(make())
    stored = await kept(store)
    proxy.seen.clear()
    waiters = [asyncio.ensure_future(store.changed("a", 1, 30)) for _ in range(20)]
    await proxy.until("BatchGetDocuments", 1)
    await store.replace(following(stored), stored.tag)
    async with asyncio.timeout(5):
        await asyncio.gather(*waiters)
    assert proxy.count("BatchGetDocuments") <= 3


async def test_who_comes_while_a_reading_is_under_way_gets_a_later_one() -> None:
    """A reading begun before somebody came may be of before the write that they know of."""
    began, go_on, now_there = asyncio.Event(), asyncio.Event(), [Stored(make(), 1)]

    async def get(_task_id: str) -> Stored:
        read = now_there[-1]
        began.set()
        await go_on.wait()
        return read

    polls = Polls(get)
    early = asyncio.ensure_future(polls.changed("a", 0, 0))
    await began.wait()
    now_there.append(Stored(make(version=2), 2))
    late = asyncio.ensure_future(polls.changed("a", 0, 0))
    await asyncio.sleep(0)
    go_on.set()
    assert await early in now_there
    assert await late == now_there[-1]


async def test_pauses_between_polls_grow() -> None:
    """The first comes after 1 s, later ones at most 5 s apart."""
    assert (firestore_polls.FIRST_PAUSE, firestore_polls.LONGEST_PAUSE) == (1.0, 5.0)
    times: list[float] = []

    async def get(_task_id: str) -> None:
        times.append(asyncio.get_running_loop().time())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(firestore_polls, "FIRST_PAUSE", 0.1)
        patch.setattr(firestore_polls, "LONGEST_PAUSE", 0.2)
        await Polls(get).changed("a", 0, 1.0)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] > 0.09
    assert 0.19 < pauses[-1] < 0.5


@pytest.mark.usefixtures("quick")
async def test_who_waits_is_told_when_the_store_is_away(proxy: Proxy, store: FirestoreStore) -> None:
    """A poll that fails ends the waits with its error, as a first look would."""
    await store.insert(make())
    waiters = [asyncio.ensure_future(store.changed("a", 1, 30)) for _ in range(3)]
    await proxy.until("BatchGetDocuments", 2)  # the first poll: all three wait
    proxy.spoil = lambda _method: Spoil(lands=False, code=StatusCode.UNAVAILABLE)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(answer) for answer in answers] == [UnavailableError] * 3


# Documents


Fields = Callable[[str, str], Awaitable[dict[str, object]]]


@pytest.fixture
def fields(beside: FirestoreStore) -> Fields:
    """A document's fields as they are in the database."""

    async def fields(collection: str, name: str) -> dict[str, object]:
        found = await beside._client.collection(collection).document(name).get()  # noqa: SLF001 — what no store would read
        return found.to_dict() or {}

    return fields


async def test_an_ended_task_expires_and_an_open_one_does_not(project: str, fields: Fields) -> None:
    """`expireAt`, which the TTL policy reads, is the end and the retention; a task that is run again has none."""
    async with opened(now, retention=timedelta(days=7), project=project) as store:
        await store.insert(make(state=State.FAILED, finish_time=START))
        assert (await fields("longcallTasks", "a"))["expireAt"] == START + timedelta(days=7)
        stored = await kept(store)
        await store.replace(replace(following(stored), state=State.WAITING, finish_time=None), stored.tag)
        assert "expireAt" not in await fields("longcallTasks", "a")


async def test_a_silent_runner_expires(beside: FirestoreStore, fields: Fields) -> None:
    """Each beat moves the end of a runner's document on."""
    await beside.beat(RUNNER)
    assert (await fields("longcallRunners", "r"))["expireAt"] == START + timedelta(days=30)


async def test_fields_without_a_value_are_not_there(beside: FirestoreStore, fields: Fields) -> None:
    """No index carries a document for what it does not have: an owner only while RUNNING, a next attempt only while one is due."""
    await beside.insert(make())
    before = await fields("longcallTasks", "a")
    stored = await kept(beside)
    running = replace(following(stored), state=State.RUNNING, owner="r", next_attempt_time=None, cancel_request_time=START)
    await beside.replace(running, stored.tag)
    after = await fields("longcallTasks", "a")
    always = {"doc", "kind", "host", "labels", "createTime", "updateTime", "state"}
    assert before.keys() == always | {"nextAttemptTime"}
    assert after.keys() == always | {"owner", "cancelOwner"}
