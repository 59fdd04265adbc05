"""What every store promises. There is one suite, and no store is excused from any of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from longcall.core.errors import InvalidArgumentError, NewerSchemaError
from longcall.core.lifecycle import create, reject, take
from longcall.core.target import host
from longcall.core.task import Failure, HttpRequest, Kind, State, Task, TaskSpec, Unreadable
from longcall.core.wire import task_to_json
from longcall.engine.ports import Query, Runner, Store, Stored

START = datetime(2026, 11, 24, 8, tzinfo=UTC)
Make = Callable[..., Task]
Elapse = Callable[[timedelta], Awaitable[None]]
Plant = Callable[[str, dict[str, object]], Awaitable[None]]


def at(second: float) -> datetime:
    """So many seconds after the start."""
    return START + timedelta(seconds=second)


def following(task: Task, **fields: object) -> Task:
    """The record's next version, with these fields changed."""
    return replace(task, version=task.version + 1, **fields)  # type: ignore[arg-type]  # fields by name


async def kept(store: Store, task_id: str = "a") -> Stored:
    """What the store has under an id; it has something."""
    stored = await store.get(task_id)
    assert stored is not None
    return stored


async def rewrite(store: Store, task: Task) -> None:
    """Write what comes after the record as it stands."""
    assert await store.replace(task, (await kept(store, task.id)).tag)


async def fill(store: Store, tasks: Sequence[Task]) -> None:
    """Insert them all."""
    assert all(await asyncio.gather(*(store.insert(task) for task in tasks)))


async def ids(store: Store, query: Query) -> list[str]:
    """The ids on the first page."""
    return [task.id for task in (await store.page(query)).tasks]


async def all_pages(store: Store, query: Query) -> list[list[str]]:
    """The ids on every page."""
    pages, token = [], None
    while token != "":
        page = await store.page(replace(query, token=token or ""))
        pages.append([task.id for task in page.tasks])
        token = page.next_token
    return pages


def population(make: Make) -> list[Task]:
    """Tasks that differ in everything a query asks for, each in several ways at once."""
    states = [*State, State.FAILED]
    tasks = []
    for n in range(84):
        state, reason = states[n % 7], "status" if n % 2 else "invalid"
        labels = {"team": "ml" if n % 3 else "web"} | ({"env": "ml"} if n % 5 == 0 else {})
        spec = TaskSpec(HttpRequest(f"https://{'A' if n % 4 else 'b'}.example:8080/"), labels=labels)
        tasks.append(
            make(
                f"t{n}",
                n // 3,
                spec=spec,
                state=state,
                kind=Kind.CALLBACK if n % 6 == 0 else Kind.CALL,
                update_time=at(n * 37 % 84),
                next_attempt_time=None if state.ended or state is State.RUNNING else at(n),
                failure=Failure(reason, "", may_have_run=False) if state is State.FAILED else None,
            )
        )
    return tasks


def wanted(task: Task, query: Query) -> bool:
    """`Query`, said again in terms of a task."""
    assert isinstance(task.spec, TaskSpec)
    due = task.next_attempt_time
    return all(
        (
            task.kind == query.kind,
            not query.states or task.state in query.states,
            query.label is None or task.spec.labels.get(query.label[0]) == query.label[1],
            query.reason is None or (task.failure is not None and task.failure.reason == query.reason),
            query.host is None or host(task.spec.request.url) == query.host,
            query.created_after is None or task.create_time > query.created_after,
            query.created_before is None or task.create_time < query.created_before,
            query.updated_after is None or task.update_time > query.updated_after,
            query.overdue_at is None or (due is not None and due < query.overdue_at - timedelta(minutes=5)),
        )
    )


OPEN, ENDED = frozenset({State.SCHEDULED, State.RUNNING}), frozenset({State.FAILED, State.SUCCEEDED, State.CANCELLED})


