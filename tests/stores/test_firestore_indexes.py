"""deploy/firestore.indexes.json: every query the store sends has its index there, and no index is there for nothing.

The emulator asks for none, so the rules of the service are here: https://firebase.google.com/docs/firestore/query-data/index-overview
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from google.cloud.firestore_v1.types import RunAggregationQueryRequest, RunQueryRequest, StructuredQuery

from longcall.core.lifecycle import create
from longcall.core.task import Failure, HttpRequest, Kind, State, Task, TaskSpec
from longcall.engine.ports import Query, Runner
from longcall.stores import firestore_page
from longcall.stores.firestore import RUNNERS, TASKS, FirestoreStore
from longcall.testing.contract import queries
from tests.firestore import Proxy, new_project, opened

START = datetime(2026, 11, 24, 8, tzinfo=UTC)
FILE = json.loads((Path(__file__).parents[2] / "deploy/firestore.indexes.json").read_text())
UP, DOWN, HAS = "ASCENDING", "DESCENDING", "CONTAINS"
OP, DIRECTION = StructuredQuery.FieldFilter.Operator, StructuredQuery.Direction


class Part(NamedTuple):
    """A field of an index, and how it is kept there."""

    field: str
    mode: str


@dataclass(frozen=True)
class Asked:
    """What a query asks of indexes: fields with one value, and the order, which a range has too."""

    collection: str
    equal: frozenset[Part]
    order: tuple[Part, ...]

    @classmethod
    def by(cls, query: StructuredQuery) -> "Asked":
        """Read a query as it went over the wire."""
        (source,) = query.from_
        equal, ranges = set(), []
        for each in _filters(query.where):
            match each.op:
                case OP.EQUAL | OP.IN:
                    equal.add(Part(each.field.field_path, UP))
                case OP.ARRAY_CONTAINS:
                    equal.add(Part(each.field.field_path, HAS))
                case OP.LESS_THAN | OP.GREATER_THAN:
                    ranges.append(each.field.field_path)
                case _:
                    raise AssertionError(f"no rule for {each.op}")
        order = [Part(each.field.field_path, DIRECTION(each.direction).name) for each in query.order_by]
        assert set(ranges) <= {part.field for part in order[:1]}, "a range leads the order of its query"
        if order and order[-1].field == "__name__":
            assert order.pop().mode == order[-1].mode, "an index ends with the name, in the direction before it"
        return cls(source.collection_id, frozenset(equal), tuple(order))


def _filters(where: StructuredQuery.Filter) -> Iterable[StructuredQuery.FieldFilter]:
    if where.composite_filter.filters:
        return [each.field_filter for each in where.composite_filter.filters]
    return [where.field_filter] if where.field_filter.field.field_path else []


@dataclass(frozen=True)
class Index:
    """An index: of one field by itself, or of several."""

    collection: str
    parts: tuple[Part, ...]

    def serves(self, asked: Asked) -> frozenset[Part] | None:
        """Which of the equal fields it looks up: all before the order, which it ends with exactly. None when it can't serve."""
        cut = len(self.parts) - len(asked.order)
        # One value stands in one place, whichever way its index goes.
        equal = frozenset(part if part.mode == HAS else Part(part.field, UP) for part in self.parts[: max(cut, 0)])
        fits = self.collection == asked.collection and cut >= 0 and self.parts[cut:] == asked.order and equal <= asked.equal
        return equal if fits else None


def chosen(asked: Asked, indexes: Sequence[Index]) -> set[Index] | None:
    """The indexes that serve a query: one that has all of it, or several whose results are merged. None when there are none."""
    if not asked.equal and not asked.order:
        return set()  # the collection by itself
    found = {index: equal for index in indexes if (equal := index.serves(asked)) is not None}
    if not found or frozenset().union(*found.values()) != asked.equal:
        return None
    used: set[Index] = set()
    missing = set(asked.equal)
    for index, equal in sorted(found.items(), key=lambda pair: -len(pair[1])):
        if missing & equal or not used:
            used.add(index)
            missing -= equal
    return used


def test_the_rules_are_the_services() -> None:
    """The cases that Google's page and the service's own errors name."""

    def index(*parts: str) -> Index:
        return Index(
            "c", tuple(Part(name.strip("-+"), DOWN if name.endswith("-") else HAS if name.endswith("+") else UP) for name in parts)
        )

    def asked(equal: str, *order: str) -> Asked:
        return Asked("c", frozenset(index(*equal.split()).parts), index(*order).parts)

    assert chosen(asked("a b"), [index("a"), index("b")]) is not None  # merged
    assert chosen(asked("a", "t-"), [index("a"), index("t-")]) is None  # an order needs its own
    assert chosen(asked("a", "t-"), [index("a", "t")]) is None  # in its direction
    assert chosen(asked("a b", "t-"), [index("a", "t-"), index("b", "t-")]) == {index("a", "t-"), index("b", "t-")}
    assert chosen(asked("a b", "t-"), [index("a", "t-"), index("b", "t")]) is None
    assert chosen(asked("a b+", "t-"), [index("a", "b", "t-")]) is None  # an array is kept otherwise
    assert chosen(asked("a", "t-"), [index("a", "t-", "u-")]) is None  # no longer than the query
    assert chosen(asked("", "t-"), [index("t-")]) == {index("t-")}
    assert chosen(asked("", "t-"), []) is None
    assert chosen(asked("a"), [index("a", "t-")]) is None


