"""Stores side by side, driven by hypothesis: whatever is done to them, they answer alike."""
# ruff: noqa: D102 — a rule's name is the call it makes

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule

from longcall.core.lifecycle import create
from longcall.core.task import Failure, HttpRequest, Kind, State, Task, TaskSpec
from longcall.engine.ports import Page, Query, Runner, Store, Stored
from longcall.stores import open_store

START = datetime(2026, 11, 24, 8, tzinfo=UTC)
Answer = TypeVar("Answer")
Read = tuple[Task, list[object]]
Turn = tuple[Query, str]

# Few of each, so that they meet.
IDS = st.sampled_from(("a", "b", "c", "é", "𝄞"))
OWNERS = st.sampled_from(("r1", "r2"))
TIMES = st.integers(0, 6).map(lambda n: START + timedelta(seconds=n * 100, microseconds=n % 2))
LABELS = st.dictionaries(st.sampled_from(("team", "env")), st.sampled_from(("ml", "web")), max_size=2)
HOSTS = st.sampled_from(("one.example", "two.example"))
KINDS = st.sampled_from((Kind.CALL, Kind.CALL, Kind.CALLBACK))
REASONS = st.sampled_from(("status", "invalid"))


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    """Any record, sensible or not: a store keeps what it is given."""
    spec = TaskSpec(HttpRequest(f"https://{draw(HOSTS)}/", body=draw(st.binary(max_size=4))), labels=draw(LABELS))
    return replace(create(draw(IDS), spec, queue="q", trace="t", now=draw(TIMES)), kind=draw(KINDS))


@st.composite
def changes(draw: st.DrawFn) -> dict[str, object]:
    """What a new version may differ in."""
    return {
        "state": draw(st.sampled_from(State)),
        "owner": draw(st.none() | OWNERS),
        "update_time": draw(TIMES),
        "finish_time": draw(st.none() | TIMES),
        "next_attempt_time": draw(st.none() | TIMES),
        "cancel_request_time": draw(st.none() | TIMES),
        "failure": draw(st.none() | REASONS.map(lambda reason: Failure(reason, "", may_have_run=True))),
        "extra": draw(st.dictionaries(st.sampled_from(("x", "y")), st.text(max_size=3), max_size=1)),
    }


FILTERS: dict[str, st.SearchStrategy[object]] = {
    "states": st.frozensets(st.sampled_from(State), min_size=1, max_size=3),
    "label": st.tuples(st.sampled_from(("team", "env")), st.sampled_from(("ml", "web"))),
    "reason": REASONS,
    "host": HOSTS,
    "created_after": TIMES,
    "created_before": TIMES,
    "updated_after": TIMES,
    "overdue_at": TIMES.map(lambda time: time + timedelta(minutes=5)),
}


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """Mostly one filter or two: with more, hardly any task fits and nothing is told apart."""
    names = draw(st.lists(st.sampled_from(sorted(FILTERS)), unique=True, max_size=2))
    facts = {name: draw(FILTERS[name]) for name in names}
    return replace(Query(draw(KINDS), limit=draw(st.integers(1, 3))), **facts)  # type: ignore[arg-type]  # fields by name


