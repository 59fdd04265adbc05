"""What a page's URL asks for."""

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core.task import Kind, State
from longcall.engine.ports import Query
from longcall.web.dashboard.changes import CANCEL, RETRY
from longcall.web.dashboard.filters import REASONS, Filters, read
from tests.making import NOON, moments

words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=10)
filters = st.builds(
    Filters,
    kind=st.sampled_from(Kind),
    states=st.frozensets(st.sampled_from(State)),
    label=st.none() | st.tuples(words.filter(lambda text: ":" not in text), words),
    reason=st.sampled_from(["", *REASONS]),
    host=st.just("") | words,
    created_after=st.none() | moments,
    created_before=st.none() | moments,
    updated_after=st.none() | moments,
    overdue=st.booleans(),
    token=st.just("") | words,
)


@given(filters)
def test_a_url_says_what_was_asked_for(asked: Filters) -> None:
    """Reading it gives the same filter; a link to a changed filter begins at the newest."""
    url = urlsplit(asked.url(token=asked.token))
    assert read(parse_qsl(url.query)) == asked
    assert read(parse_qsl(urlsplit(asked.url()).query)).token == ""


def test_a_filter_is_the_engines_question() -> None:
    """Every part of it."""
    pairs = [
        ("state", "FAILED"),
        ("state", "waiting"),
        ("label", "team:ml:x"),
        ("reason", "status"),
        ("host", "a.example"),
        ("createdAfter", "2026-11-24T08:00"),
        ("createdBefore", "2026-11-24T10:00:00+01:00"),
        ("updatedAfter", "2026-11-24T08:00:00Z"),
        ("overdue", "true"),
        ("kind", "callback"),
        ("pageToken", "t"),
        ("said", "anything"),
        ("host", ""),
    ]
    eight, nine = datetime(2026, 11, 24, 8, tzinfo=UTC), datetime(2026, 11, 24, 9, tzinfo=UTC)
    states = frozenset({State.FAILED, State.WAITING})
    expected = Query(Kind.CALLBACK, states, ("team", "ml:x"), "status", "a.example", eight, nine, eight, NOON, 50, "t")
    assert read(pairs).query(NOON) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [("state", "LOST"), ("label", "team"), ("label", ":x"), ("reason", "why"), ("createdAfter", "noon"), ("overdue", "1"), ("kind", "x")],
)
def test_what_cannot_be_read_is_said(name: str, text: str) -> None:
    """It never widens what is shown or changed: whoever has it looks at `wrong` first."""
    (wrong,) = read([(name, text), ("host", "a.example")]).wrong
    assert wrong.startswith(f"{name} is {text!r}: ")


@pytest.mark.parametrize(
    ("asked", "cancelled", "retried"),
    [
        (Filters(), {"SCHEDULED", "WAITING", "RUNNING"}, {"FAILED", "CANCELLED"}),
        (Filters(states=frozenset({State.FAILED, State.SUCCEEDED})), set(), {"FAILED"}),
        (Filters(states=frozenset({State.WAITING})), {"WAITING"}, {"WAITING"}),
        (Filters(overdue=True), {"SCHEDULED", "WAITING"}, {"SCHEDULED", "WAITING"}),
    ],
)
def test_an_action_on_all_is_for_those_it_can_be_meant_for(asked: Filters, cancelled: set[str], retried: set[str]) -> None:
    """What waits for its time is hurried only when it was asked for."""
    assert CANCEL.narrowed(asked).states == cancelled
    assert RETRY.narrowed(asked).states == retried