def composites() -> list[Index]:
    """Those of several fields."""
    return [
        Index(each["collectionGroup"], tuple(Part(part["fieldPath"], part.get("order") or part["arrayConfig"]) for part in each["fields"]))
        for each in FILE["indexes"]
    ]


def singles() -> list[Index]:
    """Those of one field, where the file leaves them; a field that it does not name has all three."""
    return [
        Index(each["collectionGroup"], (Part(each["fieldPath"], index.get("order") or index["arrayConfig"]),))
        for each in FILE["fieldOverrides"]
        for index in each["indexes"]
    ]


def make(task_id: str, **fields: Any) -> Task:  # noqa: ANN401 — fields by name
    """A task."""
    spec = TaskSpec(HttpRequest("https://t.example/"), labels={"team": "ml"})
    return replace(create(task_id, spec, queue="q", trace="t", now=START), **fields)


async def everything(store: FirestoreStore) -> None:
    """Ask the store for all it can be asked for."""
    await store.insert(make("call"))
    await store.insert(make("callback", kind=Kind.CALLBACK))
    await store.insert(make("done", state=State.SUCCEEDED, finish_time=START, next_attempt_time=None))
    await store.beat(Runner("r", START, START))
    first = await store.page(Query(limit=1))
    await store.page(Query(limit=1, token=first.next_token))
    await store.counts(START)
    await asyncio.gather(store.owned(""), store.owned("r"), store.cancelled("r"), store.runners(), store.purge(START, 10))
    several = list(queries())
    # At START nothing lies in their ranges; some must, or the way for many is never gone.
    moved = [replace(query, updated_after=query.updated_after and START - timedelta(days=1)) for query in several]
    for begin in range(0, len(moved), 64):
        await asyncio.gather(*(store.page(query) for query in moved[begin : begin + 64]))


@pytest.fixture
async def asked() -> set[Asked]:
    """Every query that went over the wire: those for few tasks in a range, and those for many."""
    proxy = Proxy()
    async with proxy.running():
        for few in (500, 0):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(firestore_page, "FEW", few)
                async with opened(lambda: START, proxy.address, project=new_project()) as store:
                    await everything(store)
    assert {_name(method) for method, _ in proxy.seen} <= {"RunQuery", "RunAggregationQuery", "BatchGetDocuments", "Commit"}
    listed = [RunQueryRequest.deserialize(request) for method, request in proxy.seen if _name(method) == "RunQuery"]
    counted = [RunAggregationQueryRequest.deserialize(request) for method, request in proxy.seen if _name(method) == "RunAggregationQuery"]
    return {
        *(Asked.by(request.structured_query) for request in listed),
        *(Asked.by(request.structured_aggregation_query.structured_query) for request in counted),
    }


def _name(method: str) -> str:
    return method.rpartition("/")[2]


async def test_every_query_has_its_index_and_no_index_is_idle(asked: set[Asked]) -> None:
    """Over all that a store can be asked for, in both ways a list is made."""
    indexes = [*composites(), *singles()]
    used = {each: chosen(each, indexes) for each in asked}
    assert [each for each, by in used.items() if by is None] == []
    assert set().union(*(by for by in used.values() if by)) == set(indexes)


def test_there_are_few_indexes() -> None:
    """A database may have 200 composite indexes; every one of ours is written with every task."""
    assert len(composites()) == len(set(composites())) <= 10
    assert {each["queryScope"] for each in FILE["indexes"]} == {"COLLECTION"}


async def test_every_field_is_named() -> None:
    """Firestore indexes by itself whatever the file does not name, large ones too: each field that is written stands there."""
    failed = make("failed", state=State.FAILED, finish_time=START, failure=Failure("status", "", may_have_run=True))
    running = make("running", state=State.RUNNING, owner="r", cancel_request_time=START)
    async with opened(lambda: START) as store:
        await asyncio.gather(*(store.insert(task) for task in (make("due"), running, failed)), store.beat(Runner("r", START, START)))
        for collection in (TASKS, RUNNERS):
            documents = await store._client.collection(collection).get()  # noqa: SLF001 — what no store would read
            written = {field for document in documents for field in document.to_dict() or {}}
            assert written == {each["fieldPath"] for each in FILE["fieldOverrides"] if each["collectionGroup"] == collection}


def test_both_collections_expire() -> None:
    """The TTL policy of each is on `expireAt`."""
    assert {(each["collectionGroup"], each["fieldPath"]) for each in FILE["fieldOverrides"] if each.get("ttl")} == {
        (TASKS, "expireAt"),
        (RUNNERS, "expireAt"),
    }
