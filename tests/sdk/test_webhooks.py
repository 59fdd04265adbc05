"""Callbacks are believed only when they are signed by us, as they were sent, and new."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

import longcall
from longcall import webhooks
from longcall.core import lifecycle, signing
from longcall.core.attempt import Response
from longcall.core.callback import Teller
from longcall.core.errors import InvalidArgumentError, LongcallError
from longcall.core.task import State, Task
from longcall.core.wire import dumps
from longcall.sdk.webhooks import BadSignatureError
from tests.making import NOON, responded, running

SECRET, OTHER = (signing.secret_of(bytes([each]) * 32) for each in (1, 2))


def ended(status: int = 200) -> Task:
    """A task whose one attempt was answered so."""
    return lifecycle.settle(running(), responded(status), NOON, 0.5)


@dataclass(frozen=True)
class Sent:
    """A callback on its way."""

    headers: dict[str, str]
    body: bytes

    def verified(self, secrets: str | list[str] = SECRET, now: datetime = NOON) -> webhooks.Event:
        """What its receiver makes of it."""
        return webhooks.verify(self.headers, self.body, secrets, now=now)


def sent(task: Task, *secrets: str, at: datetime = NOON) -> Sent:
    """The callback for the end of a task."""
    body = Teller().body(task)
    return Sent(signing.headers(secrets or (SECRET,), f"{task.id}.callback-{task.version}", at, body), body)


keys = st.binary(min_size=24, max_size=64).map(signing.secret_of)
ids = st.from_regex(r"[A-Za-z0-9_.-]{1,40}", fullmatch=True)
ends = st.sampled_from([200, 404]).map(ended)


@given(ends, st.lists(keys, min_size=1, max_size=3, unique=True), ids, st.integers(-300, 300), st.data())
def test_what_is_signed_is_believed(task: Task, secrets: list[str], message_id: str, late: int, data: st.DataObject) -> None:
    """Whatever the task, the id, and the secret among several: a callback that is at most five minutes old or early is an event."""
    body = Teller().body(task)
    headers = signing.headers(secrets, message_id, NOON, body)
    known = data.draw(st.sampled_from(secrets))
    event = webhooks.verify(headers, body, [OTHER, known], now=NOON + timedelta(seconds=late))
    assert (event.id, event.task.id, event.task.state) == (message_id, task.id, task.state)


@given(ends, st.integers(0), st.integers(1, 255), st.sampled_from(["body", "webhook-id", "webhook-timestamp", "webhook-signature"]))
def test_any_byte_that_was_changed_is_refused(task: Task, where: int, mask: int, part: str) -> None:
    """In the body and in each of the three headers."""
    good = sent(task)
    text = bytearray(good.body if part == "body" else good.headers[part].encode())
    text[where % len(text)] ^= mask
    changed = replace(good, body=bytes(text)) if part == "body" else Sent({**good.headers, part: text.decode("latin-1")}, good.body)
    with pytest.raises(BadSignatureError):
        changed.verified()


@given(
    st.dictionaries(st.sampled_from([webhooks.ID, webhooks.TIMESTAMP, webhooks.SIGNATURE]), st.text(max_size=30)), st.binary(max_size=30)
)
def test_any_headers_are_an_event_or_an_error_of_ours(headers: dict[str, str], body: bytes) -> None:
    """Nothing that strangers can send gets another exception out."""
    with pytest.raises(BadSignatureError):
        webhooks.verify(headers, body, SECRET, now=NOON)


def test_an_event_has_what_a_receiver_acts_on() -> None:
    """Its type, an id to know it again by, when the task ended, and the task as a value."""
    event = sent(ended(404)).verified()
    assert (event.type, event.id, event.timestamp) == ("task.failed", "train.callback-3", NOON)
    assert (event.task.state, event.task.response.status, event.task.response.text) == (State.FAILED, 404, "ok")
    assert event.raw["data"]["task"]["id"] == "train"
    assert longcall.webhooks.verify is webhooks.verify


def test_an_answer_too_large_for_a_callback_is_fetched_elsewhere() -> None:
    """The error says how."""
    large = Response(200, {}, size=100_000, sha256="00" * 32, location="bodies/x")
    event = sent(replace(ended(), response=large)).verified()
    assert event.task.response.size == 100_000
    with pytest.raises(LongcallError, match=r"Longcall\(\)\.response\('train'\)"):
        _ = event.task.response.content


def test_another_secret_is_refused() -> None:
    """And the error holds neither of them."""
    with pytest.raises(BadSignatureError, match="no signature fits") as refused:
        sent(ended(), OTHER).verified()
    assert not any(secret.removeprefix("whsec_") in str(refused.value) for secret in (SECRET, OTHER))


@pytest.mark.parametrize(("late", "said"), [(301, "kept a copy"), (-301, "a clock is wrong")])
def test_what_is_old_or_early_is_refused(late: int, said: str) -> None:
    """Five minutes either way; what was signed once can't be sent for ever."""
    with pytest.raises(BadSignatureError, match=said):
        sent(ended()).verified(now=NOON + timedelta(seconds=late))