def queries() -> Iterator[Query]:
    """Every filter by itself and with every other: what a store may be asked for."""
    axes: tuple[tuple[Any, ...], ...] = (
        (Kind.CALL, Kind.CALLBACK),
        (frozenset(), frozenset({State.FAILED}), OPEN, ENDED),
        (None, ("team", "ml"), ("env", "ml"), ("team", "nobody")),
        (None, "status"),
        (None, "a.example"),
        (None, at(5)),
        (None, at(20)),
        (None, at(40)),
        (None, at(300 + 50)),
    )
    return (replace(Query(*facts), limit=7) for facts in product(*axes))


async def waiting(store: Store, after: int, task_id: str = "a") -> "asyncio.Task[Stored | None]":
    """Somebody who waits, and has had the time to see that there is nothing yet."""
    waiter = asyncio.ensure_future(store.changed(task_id, after, 30))
    await store.ping()
    await asyncio.sleep(0.01)
    assert not waiter.done()
    return waiter


class StoreContract:
    """The tests of a store. A subclass gives three fixtures, and pytest-asyncio runs it.

    `store` is an empty store. `elapse(time)` lets so much time pass on the store's own clock (a store whose clock is a server's may
    date back what it knows instead). `plant(id, fields)` writes fields into a record's JSON past the store, as another release might have.
    """

    @pytest.fixture
    def make(self) -> Make:
        """Make a SCHEDULED task created `second` seconds after the start; anything else replaces a field of it."""

        def make(task_id: str = "a", second: float = 0, *, spec: TaskSpec | None = None, **fields: object) -> Task:
            spec = spec or TaskSpec(HttpRequest("https://target.example/train"))
            task = create(task_id, spec, queue="projects/p/locations/l/queues/q", trace="0af7", now=START + timedelta(seconds=second))
            return replace(task, **fields)  # type: ignore[arg-type]  # fields by name, as `replace` takes them

        return make

    # One record

    async def test_a_record_is_read_as_it_was_written(self, store: Store, make: Make) -> None:
        """What is inserted is what `get` gives."""
        task = make(spec=TaskSpec(HttpRequest("https://t.example/", headers={"X-A": "1"}, body=b"\x00\xff"), labels={"team": "ml"}))
        assert await store.insert(task)
        assert (await kept(store)).task == task

    async def test_what_could_not_be_read_is_kept(self, store: Store) -> None:
        """A body that is no valid task is a record like any other."""
        task = reject("a", Unreadable(b"{\xff", "no JSON"), queue="q", trace="t", now=START)
        assert await store.insert(task)
        assert (await kept(store)).task == task

    async def test_an_id_is_taken_once(self, store: Store, make: Make) -> None:
        """A second insert of an id answers False and changes nothing."""
        assert await store.insert(make(second=1))
        assert not await store.insert(make(second=2))
        assert (await kept(store)).task == make(second=1)

    async def test_nothing_is_read_as_none(self, store: Store) -> None:
        """An id nobody wrote reads as None."""
        assert await store.get("nobody") is None

    async def test_a_replace_lands_under_the_tag_it_was_read_with(self, store: Store, make: Make) -> None:
        """The next version takes the place of the one that was read, and of nothing else."""
        await store.insert(make())
        first = await kept(store)
        second = take(first.task, "runner", at(1))
        assert await store.replace(second, first.tag)
        assert (await kept(store)).task == second
        assert await store.replace(following(second), (await kept(store)).tag)

    async def test_a_replace_tells_the_next_tag(self, store: Store, make: Make) -> None:
        """Whoever wrote a version may write the one after it without reading in between, unless another did."""
        await store.insert(make())
        first = await kept(store)
        second = take(first.task, "runner", at(1))
        tag = await store.replace(second, first.tag)
        assert tag == (await kept(store)).tag
        third = following(second)
        assert await store.replace(third, tag)
        assert (await kept(store)).task == third
        assert await store.replace(following(second), tag) is None

    async def test_a_replace_under_a_stale_tag_changes_nothing(self, store: Store, make: Make) -> None:
        """Whoever read before another's write is told None."""
        await store.insert(make())
        stale = await kept(store)
        await store.replace(following(stale.task, owner="winner"), stale.tag)
        assert not await store.replace(following(stale.task, owner="loser"), stale.tag)
        assert (await kept(store)).task.owner == "winner"

    async def test_a_replace_of_nothing_makes_nothing(self, store: Store, make: Make) -> None:
        """A record that was forgotten does not come back by a replace."""
        await store.insert(make())
        stored = await kept(store)
        assert await store.delete(*stored)
        assert not await store.replace(following(stored.task), stored.tag)
        assert await store.get("a") is None

    async def test_a_tag_does_not_fit_another_record_of_the_same_id(self, store: Store, make: Make) -> None:
        """An id that was forgotten and used again is another record, also at the same version."""
        await store.insert(make(second=1))
        stored = await kept(store)
        assert await store.delete(*stored)
        await store.insert(make(second=2))
        assert not await store.replace(following(stored.task), stored.tag)
        assert (await kept(store)).task == make(second=2)

    async def test_of_racing_replaces_one_wins(self, store: Store, make: Make) -> None:
        """Fifty writers under one tag: one lands, and the record is that writer's."""
        await store.insert(make())
        task, tag = await kept(store)
        won = await asyncio.gather(*(store.replace(following(task, owner=f"r{n}"), tag) for n in range(50)))
        (winner,) = (number for number, tag in enumerate(won) if tag is not None)
        assert (await kept(store)).task.owner == f"r{winner}"

    async def test_of_racing_inserts_one_wins(self, store: Store, make: Make) -> None:
        """Fifty inserts of one id: one True, and the record is that one's."""
        won = await asyncio.gather(*(store.insert(make(trace=f"t{n}")) for n in range(50)))
        assert sum(won) == 1
        assert (await kept(store)).task.trace == f"t{won.index(True)}"

    async def test_racing_writes_under_one_tag_land_once(self, store: Store, make: Make) -> None:
        """Replaces and deletes that race under one tag: one lands, and what is there is what that one wrote."""
        await store.insert(make())
        task, tag = await kept(store)
        writes = [store.replace(following(task, owner="r"), tag) if n % 2 else store.delete(task, tag) for n in range(10)]
        (winner,) = (number for number, landed in enumerate(await asyncio.gather(*writes)) if landed)
        stored = await store.get("a")
        assert (stored and stored.task) == (following(task, owner="r") if winner % 2 else None)

    async def test_writes_of_many_ids_at_once_have_each_their_own_answer(self, store: Store, make: Make) -> None:
        """Good, stale and doubled writes side by side: every one is answered for itself."""
        await fill(store, [make(f"t{n}") for n in range(20)])
        tags = {n: (await kept(store, f"t{n}")).tag for n in range(20)}
        await asyncio.gather(*(store.replace(following(make(f"t{n}")), tags[n]) for n in range(0, 20, 2)))
        answers = await asyncio.gather(
            *(store.replace(following(make(f"t{n}"), owner="late"), tags[n]) for n in range(20)),
            *(store.insert(make(f"t{n}")) for n in range(15, 25)),
        )
        assert [bool(answer) for answer in answers] == [n % 2 == 1 for n in range(20)] + [n >= 20 for n in range(15, 25)]

    async def test_a_write_whose_caller_is_gone_hurts_nobody(self, store: Store, make: Make) -> None:
        """A cancelled write may land or not; the writes beside it have their answers."""
        gone = asyncio.ensure_future(store.insert(make("gone")))
        beside = [asyncio.ensure_future(store.insert(make(f"b{n}"))) for n in range(3)]
        await asyncio.sleep(0)
        gone.cancel()
        assert await asyncio.gather(*beside) == [True] * 3
        assert await store.insert(make("later"))

    async def test_a_deleted_record_is_gone(self, store: Store, make: Make) -> None:
        """Deleting answers True once; the id is free, and its old labels lead nowhere."""
        await store.insert(make(spec=TaskSpec(HttpRequest("https://t.example/"), labels={"team": "ml"})))
        stored = await kept(store)
        assert await store.delete(*stored)
        assert not await store.delete(*stored)
        assert await store.get("a") is None
        assert await store.insert(make())
        assert await ids(store, Query(label=("team", "ml"))) == []

    async def test_a_record_that_moved_on_is_not_deleted(self, store: Store, make: Make) -> None:
        """A tag of before a write, or of an earlier record of the id, deletes nothing."""
        await store.insert(make(second=1))
        first = await kept(store)
        assert await store.replace(following(first.task), first.tag)
        assert not await store.delete(*first)
        assert await store.delete(*await kept(store))
        await store.insert(make(second=2))
        assert not await store.delete(*first)
        assert (await kept(store)).task == make(second=2)

    async def test_nobody_changes_a_record_from_outside(self, store: Store, make: Make) -> None:
        """What was handed in or out and is changed afterwards is not the record."""
        headers = {"X-A": "1"}
        await store.insert(make(spec=TaskSpec(HttpRequest("https://t.example/", headers=headers))))
        headers["X-A"] = "2"
        assert task_to_json((await kept(store)).task)["httpRequest"]["headers"] == {"X-A": "1"}

    # What a record may hold

    async def test_any_text_is_kept(self, store: Store, make: Make) -> None:
        """Letters of every script, quotes, control characters and NUL come back, and labels of them find their task."""
        odd = "Zürich 東京 \U0001f680 'quote\" \\ \x00 \x1f \u2028 ﷽ %_*"
        spec = TaskSpec(HttpRequest(f"https://t.example/?{odd}", headers={"X-Odd": odd}), labels={odd: odd})
        task = make(spec=spec, failure=Failure(odd, odd, may_have_run=False), extra={"new": odd})
        await store.insert(task)
        assert (await kept(store)).task == task
        assert await ids(store, Query(label=(odd, odd), reason=odd)) == ["a"]

    async def test_a_large_record_is_kept(self, store: Store, make: Make) -> None:
        """A record of 700 KiB is read and replaced like any other."""
        task = make(spec=TaskSpec(HttpRequest("https://t.example/", body=bytes(range(256)) * 2048)))
        await store.insert(task)
        stored = await kept(store)
        assert stored.task == task
        assert await store.replace(following(task), stored.tag)
        assert (await store.page(Query())).tasks == [following(task)]

    async def test_fields_of_a_newer_release_are_kept(self, store: Store, make: Make, plant: Plant) -> None:
        """A field this release does not know is there after it has read and replaced the record."""
        await store.insert(make())
        await plant("a", {"priority": {"level": 7}})
        task, tag = await kept(store)
        assert task.extra == {"priority": {"level": 7}}
        await store.replace(take(task, "runner", at(1)), tag)
        assert (await kept(store)).task.extra == {"priority": {"level": 7}}

    async def test_a_record_of_a_newer_schema_is_not_read(self, store: Store, make: Make, plant: Plant) -> None:
        """A record with a higher `schema` raises NewerSchemaError wherever it would be read, and is not forgotten unread."""
        await store.insert(make(state=State.SUCCEEDED, finish_time=at(0)))
        await plant("a", {"schema": 2})
        with pytest.raises(NewerSchemaError):
            await store.get("a")
        with pytest.raises(NewerSchemaError):
            await store.page(Query())
        with pytest.raises(NewerSchemaError):
            await store.changed("a", 0, 0)
        with pytest.raises(NewerSchemaError):
            await store.purge(at(1), 10)
        assert (await store.counts(at(1))).by_state == {State.SUCCEEDED: 1}

    # Lists

    async def test_lists_are_newest_first(self, store: Store, make: Make) -> None:
        """The order is (createTime, id), greatest first, also where times are equal or differ by a microsecond."""
        await fill(store, [make("b", 1), make("a", 1), make("ü", 1), make("Z", 1), make("c", 1.000001), make("old", 0)])
        assert await ids(store, Query()) == ["c", "ü", "b", "a", "Z", "old"]

    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
    async def test_pages_put_together_are_the_list(self, store: Store, make: Make, limit: int) -> None:
        """No task is missing or doubled, no page is empty but for want of tasks, and the last one says so."""
        await fill(store, [make(f"t{n}", n // 2) for n in range(6)])
        pages = await all_pages(store, Query(limit=limit))
        assert [task for page in pages for task in page] == ["t5", "t4", "t3", "t2", "t1", "t0"]
        assert len(pages) == -(-6 // limit)

    async def test_pages_are_stable_under_inserts(self, store: Store, make: Make) -> None:
        """Whoever pages while tasks come in and go on sees every task that was there at the start exactly once."""
        old = [make(f"old{n}", n) for n in range(20)]
        await fill(store, old)
        seen, token, n = [], None, 0
        while token != "":
            page = await store.page(Query(limit=3, token=token or ""))
            seen += [task.id for task in page.tasks]
            token, n = page.next_token, n + 1
            await store.insert(make(f"new{n}", 100 + n))
            await rewrite(store, take(old[n], "runner", at(200)))
        assert seen == [task.id for task in reversed(old)]

    async def test_an_empty_list_is_one_empty_page(self, store: Store) -> None:
        """Nothing there: no tasks and no next page."""
        assert await all_pages(store, Query()) == [[]]

    @pytest.mark.parametrize(
        "token", ["x", "%%%", "bm8", "MjAyNi0xMS0yNFQwODowMDowMFogYQ", "ü", "_w", "MjAyNi0xMS0yNFQwODowMDowMC4wMDAwMDBaIA", "a b"]
    )
    async def test_a_bad_token_is_refused(self, store: Store, token: str) -> None:
        """A page token that was never given out is the caller's mistake, and says where."""
        with pytest.raises(InvalidArgumentError) as caught:
            await store.page(Query(token=token))
        assert [error.pointer for error in caught.value.errors] == ["/pageToken"]

    async def test_a_query_gives_what_fits_all_of_it(self, store: Store, make: Make) -> None:
        """Every filter by itself and with every other gives exactly the tasks that fit, in order, page by page."""
        tasks = population(make)
        await fill(store, tasks)
        newest_first = sorted(tasks, key=lambda task: (task.create_time, task.id), reverse=True)
        for query in queries():
            expected = [task.id for task in newest_first if wanted(task, query)]
            assert [task for page in await all_pages(store, query) for task in page] == expected, query

    async def test_bounds_of_time_are_not_part_of_what_they_bound(self, store: Store, make: Make) -> None:
        """`createdAfter`, `createdBefore`, `updatedAfter` and the five minutes of `overdue` leave out the moment itself."""
        await store.insert(make(second=10))
        moment, tick = at(10), timedelta(microseconds=1)
        for query, fits in (
            (Query(created_after=moment), False),
            (Query(created_after=moment - tick), True),
            (Query(created_before=moment), False),
            (Query(created_before=moment + tick), True),
            (Query(updated_after=moment), False),
            (Query(updated_after=moment - tick), True),
            (Query(overdue_at=moment + timedelta(minutes=5)), False),
            (Query(overdue_at=moment + timedelta(minutes=5) + tick), True),
        ):
            assert await ids(store, query) == (["a"] if fits else []), query

    async def test_a_list_follows_the_record(self, store: Store, make: Make) -> None:
        """A filter sees what the last write made of a task."""
        await store.insert(make())
        task = take(make(), "runner", at(1))
        await rewrite(store, task)
        assert await ids(store, Query(states=frozenset({State.SCHEDULED}))) == []
        assert await ids(store, Query(states=frozenset({State.RUNNING}))) == ["a"]
        failed = following(task, state=State.FAILED, failure=Failure("status", "", may_have_run=True), owner=None)
        await rewrite(store, failed)
        assert await ids(store, Query(reason="status")) == ["a"]
        assert await store.owned("runner") == []

    # Counts and claims

    async def test_counts_say_how_many_calls_stand_where(self, store: Store, make: Make) -> None:
        """Calls by state, those overdue by five minutes, and the oldest not ended; callbacks are not counted."""
        await fill(
            store,
            [
                make("done", 0, state=State.SUCCEEDED, next_attempt_time=None),
                make("running", 7, state=State.RUNNING, next_attempt_time=None),
                make("late", 5),
                make("waiting", 9, state=State.WAITING),
                make("soon", 10),
                make("callback", 1, kind=Kind.CALLBACK),
            ],
        )
        counts = await store.counts(at(310))
        assert counts.by_state == {State.SUCCEEDED: 1, State.RUNNING: 1, State.SCHEDULED: 2, State.WAITING: 1}
        assert counts.overdue == 2
        assert counts.oldest == at(5)

    async def test_counts_of_nothing(self, store: Store) -> None:
        """An empty store counts nothing and has no oldest."""
        counts = await store.counts(START)
        assert (sum(counts.by_state.values()), counts.overdue, counts.oldest) == (0, 0, None)

    async def test_owned_are_a_runners_running_tasks(self, store: Store, make: Make) -> None:
        """Only RUNNING ones, of this runner; of all runners for an empty name, callbacks too."""
        await fill(
            store,
            [
                make("a", state=State.RUNNING, owner="r1"),
                make("b", state=State.RUNNING, owner="r1", kind=Kind.CALLBACK),
                make("c", state=State.RUNNING, owner="r2"),
                make("d", state=State.SUCCEEDED, owner="r1"),
                make("e"),
            ],
        )
        assert sorted(await store.owned("r1")) == ["a", "b"]
        assert sorted(await store.owned("")) == ["a", "b", "c"]
        assert await store.owned("nobody") == []

    async def test_cancelled_are_those_of_them_to_be_closed(self, store: Store, make: Make) -> None:
        """RUNNING tasks of this runner with a cancel request, from the write that asks for it to the one that ends it."""
        await fill(
            store,
            [
                make("a", state=State.RUNNING, owner="r1"),
                make("b", state=State.RUNNING, owner="r2", cancel_request_time=at(1)),
                make("c", state=State.CANCELLED, owner="r1", cancel_request_time=at(1)),
                make("d", state=State.WAITING, cancel_request_time=at(1)),
            ],
        )
        assert await store.cancelled("r1") == []
        task, tag = await kept(store)
        await store.replace(following(task, cancel_request_time=at(2)), tag)
        assert await store.cancelled("r1") == ["a"]
        task, tag = await kept(store)
        await store.replace(following(task, state=State.CANCELLED, owner=None), tag)
        assert await store.cancelled("r1") == []

    # Runners

    async def test_a_beat_is_dated_by_the_store(self, store: Store, elapse: Elapse) -> None:
        """A runner's sign of life ages by the store's own clock, whatever time the runner believes it is."""
        await store.beat(Runner("r1", start_time=at(0), beat_time=at(-99999), age=timedelta(days=9), calls=3))
        await elapse(timedelta(seconds=12))
        runner = await store.runner("r1")
        assert runner is not None
        assert timedelta(seconds=12) <= runner.age < timedelta(seconds=13)
        assert (runner.name, runner.start_time, runner.calls, runner.drained, runner.gone) == ("r1", at(0), 3, False, False)

    async def test_the_last_beat_counts(self, store: Store, elapse: Elapse) -> None:
        """A beat takes the place of the one before, with everything in it."""
        await store.beat(Runner("r1", at(0), at(0), calls=3))
        await elapse(timedelta(seconds=40))
        await store.beat(Runner("r1", at(1), at(0), calls=5, drained=True, gone=True))
        runner = await store.runner("r1")
        assert runner is not None
        assert runner.age < timedelta(seconds=1)
        assert (runner.start_time, runner.calls, runner.drained, runner.gone) == (at(1), 5, True, True)

    async def test_runners_are_all_who_ever_beat(self, store: Store, elapse: Elapse) -> None:
        """Every runner known, with the age of its last beat; one who never beat is None."""
        await store.beat(Runner("old", at(0), at(0)))
        await elapse(timedelta(seconds=30))
        await store.beat(Runner("new", at(0), at(0)))
        ages = {runner.name: runner.age // timedelta(seconds=10) for runner in await store.runners()}
        assert ages == {"old": 3, "new": 0}
        assert await store.runner("nobody") is None

    # Forgetting

    async def test_purge_forgets_what_ended_before_and_says_what(self, store: Store, make: Make) -> None:
        """Ended tasks of both kinds, the longest ended first, at most so many; what has not ended or ended later stays."""
        done = State.SUCCEEDED
        await fill(
            store,
            [
                make("a", state=done, finish_time=at(30)),
                make("b", state=State.FAILED, finish_time=at(10), kind=Kind.CALLBACK),
                make("c", state=State.CANCELLED, finish_time=at(20)),
                make("later", state=done, finish_time=at(40)),
                make("again", state=State.WAITING, finish_time=at(5)),
                make("open"),
            ],
        )
        gone = await store.purge(at(40), 2)
        assert gone == [
            make("b", state=State.FAILED, finish_time=at(10), kind=Kind.CALLBACK),
            make("c", state=State.CANCELLED, finish_time=at(20)),
        ]
        assert [task.id for task in await store.purge(at(40), 10)] == ["a"]
        assert await store.purge(at(40), 10) == []
        assert sorted(await ids(store, Query())) == ["again", "later", "open"]

    async def test_purge_forgets_runners_silent_since(self, store: Store, elapse: Elapse) -> None:
        """Runners whose last beat is before that moment are forgotten, so that their list does not grow for ever."""
        await store.beat(Runner("old", at(0), at(0)))
        await elapse(timedelta(days=40))
        await store.beat(Runner("new", at(0), at(0)))
        new = await store.runner("new")
        assert new is not None
        await store.purge(new.beat_time, 10)
        assert [runner.name for runner in await store.runners()] == ["new"]

    # Waiting

    async def test_what_has_changed_already_is_answered_at_once(self, store: Store, make: Make) -> None:
        """A version above the one given is not waited for."""
        await store.insert(make())
        async with asyncio.timeout(5):
            stored = await store.changed("a", 0, 30)
        assert stored is not None
        assert stored.task == make()

    async def test_a_write_wakes_all_who_wait_for_it(self, store: Store, make: Make) -> None:
        """A replace is seen by everybody who waits for this record, at once, with a tag to write under."""
        await store.insert(make())
        waiters = [await waiting(store, 1) for _ in range(3)]
        await rewrite(store, take(make(), "runner", at(1)))
        async with asyncio.timeout(5):
            seen = await asyncio.gather(*waiters)
        assert [stored and stored.task.version for stored in seen] == [2, 2, 2]
        assert seen[0] is not None
        assert await store.replace(following(seen[0].task), seen[0].tag)

    async def test_a_wait_goes_on_until_the_version_is_reached(self, store: Store, make: Make) -> None:
        """Writes up to the version given, and those to other records, do not end a wait."""
        await store.insert(make())
        waiter = await waiting(store, 2)
        await store.insert(make("other"))
        await rewrite(store, following(make()))
        await asyncio.sleep(0.01)
        assert not waiter.done()
        await rewrite(store, following(following(make())))
        async with asyncio.timeout(5):
            stored = await waiter
        assert stored is not None
        assert stored.task.version == 3

    async def test_a_wait_in_vain_gives_what_is_there(self, store: Store, make: Make) -> None:
        """When the time is up the answer is the record as it stands, or None without one."""
        await store.insert(make())
        stored = await store.changed("a", 1, 0.01)
        assert stored is not None
        assert stored.task == make()
        assert await store.changed("nobody", 0, 0.01) is None
        assert await store.changed("nobody", 0, 0) is None

    async def test_an_id_not_seen_yet_is_waited_for(self, store: Store, make: Make) -> None:
        """A record that appears while somebody waits for its id is the answer."""
        waiter = await waiting(store, 0)
        await store.insert(make())
        async with asyncio.timeout(5):
            stored = await waiter
        assert stored is not None
        assert stored.task == make()

    @pytest.mark.parametrize("how", ["delete", "purge"])
    async def test_a_record_forgotten_meanwhile_ends_the_wait(self, store: Store, make: Make, how: str) -> None:
        """Nothing more will come of a record that is gone: None, at once."""
        await store.insert(make(state=State.SUCCEEDED, finish_time=at(0)))
        waiter = await waiting(store, 1)
        await (store.delete(*await kept(store)) if how == "delete" else store.purge(at(1), 1))
        async with asyncio.timeout(5):
            assert await waiter is None

    async def test_a_cancelled_wait_is_over(self, store: Store, make: Make) -> None:
        """Whoever stops waiting is forgotten, and the next write goes on as ever."""
        waiter = await waiting(store, 0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert await store.insert(make())

    async def test_a_store_in_reach_answers_a_ping(self, store: Store) -> None:
        """`ping` of a store that works says nothing."""
        await store.ping()
