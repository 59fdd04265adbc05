from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core import lifecycle, messages, view, wire
from longcall.core.errors import NewerSchemaError
from longcall.core.messages import LookMessage, TaskMessage
from longcall.core.task import HttpRequest, StoredBody, TaskSpec, Unreadable
from longcall.core.text import parse_bytes
from longcall.core.trace import TraceContext
from tests.core.test_trace import contexts
from tests.making import NOON, moments, names, responded, running, scheduled, spec, specs


@given(specs)
def test_a_spec_comes_back_as_it_went(asked: TaskSpec) -> None:
    """Writing what was asked for and reading it gives the same."""
    assert wire.spec_from_json(wire.loads(wire.dumps(wire.spec_to_json(asked)))) == asked


@given(
    st.one_of(
        st.builds(TaskMessage, names, moments, st.integers(1, 10**6), moments),
        st.builds(LookMessage, names, st.integers(0), st.integers(0)),
    )
)
def test_a_message_comes_back_as_it_went(message: TaskMessage | LookMessage) -> None:
    """Writing a message and reading it gives the same."""
    assert messages.message_from_json(wire.loads(wire.dumps(messages.message_to_json(message)))) == message


@pytest.mark.parametrize(
    "data", [[], None, 5, {}, {"task": "a"}, {"task": "a", "created": "never", "version": 1, "at": "never"}, {"httpRequest": {}}]
)
def test_what_is_no_message_of_ours_was_put_by_hand(data: object) -> None:
    """Only a body that is exactly a message is taken for one."""
    assert messages.message_from_json(data) is None


def test_unknown_fields_go_back_as_they_came() -> None:
    """A record and an attempt written by a newer release lose nothing here."""
    data = wire.task_to_json(running()) | {"novelty": {"deep": [1]}}
    data["attempts"][0]["weather"] = "fine"
    again = wire.task_to_json(wire.task_from_json(data))
    assert again["novelty"] == {"deep": [1]}
    assert again["attempts"][0]["weather"] == "fine"


@given(contexts, names)
def test_a_place_in_a_trace_comes_back_as_it_went(caller: TraceContext, span: str) -> None:
    """In a record as the task's span and the attempt's, in the message of version 1 as the caller's."""
    origin = replace(caller.child(span), state="vendor=7", baggage="user=7")
    task = lifecycle.take(replace(scheduled(), trace=origin.trace, origin=origin), "r-1", NOON, span)
    assert wire.task_from_json(wire.loads(wire.dumps(wire.task_to_json(task)))) == task
    message = TaskMessage("train", NOON, 1, NOON, {}, caller)
    assert messages.message_from_json(wire.loads(wire.dumps(messages.message_to_json(message)))) == message


def test_a_record_from_before_traces_were_kept_is_read() -> None:
    """It has a trace and no more, and writing it again adds nothing."""
    data = wire.task_to_json(running())
    assert "traceContext" not in data
    assert "span" not in data["attempts"][0]
    assert wire.task_from_json(data).origin is None


def test_a_message_whose_trace_can_t_be_read_is_a_message_all_the_same() -> None:
    """A trace is never worth a task."""
    data = messages.message_to_json(TaskMessage("train", NOON, 1, NOON, {}))
    for odd in (5, {}, {"traceparent": "x", "tracestate": "", "baggage": ""}, {"traceparent": 1, "tracestate": 2, "baggage": 3}):
        assert messages.message_from_json(data | {"trace": odd}) == TaskMessage("train", NOON, 1, NOON, {})


def test_a_higher_schema_is_refused() -> None:
    """A record that this release can't read is not guessed at."""
    with pytest.raises(NewerSchemaError, match="schema 2"):
        wire.task_from_json(wire.task_to_json(scheduled()) | {"schema": 2})


def test_names_of_messages_have_no_common_prefix() -> None:
    """Cloud Tasks slows down on names that begin alike; the same version has the same name whoever queues it."""
    one, other = (messages.message_name(task_id, NOON, 7) for task_id in ("train-1", "train-2"))
    assert one[:8] != other[:8]
    assert one == messages.message_name("train-1", NOON, 7)
    assert one != messages.message_name("train-1", NOON + timedelta(microseconds=1), 7)


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', "[-Infinity]", "[" * 100_000, "{", ""])
def test_what_is_not_json_is_refused(text: str) -> None:
    """NaN and Infinity are JavaScript, not JSON; nesting without end is an attack."""
    with pytest.raises(ValueError, match=r".+"):
        wire.loads(text)