class Stores(RuleBasedStateMachine):
    """Memory and another store get the same calls; the tags each gave out are kept apart."""

    read: "Bundle[Read]" = Bundle("read")
    tokens: "Bundle[Turn]" = Bundle("tokens")
    # A server judges a runner's age by its own clock, which no test moves: there, ages are left to the contract.
    same_clock = True

    def __init__(self) -> None:
        super().__init__()
        self.time = START
        self.folder = Path(tempfile.mkdtemp(prefix="longcall-stores-"))
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.stores = self.runner.run(self.open())

    async def open(self) -> list[Store]:
        memory = await self.stack.enter_async_context(open_store("memory://", self.now))
        return [memory, await self.stack.enter_async_context(self.other())]

    def other(self) -> AbstractAsyncContextManager[Store]:
        """The store beside memory, empty."""
        raise NotImplementedError

    def now(self) -> datetime:
        return self.time

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)

    def each(self, ask: Callable[[Store], Awaitable[Answer]]) -> list[Answer]:
        async def ask_all() -> list[Answer]:
            return [await ask(store) for store in self.stores]

        return self.runner.run(ask_all())

    def same(self, ask: Callable[[Store], Awaitable[Answer]]) -> Answer:
        first, *others = self.each(ask)
        assert all(other == first for other in others)
        return first

    @rule(task=tasks())
    def insert(self, task: Task) -> None:
        self.same(lambda store: store.insert(task))

    @rule(target=read, task_id=IDS)
    def get(self, task_id: str) -> "Read | MultipleResults[Read]":
        return self.kept(self.each(lambda store: store.get(task_id)))

    @rule(target=read, task_id=IDS, after=st.integers(0, 3))
    def changed(self, task_id: str, after: int) -> "Read | MultipleResults[Read]":
        return self.kept(self.each(lambda store: store.changed(task_id, after, 0)))

    def kept(self, found: list[Stored | None]) -> "Read | MultipleResults[Read]":
        records = [stored.task for stored in found if stored]
        assert len(records) in {0, len(found)}
        assert all(record == records[0] for record in records)
        return (records[0], [stored.tag for stored in found if stored]) if records else multiple()

    @rule(known=read, change=changes())
    def replace(self, known: Read, change: dict[str, object]) -> None:
        task, tags = known
        following = replace(task, version=task.version + 1, **change)  # type: ignore[arg-type]  # fields by name
        tag_of = {id(store): tag for store, tag in zip(self.stores, tags, strict=True)}
        self.same(partial(self.replaced, following, tag_of))

    async def replaced(self, following: Task, tag_of: dict[int, object], store: Store) -> bool:
        return await store.replace(following, tag_of[id(store)]) is not None

    @rule(known=read)
    def delete(self, known: Read) -> None:
        task, tags = known
        tag_of = {id(store): tag for store, tag in zip(self.stores, tags, strict=True)}
        self.same(lambda store: store.delete(task, tag_of[id(store)]))

    @rule(target=tokens, query=queries())
    def page(self, query: Query) -> "Turn | MultipleResults[Turn]":
        return self.turned(query, self.same(lambda store: store.page(query)))

    @rule(target=tokens, turn=consumes(tokens))
    def next_page(self, turn: Turn) -> "Turn | MultipleResults[Turn]":
        query, token = turn
        return self.turned(query, self.same(lambda store: store.page(replace(query, token=token))))

    def turned(self, query: Query, page: Page) -> "Turn | MultipleResults[Turn]":
        assert len(page.tasks) <= query.limit
        return (query, page.next_token) if page.next_token else multiple()

    @rule(moment=TIMES)
    def counts(self, moment: datetime) -> None:
        self.same(lambda store: store.counts(moment))

    @rule(name=OWNERS, calls=st.integers(0, 9), drained=st.booleans(), gone=st.booleans())
    def beat(self, name: str, calls: int, drained: bool, gone: bool) -> None:  # noqa: FBT001 — hypothesis names them
        if self.same_clock:
            self.same(lambda store: store.beat(Runner(name, START, START, calls=calls, drained=drained, gone=gone)))

    @rule(seconds=st.integers(0, 100))
    def elapse(self, seconds: int) -> None:
        self.time += timedelta(seconds=seconds)

    @rule(before=TIMES, limit=st.integers(1, 3))
    def purge(self, before: datetime, limit: int) -> None:
        self.same(lambda store: store.purge(before, limit))

    @invariant()
    def claims_and_runners_are_the_same(self) -> None:
        for owner in ("", "r1", "r2"):
            self.same(lambda store, owner=owner: store.owned(owner))  # type: ignore[misc]  # a default binds the loop's value
            self.same(lambda store, owner=owner: store.cancelled(owner))  # type: ignore[misc]  # as above
            self.same(lambda store, owner=owner: store.runner(owner))  # type: ignore[misc]  # as above
        self.same(lambda store: store.runners())

    @invariant()
    def lists_are_the_same(self) -> None:
        for kind in Kind:
            self.same(lambda store, kind=kind: store.page(Query(kind)))  # type: ignore[misc]  # as above


SETTINGS = settings(max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
