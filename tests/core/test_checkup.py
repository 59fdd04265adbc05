"""What a held call's end is called in words, and what is made of clocks and limits."""

from datetime import UTC, datetime, timedelta

import pytest

from longcall.core.attempt import Break, Broken, Responded, Response, Trouble
from longcall.core.checkup import Level, Share, budget_finding, call_finding, clock_finding, files_finding, queue_findings
from longcall.core.hints import looks_like

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
HOLD = timedelta(seconds=300)
FULL = "projects/p/locations/l/queues/q"
RIGHT = {"maxAttempts": -1, "minBackoff": "1s", "maxBackoff": "30s", "maxDoublings": 5}


def _closed(seconds: float, code: str = "CLOSED") -> Broken:
    lasted = timedelta(seconds=seconds)
    return Broken(Break.DISCONNECTED, Trouble(code, "the response broke off", looks_like(lasted)), NOW + lasted, NOW)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (240.4, "closed after 240 s without an answer: looks like Azure's idle limit on the way"),
        (120.3, "closed after 120 s without an answer: looks like a limit of 120 s, on the way or the target's own"),
        (37.0, "closed after 37 s without an answer: no limit is known at that length, so the target or its host may have failed"),
        (0.2, "closed after 0.2 s without an answer: no limit is known at that length, so the target or its host may have failed"),
    ],
)
def test_what_cut_it(seconds: float, says: str) -> None:
    """A known limit has its name, a round length is called a limit, and of any other nothing is guessed."""
    found = call_finding(_closed(seconds), HOLD)
    assert (found.level, found.says) == (Level.BAD, says)


def test_a_body_that_broke_off() -> None:
    """Where bytes came it is not said that none did."""
    assert call_finding(_closed(240, "CUT"), HOLD).says == "the response broke off: looks like Azure's idle limit on the way"


@pytest.mark.parametrize(("status", "level"), [(200, Level.OK), (404, Level.WARN), (504, Level.BAD)])
def test_an_answer(status: int, level: Level) -> None:
    """A gateway that gave up is bad, any other answer shows that the way is open."""
    lasted = timedelta(seconds=300)
    found = call_finding(Responded(Response(status, {}, 0, ""), NOW + lasted, NOW), HOLD)
    assert found.level is level
    assert ("the default limit of a Cloud Run service" in found.says) == (status == 504)


def test_never_connected() -> None:
    """A call that timed out before anything was sent did not stand."""
    found = call_finding(Broken(Break.UNREACHABLE, Trouble("CONNECT_TIMEOUT", "no connection", "the host may be down"), NOW), HOLD)
    assert (found.level, found.says, found.todo) == (Level.BAD, "unreachable: no connection", "the host may be down")


@pytest.mark.parametrize(("seconds", "level"), [(5, Level.OK), (-5, Level.OK), (6, Level.WARN), (-6, Level.WARN)])
def test_the_clock(seconds: int, level: Level) -> None:
    """Five seconds either way are fine."""
    assert clock_finding(NOW + timedelta(seconds=seconds), NOW).level is level


def test_a_reset() -> None:
    """A reset is called one."""
    assert (
        call_finding(_closed(350, "RESET"), HOLD).says == "reset after 350 s without an answer: looks like an idle limit of AWS on the way"
    )


@pytest.mark.parametrize(
    ("shares", "level", "first"),
    [
        (
            [Share("queue", 86415, ""), Share("host", None, ""), Share("policy", 86400, "")],
            Level.OK,
            "86400 s at most, by the limit of the policy",
        ),
        ([Share("host", 300, "why"), Share("policy", 86400, "")], Level.WARN, "300 s at most, by the limit of the host: why"),
        ([Share("queue", 1800, "", cuts=False), Share("policy", 86400, "")], Level.OK, "86400 s at most, by the limit of the policy"),
        ([Share("policy", 86400, ""), Share("target", 60, "why")], Level.WARN, "60 s at most, by the limit of the target: why"),
    ],
)
def test_the_budget(shares: list[Share], level: Level, first: str) -> None:
    """The shortest limit that ends a call is named; one that is shorter than the policy's is a warning."""
    found = budget_finding(shares)
    assert (found.level, found.says) == (level, f"a call lasts {first}")


@pytest.mark.parametrize(("max_calls", "level"), [(0, Level.OK), (333, Level.OK), (334, Level.WARN), (500, Level.BAD)])
def test_open_files(max_calls: int, level: Level) -> None:
    """A third of the limit is fine, and half of it can never be reached."""
    assert files_finding(1000, max_calls).level is level


@pytest.mark.parametrize(
    ("more", "levels"),
    [
        ({}, {Level.OK}),
        ({"state": "DISABLED"}, {Level.OK, Level.BAD}),
        ({"appEngineRoutingOverride": {"service": "longcall"}}, {Level.OK}),
        ({"appEngineRoutingOverride": {"service": "longcall", "version": "old"}}, {Level.OK, Level.WARN}),
        ({"httpTarget": {"uriOverride": {"host": "elsewhere.example"}}}, {Level.OK, Level.WARN}),
        ({"retryConfig": RIGHT | {"maxDoublings": 16}}, {Level.OK, Level.WARN}),
        ({"retryConfig": RIGHT | {"maxRetryDuration": "86400s"}}, {Level.OK, Level.BAD}),
        ({"retryConfig": RIGHT | {"maxRetryDuration": "0s"}}, {Level.OK}),
    ],
)
def test_a_queue(more: dict[str, object], levels: set[Level]) -> None:
    """Each drift has its level, and each that is not fine says what to do."""
    found = queue_findings("queue", FULL, {"retryConfig": RIGHT, **more}, control=False, room=0)
    assert {each.level for each in found} == levels
    assert all(each.todo for each in found if each.level is not Level.OK)