def test_a_view_hides_credentials_and_what_is_only_ours() -> None:
    """Whoever reads a task sees neither its Authorization nor our bookkeeping."""
    asked = TaskSpec(HttpRequest("http://x/", headers={"authorization": "Bearer s3cret", "X-Key": "k", "Accept": "*/*"}))
    done = lifecycle.settle(running(asked=asked), responded(set_cookie="sid=s3cret"), NOON, 0)
    seen = view.view(done, "http://longcall", frozenset({"authorization", "x-key"}))
    assert b"s3cret" not in wire.dumps(seen)
    assert seen["httpRequest"]["headers"] == {"authorization": "REDACTED", "X-Key": "REDACTED", "Accept": "*/*"}
    assert not {"owner", "budget"} & seen.keys()
    assert seen["links"]["response"] == "http://longcall/v1/tasks/train/response"


@pytest.mark.parametrize(
    ("body", "kind", "shown"),
    [
        (b'{"ok":true}', "application/json", {"json": {"ok": True}}),
        (b'{"ok":true}', "application/problem+json; charset=utf-8", {"json": {"ok": True}}),
        (b"{not", "application/json", {"text": "{not"}),
        (b"null", "application/json", {"json": None}),
        ("höflich".encode(), "text/plain", {"text": "höflich"}),
        (b"\xff\xfe", "text/plain", {"body": "//4="}),
        (b"", "", {"text": ""}),
    ],
)
def test_a_small_response_is_shown_as_what_it_is(body: bytes, kind: str, shown: dict[str, object]) -> None:
    """JSON as JSON, UTF-8 as text, anything else as base64."""
    outcome = responded(content_type=kind)
    done = lifecycle.settle(running(), replace(outcome, response=replace(outcome.response, inline=body)), NOON, 0)
    seen = view.view(done, "http://longcall")["response"]
    assert {name: seen[name] for name in ("json", "text", "body") if name in seen} == shown


def test_a_list_s_entry_has_no_bodies_and_no_attempts() -> None:
    """Lists stay small whatever the tasks carry."""
    done = lifecycle.settle(running(asked=TaskSpec(HttpRequest("http://x/", body=b"much"))), responded(content_type="text/plain"), NOON, 0)
    row = view.row(done, "http://longcall")
    assert "attempts" not in row
    assert "body" not in row["httpRequest"]
    assert not {"json", "text", "body"} & row["response"].keys()


def test_differences_are_named_as_pointers() -> None:
    """A 409 says which fields are not the same."""
    one = spec(labels={"team": "ml"})
    other = TaskSpec(HttpRequest("http://127.0.0.1:9/other", body=b"x"), retry=replace(one.retry, max_attempts=9))
    assert set(wire.differing(one, other)) == {"/httpRequest/url", "/httpRequest/body", "/retry/maxAttempts", "/labels"}


def test_a_body_counts_by_its_content_wherever_it_lies() -> None:
    """A body in the body store is the same as the one that was sent along."""
    body = b"large" * 1000
    kept = StoredBody(len(body), wire.body_digest(body))
    assert wire.differing(TaskSpec(HttpRequest("http://x/", body=body)), TaskSpec(HttpRequest("http://x/", body=kept))) == ()


@pytest.mark.parametrize("raw", [b'{"a":1e400}', b'{"a":"\\ud800"}', b'"\\uDFFF"', b"\xff\xfe[\x00]\x00"])
def test_what_could_not_be_written_again_is_not_read(raw: bytes) -> None:
    """A number beyond reckoning, half a character, another encoding: no JSON to us, so an answer of that kind is shown as text or bytes."""
    with pytest.raises(ValueError, match=r".+"):
        wire.loads(raw)
    outcome = responded(content_type="application/json")
    done = lifecycle.settle(running(), replace(outcome, response=replace(outcome.response, inline=raw)), NOON, 0)
    assert wire.dumps(view.view(done, "http://longcall"))


def test_half_a_character_never_keeps_a_record_from_being_written() -> None:
    """Wherever it came from."""
    assert wire.dumps({"a": "\ud800"}) == b'{"a":"?"}'


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"retyr":1}', b'{"retyr":1}'),
        (
            b'{"a":{"Authorization":"Bearer s3cret"},"b":[{"cookie":"s3cret"}]}',
            b'{"a":{"Authorization":"REDACTED"},"b":[{"cookie":"REDACTED"}]}',
        ),
        (b'{"Authorization":"Bearer s3cret"', None),
    ],
)
def test_credentials_in_what_could_not_be_read_are_not_shown(raw: bytes, shown: bytes | None) -> None:
    """Whoever put it there made a mistake; nobody else is to learn its secrets from that."""
    kept = lifecycle.reject("odd", Unreadable(raw, "no task"), queue="q", trace="t", now=NOON)
    seen = view.view(kept, "http://longcall")["raw"]
    assert (seen and parse_bytes(seen)) == shown
