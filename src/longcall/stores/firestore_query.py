"""A query as Firestore asks it. Every shape of query made here has its index in deploy/firestore.indexes.json."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from google.cloud.firestore_v1.async_collection import AsyncCollectionReference
from google.cloud.firestore_v1.async_query import AsyncQuery
from google.cloud.firestore_v1.base_query import FieldFilter

from longcall.core.text import time_text
from longcall.engine.ports import Query
from longcall.stores.firestore_documents import label_text, name_of
from longcall.stores.paging import Place
from longcall.stores.rows import DUE_STATES, overdue_before

# Ranges over these can't be sent with the order of lists: a range in Firestore wants its own order.
_OTHER_RANGES = frozenset({"updateTime", "nextAttemptTime"})


class Term(NamedTuple):
    """What must hold of a field: a comparison as Firestore writes it."""

    field: str
    operator: str
    value: Any

    def holds(self, fields: Mapping[str, Any]) -> bool:
        """Whether it holds of a document's fields. A field that is not there fits nothing, as in Firestore."""
        value = fields.get(self.field)
        match self.operator:
            case "==":
                return bool(value == self.value)
            case "in":
                return value in self.value
            case "array_contains":
                return value is not None and self.value in value
            case "<":
                return value is not None and value < self.value
            case _:
                return value is not None and value > self.value


def terms(query: Query) -> Sequence[Term] | None:
    """All that was asked for, the kind first and ranges last; None when nothing can fit."""
    states = query.states if query.overdue_at is None else (query.states or DUE_STATES) & DUE_STATES
    if query.overdue_at is not None and not states:
        return None
    texts = sorted(state.value for state in states)
    asked: tuple[tuple[object, Term], ...] = (
        (query.kind, Term("kind", "==", query.kind.value)),
        (states, Term("state", "==", texts[0]) if len(texts) == 1 else Term("state", "in", texts)),
        (query.label, Term("labels", "array_contains", label_text(*query.label or ("", "")))),
        (query.reason, Term("reason", "==", query.reason)),
        (query.host, Term("host", "==", query.host)),
        (query.created_after, Term("createTime", ">", query.created_after and time_text(query.created_after))),
        (query.created_before, Term("createTime", "<", query.created_before and time_text(query.created_before))),
        (query.updated_after, Term("updateTime", ">", query.updated_after and time_text(query.updated_after))),
        (query.overdue_at, Term("nextAttemptTime", "<", query.overdue_at and overdue_before(query.overdue_at))),
    )
    return [term for given, term in asked if given not in (None, frozenset())]


def newest(tasks: AsyncCollectionReference, wanted: Sequence[Term], after: Place | None) -> AsyncQuery:
    """Newest first, of what comes after a place. What is equal is looked up in indexes that Firestore merges; other ranges are left out."""
    found = _where(tasks, [term for term in wanted if term.field not in _OTHER_RANGES])
    found = found.order_by("createTime", direction="DESCENDING").order_by("__name__", direction="DESCENDING")
    if after is None:
        return found
    return found.start_after({"createTime": after.create_time, "__name__": tasks.document(name_of(after.id))})


def has_other_range(wanted: Sequence[Term]) -> bool:
    """Whether a range is asked for that is not that of lists."""
    return wanted[-1].field in _OTHER_RANGES


def other_range(tasks: AsyncCollectionReference, wanted: Sequence[Term]) -> AsyncQuery:
    """What lies in that range, in its order."""
    kind, last = wanted[0], wanted[-1]
    return _where(tasks, [kind, last]).order_by(last.field, direction="DESCENDING" if last.operator == ">" else "ASCENDING")


def _where(tasks: AsyncCollectionReference, wanted: Sequence[Term]) -> AsyncQuery:
    first, *others = wanted
    found = tasks.where(filter=FieldFilter(*first))
    for term in others:
        found = found.where(filter=FieldFilter(*term))
    return found
