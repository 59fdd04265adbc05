"""The talks, without sockets: a made-up server that lives in virtual time."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core.errors import FailedPreconditionError, LongcallError, NotFoundError, UnavailableError
from longcall.core.text import parse_duration
from longcall.core.wire import Json
from longcall.sdk.errors import NotLongcallError, OutOfReachError, TaskCancelled, TaskFailed, WaitTimeout
from longcall.sdk.messages import Answer, Broken, Request, create_request, read_request
from longcall.sdk.talk import Talks
from longcall.sdk.tries import LAST_PAUSE, Talk, once
from longcall.sdk.view import Requeued, TaskView, view_fields

SERVER = "http://127.0.0.1:8080"
End = TypeVar("End")
Reply = Callable[[Request, float], tuple[Answer | Broken, float]]


def view(data: Json) -> TaskView:
    """A task without a client."""
    return TaskView(**view_fields(data))


def task(state: str = "RUNNING", version: int = 1, **more: object) -> Json:
    """A task as the server shows it, with the least that a view has."""
    when = "2026-11-24T12:00:00Z"
    return {"id": "train", "state": state, "version": version, "createTime": when, "updateTime": when, "attemptCount": 1, **more}


def good(data: Json, status: int = 200) -> Answer:
    """A good answer."""
    return Answer(status, {"content-type": "application/json"}, json.dumps(data).encode())


def bad(status: int, code: str, **headers: str) -> Answer:
    """A problem."""
    return Answer(status, {"content-type": "application/problem+json", **headers}, json.dumps({"code": code, "detail": "x"}).encode())


REFUSED, BROKE = Broken("Connection refused", sent=False), Broken("reset", sent=True)
AWAY, MISSING = bad(503, "UNAVAILABLE"), bad(404, "NOT_FOUND")


@dataclass
class World:
    """Answers requests by a function, and keeps the time that goes by."""

    reply: Reply
    now: float = 1000.0
    asked: list[tuple[float, Request]] = field(default_factory=list)

    def run(self, talk: Talk[End]) -> End:
        """Drive a talk to its end."""
        try:
            request = next(talk)
            while True:
                self.now += request.after
                self.asked.append((self.now, request))
                heard, took = self.reply(request, self.now)
                self.now += took
                request = talk.send(replace(heard, at=self.now))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # a generator's return value comes as Any


def in_turn(*replies: Answer | Broken) -> Reply:
    """Answer so, one after the other; a poll that finds a task not ended takes as long as it may."""
    left: Iterator[Answer | Broken] = iter(replies)
    return lambda request, _: _taking(next(left), request)


def _taking(heard: Answer | Broken, request: Request) -> tuple[Answer | Broken, float]:
    waits = isinstance(heard, Answer) and (heard.status == 404 or b"RUNNING" in heard.body)
    return heard, asked_wait(request) if waits else 0.01


def asked_wait(request: Request) -> float:
    """How long a poll lets the server wait, in seconds."""
    return parse_duration(request.path.partition("wait=")[2] or "0s").total_seconds()


def wait(world: World, timeout: str | None = None, seen: TaskView | None = None) -> TaskView:
    """Wait for the task."""
    return world.run(Talks(SERVER, view).wait("train", timeout, seen, None).talk(world.now))


def test_a_create_whose_answer_got_lost_is_sent_again_as_it_was() -> None:
    """The same bytes under the same id, so the task is made once."""
    world = World(in_turn(BROKE, AWAY, good(task(), 201)))
    assert world.run(Talks(SERVER, view).submit("train", "https://a", None, {})).id == "train"
    assert len({request.body for _, request in world.asked}) == 1
    assert json.loads(world.asked[0][1].body or b"")["id"] == "train"


def test_tries_are_few() -> None:
    """Three tries within about a second, then OutOfReachError, which says that nothing was made."""
    world = World(in_turn(*[REFUSED] * 9))
    with pytest.raises(OutOfReachError, match="nothing answers at http") as away:
        world.run(once(create_request("train", "https://a", None, {}), SERVER))
    assert (len(world.asked), away.value.may_exist) == (3, None)
    assert world.now - 1000 < 2


def test_a_create_that_may_have_arrived_says_so() -> None:
    """One broken answer among the tries is enough for `may_exist`; a read that breaks made nothing."""
    with pytest.raises(OutOfReachError, match="may have been made") as away:
        World(in_turn(BROKE, REFUSED, REFUSED)).run(once(create_request("train", "https://a", None, {}), SERVER))
    assert away.value.may_exist == "train"
    with pytest.raises(OutOfReachError) as away:
        World(in_turn(BROKE, BROKE, BROKE)).run(once(read_request("train"), SERVER))
    assert away.value.may_exist is None


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_a_change_whose_answer_got_lost_is_asked_for_again(verb: str) -> None:
    """The same request under the same path, and the second answer counts."""
    world = World(in_turn(BROKE, good(task("CANCELLED", 2))))
    assert world.run(getattr(Talks(SERVER, view), verb)("a/b")).version == 2
    assert [(request.method, request.path) for _, request in world.asked] == [("POST", f"/v1/tasks/a%2Fb:{verb}")] * 2


def test_a_change_that_was_never_answered_may_be_done() -> None:
    """The error says so, and names no task that may have been made."""
    with pytest.raises(OutOfReachError, match="may have been done, and can be asked for again") as away:
        World(in_turn(BROKE, REFUSED, REFUSED)).run(Talks(SERVER, view).cancel("train"))
    assert (away.value.may_be_done, away.value.may_exist) == (True, None)
    with pytest.raises(OutOfReachError) as away:
        World(in_turn(REFUSED, REFUSED, REFUSED)).run(Talks(SERVER, view).cancel("train"))
    assert not away.value.may_be_done


def test_a_state_that_does_not_allow_it_is_an_answer() -> None:
    """409 FAILED_PRECONDITION is not asked for again."""
    world = World(in_turn(bad(409, "FAILED_PRECONDITION")))
    with pytest.raises(FailedPreconditionError):
        world.run(Talks(SERVER, view).retry("train"))
    assert len(world.asked) == 1


DONE, PROXY = Answer(204, {}, b""), Answer(502, {"content-type": "text/html"}, b"<h1>Bad gateway</h1>")


@pytest.mark.parametrize(
    ("replies", "is_done"),
    [
        ([DONE], True),
        ([BROKE, DONE], True),
        ([BROKE, MISSING], True),
        ([PROXY, MISSING], True),
        ([BROKE, REFUSED, MISSING], True),
        ([MISSING], False),
        ([REFUSED, MISSING], False),
        ([bad(429, "RESOURCE_EXHAUSTED"), MISSING], False),
        ([BROKE, bad(409, "FAILED_PRECONDITION")], False),
        ([BROKE, Answer(200, {"content-type": "text/html"}, b"<h1>Welcome</h1>")], False),
    ],
)
def test_what_a_lost_try_has_deleted_is_deleted(replies: list[Answer | Broken], is_done: bool) -> None:  # noqa: FBT001 — a case of a table
    """A 404 means done where an earlier try may have arrived, and nowhere else."""
    world = World(in_turn(*replies))
    if is_done:
        world.run(Talks(SERVER, view).forget("train"))
    else:
        with pytest.raises((NotFoundError, FailedPreconditionError, NotLongcallError)):
            world.run(Talks(SERVER, view).forget("train"))
    assert {(request.method, request.path) for _, request in world.asked} == {("DELETE", "/v1/tasks/train")}


def test_a_requeue_says_what_it_queued() -> None:
    """Three lists of ids; a dry run is asked for as one, and a long one is waited for."""
    data = {"dryRun": True, "waiting": ["a"], "running": [], "untold": ["b", "c"], "later": 1}
    world = World(in_turn(good(data)))
    assert world.run(Talks(SERVER, view).requeue(dry_run=True)) == Requeued(("a",), (), ("b", "c"))
    assert (world.asked[0][1].body, world.asked[0][1].patience) == (b'{"dryRun":true}', 600)
    for strange in (task(), {"waiting": 3, "running": [], "untold": []}):
        with pytest.raises(NotLongcallError):
            World(in_turn(good(strange))).run(Talks(SERVER, view).requeue(dry_run=False))


def test_retry_after_is_kept_up_to_half_a_minute() -> None:
    """A server that asks for 7 seconds gets them; one that asks for a day gets 30."""
    answer = bad(503, "UNAVAILABLE", **{"retry-after": "7"})
    world = World(in_turn(answer, bad(503, "UNAVAILABLE", **{"retry-after": "86400"}), good(task())))
    world.run(once(read_request("train"), SERVER))
    assert [request.after for _, request in world.asked] == [0, 7, 30]


def test_a_mistake_is_not_tried_again() -> None:
    """A 404 is an answer."""
    world = World(in_turn(MISSING))
    with pytest.raises(NotFoundError):
        world.run(Talks(SERVER, view).get("train"))
    assert len(world.asked) == 1


def test_a_wait_polls_for_a_minute_at_a_time() -> None:
    """Each poll lets the server wait for 60 s, and its answer is waited for a little longer."""
    world = World(in_turn(good(task()), good(task()), good(task("SUCCEEDED", 2))))
    assert wait(world).state == "SUCCEEDED"
    assert [asked_wait(request) for _, request in world.asked] == [60, 60, 60]
    assert all(request.patience > 60 for _, request in world.asked)


@pytest.mark.parametrize(("state", "kind"), [("FAILED", TaskFailed), ("CANCELLED", TaskCancelled)])
def test_other_ends_are_raised_with_their_task(state: str, kind: type[TaskFailed] | type[TaskCancelled]) -> None:
    """FAILED and CANCELLED come as exceptions that carry the task."""
    failure = {"reason": "timed_out", "message": "too slow", "mayHaveRun": True}
    with pytest.raises(kind) as ended:
        wait(World(in_turn(good(task(state, failure=failure)))))
    error = ended.value
    assert isinstance(error, TaskFailed | TaskCancelled)
    assert error.task.state == state
    if isinstance(error, TaskFailed):
        assert (error.failure.reason, error.failure.may_have_run) == ("timed_out", True)


def test_a_known_task_is_waited_for_through_any_trouble() -> None:
    """A server that is away for a long time ends no wait; the pauses grow to 5 s and no further."""
    world = World(in_turn(*[REFUSED, BROKE] * 60, AWAY, good(task("SUCCEEDED", 2))))
    assert wait(world, seen=view(task())).state == "SUCCEEDED"
    assert max(request.after for _, request in world.asked) == LAST_PAUSE


def test_a_server_that_was_never_reached_ends_the_wait_for_an_unknown_task() -> None:
    """A wrong URL is said at once, not waited at for ever."""
    with pytest.raises(OutOfReachError):
        wait(World(in_turn(REFUSED, REFUSED, REFUSED)))


def test_a_task_put_by_hand_may_come_within_a_minute() -> None:
    """No record yet is waited through; a minute later it is NotFoundError."""
    soon = World(lambda _, now: (MISSING if now < 1030 else good(task("SUCCEEDED")), 20.0))
    assert wait(soon).state == "SUCCEEDED"
    world = World(lambda _, __: (MISSING, 20.0))
    with pytest.raises(NotFoundError):
        wait(world)
    assert world.now - 1000 == pytest.approx(60, abs=25)


trouble = st.sampled_from([REFUSED, BROKE, AWAY, bad(503, "UNAVAILABLE", **{"retry-after": "20"}), good(task())])


@given(st.lists(trouble, min_size=1, max_size=30), st.integers(0, 600))
def test_a_wait_is_over_when_it_is_over(troubles: list[Answer | Broken], limit: int) -> None:
    """Whatever the server does, WaitTimeout comes at the limit, never before it and never after it, with the task as last seen."""
    times = iter(range(10**6))
    world = World(lambda request, _: _taking(troubles[next(times) % len(troubles)], request))
    with pytest.raises(WaitTimeout) as over:
        wait(world, f"{limit}s", view(task()))
    assert world.now - 1000 == pytest.approx(limit, abs=0.1)
    assert over.value.task.state == "RUNNING"


def test_news_are_told_once_each() -> None:
    """The first look, each change, and each time that the server is away; looks are short, and longer while nothing changes."""
    told: list[TaskView | UnavailableError] = []
    world = World(in_turn(*[good(task())] * 5, REFUSED, good(task(version=2)), good(task(version=2)), good(task("SUCCEEDED", 3))))
    world.run(Talks(SERVER, view).wait("train", None, view(task()), told.append).talk(world.now))
    assert [each.version if isinstance(each, TaskView) else type(each) for each in told] == [1, OutOfReachError, 2, 3]
    assert [asked_wait(request) for _, request in world.asked][:5] == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_newer_server_is_no_trouble() -> None:
    """A state, an outcome or a field that this release does not know is kept as it is."""
    seen = view(
        task("PAUSED", shade="blue", attempts=[{"number": 1, "runner": "r", "startTime": "2026-11-24T12:00:00Z", "outcome": "eaten"}])
    )
    assert (seen.state, seen.ended, seen.raw["shade"], seen.attempts[0].outcome) == ("PAUSED", False, "blue", "eaten")


@pytest.mark.parametrize("data", [{"id": "train"}, {"tasks": 3}, {"tasks": [{}]}, {"tasks": [3], "nextPageToken": ""}])
def test_what_is_no_task_is_no_longcall(data: Json) -> None:
    """JSON that is no task of ours is said to be none, not a KeyError."""
    talks = Talks(SERVER, view)
    for talk in (talks.get("train"), talks.page({}, "")):
        with pytest.raises(NotLongcallError):
            World(in_turn(good(data))).run(talk)


@given(
    st.lists(st.sampled_from([REFUSED, BROKE, AWAY, MISSING, good(task("SUCCEEDED")), Answer(200, {}, b"?")]), min_size=200, max_size=200)
)
def test_a_wait_ends_well_or_by_an_error_of_ours(replies: list[Answer | Broken]) -> None:
    """No history of answers gets anything else out of a wait."""
    with suppress(LongcallError):
        assert wait(World(in_turn(*replies))).ended
