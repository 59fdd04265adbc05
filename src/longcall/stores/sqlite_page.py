"""A query as SQL that walks one index. The index is named, not left to the planner: it knows nothing of what is rare in this table.

What is rare is asked before: a label or a host of few tasks is walked whatever else is wanted of them.
"""

from collections.abc import Callable
from typing import NamedTuple

from longcall.core.task import State
from longcall.core.text import time_text
from longcall.engine.ports import Query
from longcall.stores.paging import Place
from longcall.stores.rows import overdue_before


class Select(NamedTuple):
    """A statement and its parameters."""

    sql: str
    params: tuple[object, ...]


class _Walk(NamedTuple):
    """Where the tasks come from, the table whose `create_time` and `id` give the order, and what must hold beside the common terms."""

    source: str
    order: str = "t"
    terms: tuple[tuple[str, tuple[object, ...]], ...] = ()


_BY_LABEL = _Walk("task_label AS l CROSS JOIN task AS t ON t.id = l.id", "l")
_HAS_LABEL = "EXISTS (SELECT 1 FROM task_label WHERE (key, value, kind, create_time, id) = (?, ?, t.kind, t.create_time, t.id))"


# So many entries of an index are looked at, to know whether there are few: a walk of them takes some milliseconds.
FEW = 2000
AreFew = Callable[[Select], bool]


def page_select(query: Query, after: Place | None, are_few: AreFew) -> Select:
    """The statement that gives (create_time, id, doc) of a page's tasks and one more, newest first.

    `are_few` runs a statement that counts up to FEW, and tells whether it stayed below.
    """
    parts = [_part(walk, query, after) for walk in _walks(query, are_few)]
    places = " UNION ALL ".join(part.sql for part in parts)
    # Places first, documents after: sorting never carries a document along. CROSS JOIN keeps that order.
    sql = (
        f"SELECT task.create_time, task.id, task.doc FROM (SELECT * FROM ({places}) ORDER BY place_time DESC, place_id DESC LIMIT ?) "  # noqa: S608 — made of this module's own words; values are parameters
        "CROSS JOIN task ON task.rowid = place ORDER BY place_time DESC, place_id DESC"
    )
    return Select(sql, (*(param for part in parts for param in part.params), query.limit + 1))


def _walks(query: Query, are_few: AreFew) -> list[_Walk]:
    """Choose the index that leaves the least to look through, most tasks having succeeded; several states are walked side by side."""
    rare = _rare(query, are_few) if query.states and query.overdue_at is None and query.updated_after is None else None
    if rare is not None:
        return [rare]
    by_state = [_by("task_state", ("t.state = ?", (state.value,))) for state in sorted(query.states)]
    ways = (
        (query.overdue_at is not None, [_by("task_next")]),
        (query.updated_after is not None, [_by("task_update")]),
        (State.SUCCEEDED not in query.states, by_state),
        (query.reason is not None, [_by("task_reason")]),
        (query.label is not None, [_BY_LABEL]),
        (True, by_state),
        (query.host is not None, [_by("task_host")]),
    )
    return next((walks for fits, walks in ways if fits and walks), [_by("task_newest")])


def _rare(query: Query, are_few: AreFew) -> _Walk | None:
    """What only few tasks have, of which the state can then be looked at one by one."""
    kind = query.kind.value
    if query.label is not None and are_few(_count("task_label WHERE key = ? AND value = ? AND kind = ?", *query.label, kind)):
        return _BY_LABEL
    if query.host is not None and are_few(_count("task INDEXED BY task_host WHERE kind = ? AND host = ?", kind, query.host)):
        return _by("task_host")
    return None


def _count(of: str, *params: object) -> Select:
    return Select(f"SELECT count(*) FROM (SELECT 1 FROM {of} LIMIT {FEW})", params)  # noqa: S608 — as above


def _by(index: str, *terms: tuple[str, tuple[object, ...]]) -> _Walk:
    return _Walk(f"task AS t INDEXED BY {index}", terms=terms)


def _part(walk: _Walk, query: Query, after: Place | None) -> Select:
    order = walk.order
    terms = [(f"{order}.kind = ?", (query.kind.value,)), *walk.terms, *_label_terms(walk, query), *_terms(walk, query)]
    if query.created_after is not None:
        terms.append((f"{order}.create_time > ?", (time_text(query.created_after),)))
    if query.created_before is not None:
        terms.append((f"{order}.create_time < ?", (time_text(query.created_before),)))
    if after is not None:
        terms.append((f"({order}.create_time, {order}.id) < (?, ?)", after))
    where = " AND ".join(text for text, _ in terms)
    sql = f"SELECT t.rowid AS place, {order}.create_time AS place_time, {order}.id AS place_id FROM {walk.source} WHERE {where}"  # noqa: S608 — as above
    return Select(sql, tuple(param for _, params in terms for param in params))


def _label_terms(walk: _Walk, query: Query) -> list[tuple[str, tuple[object, ...]]]:
    if query.label is None:
        return []
    return [("l.key = ? AND l.value = ?" if walk is _BY_LABEL else _HAS_LABEL, query.label)]


def _terms(walk: _Walk, query: Query) -> list[tuple[str, tuple[object, ...]]]:
    terms: list[tuple[str, tuple[object, ...]]] = []
    if query.states and not walk.terms:
        states = sorted(state.value for state in query.states)
        terms.append((f"t.state IN ({', '.join('?' * len(states))})", tuple(states)))
    if query.reason is not None:
        terms.append(("t.reason = ?", (query.reason,)))
    if query.host is not None:
        terms.append(("t.host = ?", (query.host,)))
    if query.updated_after is not None:
        terms.append(("t.update_time > ?", (time_text(query.updated_after),)))
    if query.overdue_at is not None:
        terms.append(("t.state IN ('SCHEDULED', 'WAITING') AND t.next_attempt_time < ?", (overdue_before(query.overdue_at),)))
    return terms
