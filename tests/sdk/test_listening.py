"""Listening to a stream of events, without sockets."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core.errors import InvalidArgumentError, LongcallError, NotFoundError, UnavailableError
from longcall.sdk.errors import NotLongcallError, OutOfReachError
from longcall.sdk.listening import Listening
from longcall.sdk.messages import Answer, Watched, changes_request, events_request
from longcall.sdk.sse import EventReader
from longcall.sdk.talk import Talks
from longcall.sdk.view import TaskView
from tests.sdk.test_talk import AWAY, BROKE, DONE, MISSING, REFUSED, SERVER, bad, task, view

texts = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))


def event(state: str = "RUNNING", version: int = 1, place: str | None = None, **more: object) -> bytes:
    """An event as the server writes it."""
    data = json.dumps(task(state, version, **more), ensure_ascii=False)
    return f"event: task\nid: {version if place is None else place}\ndata: {data}\n\n".encode()


def listening(single: bool = True, told: list[UnavailableError] | None = None) -> Listening[TaskView]:  # noqa: FBT001, FBT002 — which of the two
    """A watch of a task, or of all."""
    talks, away = Talks(SERVER, view), told.append if told is not None else None
    return talks.events("train", away) if single else talks.changes({}, away)


def place(watch: Listening[TaskView]) -> str | None:
    """From where the next request goes on."""
    return dict(watch.request().headers).get("Last-Event-ID")


@given(st.lists(st.tuples(texts.filter(bool), texts), max_size=5), st.data())
def test_a_stream_reads_the_same_in_whatever_pieces_it_comes(events: list[tuple[str, str]], data: st.DataObject) -> None:
    """Every event with its text and its place, each text of any script, cut anywhere."""
    raw = b"retry: 1000\n\n:\n\n" + b"".join(f"event: task\nid: {place}\ndata: {text}\n\n".encode() for place, text in events)
    reader, read = EventReader(), []
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        read += reader.read(raw[start:stop])
    assert read == [text for _, text in events]
    assert reader.last_id == (events[-1][0] if events else "")
    assert reader.retry == 1


def test_the_standard_s_own_cases() -> None:
    """Several lines of data, no space after the colon, no colon, carriage returns, an id without an event, an event that breaks off."""
    reader = EventReader("0")
    assert reader.read(b"data: YHOO\ndata: +2\ndata: 10\n\n") == ["YHOO\n+2\n10"]
    assert reader.read(b"data:test\n\ndata: test\r\n\r\n") == ["test", "test"]
    assert (reader.read(b"data\n\ndata\ndata\n\nevent: x\n\n"), reader.last_id) == (["", "\n"], "0")
    assert (reader.read(b":\nid: 5\n\n"), reader.last_id) == ([], "5")
    assert (reader.read(b"id: 6\ndata: half"), reader.last_id) == ([], "5")


def test_each_version_is_given_once_and_the_end_is_the_end() -> None:
    """What a server repeats after a break is not news; a task that has ended is not asked about again."""
    watch = listening()
    assert [seen.version for seen in watch.hear(event() + event(version=2))] == [1, 2]
    watch.answered(BROKE)
    assert place(watch) == "2"
    assert watch.hear(event(version=2)) == []
    assert watch.goes_on()
    assert [seen.state for seen in watch.hear(event("SUCCEEDED", 3))] == ["SUCCEEDED"]
    assert not watch.goes_on()


def test_a_watch_of_all_goes_on_after_ends() -> None:
    """And tells tasks of one id apart by when they were made."""
    watch = listening(single=False)
    assert len(watch.hear(event("SUCCEEDED", 3, "t1") + event("SUCCEEDED", 3, "t2", id="other"))) == 2
    assert len(watch.hear(event("SUCCEEDED", 2, "t3") + event("RUNNING", 2, "t4", createTime="2026-11-25T12:00:00Z"))) == 1
    assert (watch.goes_on(), place(watch)) == (True, "t4")


def test_an_end_that_was_told_already_ends_the_watch() -> None:
    """204 says so."""
    watch = listening()
    watch.answered(DONE)
    assert not watch.goes_on()


def test_a_server_that_stops_is_asked_again_when_it_wants_to_be() -> None:
    """A proper end of a stream, after `retry`; without a word after a second."""
    watch = listening()
    watch.hear(b"retry: 250\n\n" + event())
    watch.ended()
    assert watch.request().after == 0.25
    watch.ended()
    assert watch.request().after == 1.0


def test_what_was_heard_once_is_listened_to_through_any_trouble() -> None:
    """The pauses grow to 5 s and no further, each trouble is told, and a stream that opens again makes them short."""
    told: list[UnavailableError] = []
    watch = listening(told=told)
    watch.hear(event())
    pauses = []
    for _ in range(40):
        for trouble in (REFUSED, AWAY):
            watch.answered(trouble)
            pauses.append(watch.request().after)
    assert (pauses[0], max(pauses)) == (0.2, 5.0)
    assert len(told) == 80
    watch.hear(b":\n\n")
    watch.answered(BROKE)
    assert watch.request().after == 0.2


def test_a_server_that_was_never_reached_is_said() -> None:
    """After three tries."""
    watch = listening()
    watch.answered(REFUSED)
    watch.answered(REFUSED)
    with pytest.raises(OutOfReachError):
        watch.answered(REFUSED)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (MISSING, NotFoundError),
        (bad(400, "INVALID_ARGUMENT"), InvalidArgumentError),
        (Answer(200, {"content-type": "text/html"}, b"<h1>Welcome</h1>"), NotLongcallError),
    ],
)
def test_what_asking_again_can_t_change_is_raised(answer: Answer, error: type[LongcallError]) -> None:
    """Also when there were events before."""
    watch = listening()
    watch.hear(event())
    with pytest.raises(error):
        watch.answered(answer)


@pytest.mark.parametrize("data", [b"data: {\n\n", b"data: 3\n\n", b'data: {"id": "a"}\n\n'])
def test_what_is_no_task_is_no_longcall(data: bytes) -> None:
    """A stream of something else is said to be one."""
    with pytest.raises(NotLongcallError):
        listening().hear(data)


def test_only_an_event_stream_is_read_as_one() -> None:
    """By status and type."""
    watch = listening()
    assert watch.opens(200, "text/event-stream; charset=utf-8")
    assert not watch.opens(200, "application/json")
    assert not watch.opens(503, "text/event-stream")


def test_what_is_asked_for() -> None:
    """The paths, and patience for longer than the server may stay silent."""
    one, every = events_request("a/b"), changes_request({"state": ["FAILED", "RUNNING"], "label": "team:ml"})
    assert (one.path, one.patience > 60) == ("/v1/tasks/a%2Fb/events?wait=60s", True)
    assert (every.path, every.patience > 15) == ("/v1/events?state=FAILED&state=RUNNING&label=team%3Aml", True)
    with pytest.raises(TypeError, match="changes\\(\\) has no filter host"):
        changes_request(Watched(host="x"))  # type: ignore[typeddict-unknown-key] # what a wrong program does


events = [event(), event("WAITING", 2), event("SUCCEEDED", 3), b":\n\n", b"data: ?\n\n"]
heard = st.sampled_from([*events, REFUSED, BROKE, AWAY, MISSING, DONE, None])


@given(st.lists(heard, max_size=30))
def test_a_watch_ends_well_or_by_an_error_of_ours(history: list[bytes | Answer | None]) -> None:
    """Whatever a server does, versions only grow, and nothing comes after the end."""
    watch, versions = listening(), list[int]()
    with suppress(LongcallError):
        for each in history:
            if not watch.goes_on():
                break
            watch.request()
            if isinstance(each, bytes):
                versions += [seen.version for seen in watch.hear(each)]
            elif each is None:
                watch.ended()
            else:
                watch.answered(each)
    assert versions == sorted(set(versions))
    assert 3 not in versions[:-1]