def test_the_tolerance_and_the_time_are_the_receivers() -> None:
    """An hour when asked for; and without a time given, the time it is."""
    old = sent(ended())
    assert webhooks.verify(old.headers, old.body, SECRET, now=NOON + timedelta(hours=1), tolerance=timedelta(hours=1)).type
    fresh = sent(ended(), at=datetime.now(UTC))  # noqa: TID251 — the clock that verify reads when it is given none
    assert webhooks.verify(fresh.headers, fresh.body, SECRET).type == "task.succeeded"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    """What is not signed is said to be that."""
    good = sent(ended())
    for headers in ({key: value for key, value in good.headers.items() if key != name}, {**good.headers, name: ""}):
        with pytest.raises(BadSignatureError, match=f"it has no {name}"):
            Sent(headers, good.body).verified()
    with pytest.raises(BadSignatureError, match="no webhook-id and no webhook-timestamp and no webhook-signature"):
        Sent({}, good.body).verified()


@pytest.mark.parametrize("text", ["soon", "-5", "1.5", "+1764000000", "01764000000", "9" * 30, "\u0661", " "])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    """There is one way to write it."""
    good = sent(ended())
    with pytest.raises(BadSignatureError):
        Sent({**good.headers, "webhook-timestamp": text}, good.body).verified()


def _message(headers: dict[str, str]) -> Message:
    message = Message()
    for name, value in headers.items():
        message[name] = value
    return message


@pytest.mark.parametrize(
    "kind", [dict, lambda given: {name.title(): value for name, value in given.items()}, _message], ids=["lower", "title", "http.server"]
)
def test_headers_come_as_frameworks_have_them(kind: Callable[[dict[str, str]], webhooks.Headers]) -> None:
    """In any case, and from http.server."""
    good = sent(ended())
    assert webhooks.verify(kind(good.headers), good.body, SECRET, now=NOON).id == "train.callback-3"


def test_signatures_of_other_kinds_are_passed_over() -> None:
    """`v1a` of somebody's later standard, and a secret that is on its way out."""
    good = sent(ended())
    more = {**good.headers, "webhook-signature": f"v1a,abc v1,{base64.b64encode(b'x' * 32).decode()} {good.headers['webhook-signature']}"}
    assert Sent(more, good.body).verified().id


@pytest.mark.parametrize("secrets", ["", "secret", "whsec_", "whsec_c2hvcnQ=", [], [SECRET, "whsec_?"]])
def test_a_secret_that_is_none_is_the_receivers_mistake(secrets: str | list[str]) -> None:
    """It is not blamed on the sender, or every callback would be refused without anybody knowing why."""
    with pytest.raises(InvalidArgumentError, match="secrets: "):
        sent(ended()).verified(secrets)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"\xff", dumps({"type": "ping"}), dumps({"type": "x", "timestamp": "now", "data": {}})]
)
def test_what_is_signed_and_no_callback_is_said_to_be_none(body: bytes) -> None:
    """Somebody else's webhook with the same secret."""
    with pytest.raises(InvalidArgumentError, match="no callback of Longcall's"):
        Sent(signing.headers([SECRET], "x", NOON, body), body).verified()
