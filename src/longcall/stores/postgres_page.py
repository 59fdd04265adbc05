"""A query as SQL. Which index to walk is the planner's choice, which knows what is rare; the order is every index's own."""

from datetime import datetime
from typing import NamedTuple

from longcall.core.task import State
from longcall.core.text import parse_time
from longcall.engine.ports import Query
from longcall.stores.paging import Place
from longcall.stores.postgres_text import plain, plain_host
from longcall.stores.rows import OVERDUE


class Select(NamedTuple):
    """A statement and its parameters."""

    sql: str
    params: tuple[object, ...]


class _Params(list[object]):
    """Parameters by number."""

    def __call__(self, value: object) -> str:
        """Add one; its place in the statement."""
        self.append(value)
        return f"${len(self)}"


def page_select(query: Query, after: Place | None) -> Select:
    """The statement that gives the documents of a page's tasks and of one more, newest first."""
    params = _Params()
    limit = params(query.limit + 1)
    # Several states are walked side by side, each in its order, and only so far as a page goes.
    states: list[State | None] = [*sorted(query.states)] or [None]
    parts = [_part(query, after, state, limit, params) for state in states]
    # Places first, documents after: sorting never carries a document along.
    places = f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS part ORDER BY create_time DESC, id DESC LIMIT {limit}"  # noqa: S608 — of this module's own words; values are parameters
    sql = (
        f"SELECT task.doc FROM ({places}) AS place "  # noqa: S608 — as above
        "JOIN longcall_task AS task ON task.id = place.id ORDER BY place.create_time DESC, place.id DESC"
    )
    return Select(sql, tuple(params))


def _part(query: Query, after: Place | None, state: State | None, limit: str, params: _Params) -> str:
    terms = _terms(query, state, params)
    source, tables = "longcall_task AS t", ["t"]
    if query.label is not None:
        # With nothing to look up, the labels are enough. What both tables have is said to be equal, so that either can be walked.
        source, tables = "longcall_label AS l", ["l"]
        if terms:
            source, tables = f"{source} JOIN longcall_task AS t USING (kind, create_time, id)", ["l", "t"]
        key, value = (params(plain(text)) for text in query.label)
        terms.append(f"l.key = {key} AND l.value = {value}")
    for table in tables:
        terms += _bounds(query, after, table, params)
    order = tables[0]
    return (
        f"(SELECT {order}.create_time, {order}.id FROM {source} WHERE {' AND '.join(terms)} "  # noqa: S608 — as above
        f"ORDER BY {order}.create_time DESC, {order}.id DESC LIMIT {limit})"
    )


def _terms(query: Query, state: State | None, params: _Params) -> list[str]:
    """What only a task itself can say."""
    terms: list[str] = []
    if state is not None:
        terms.append(f"t.state = {params(state.value)}")
    if query.reason is not None:
        terms.append(f"t.reason = {params(plain(query.reason))}")
    if query.host is not None:
        terms.append(f"t.host = {params(plain_host(query.host))}")
    if query.updated_after is not None:
        terms.append(f"t.update_time > {params(query.updated_after)}")
    if query.overdue_at is not None:
        terms.append(f"t.state IN ('SCHEDULED', 'WAITING') AND t.next_attempt_time < {params(query.overdue_at - OVERDUE)}")
    return terms


def _bounds(query: Query, after: Place | None, table: str, params: _Params) -> list[str]:
    """What a task and its labels have in common."""
    terms = [f"{table}.kind = {params(query.kind.value)}"]
    if query.created_after is not None:
        terms.append(f"{table}.create_time > {params(query.created_after)}")
    if query.created_before is not None:
        terms.append(f"{table}.create_time < {params(query.created_before)}")
    if after is not None:
        terms.append(f"({table}.create_time, {table}.id) < ({params(_time(after))}, {params(plain(after.id))})")
    return terms


def _time(place: Place) -> datetime:
    return parse_time(place.create_time)
