from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core.text import bytes_text, duration_text, human_duration, parse_bytes, parse_duration, parse_time, time_text
from tests.making import moments


@given(st.timedeltas(timedelta(days=-10_000), timedelta(days=10_000)))
def test_a_duration_comes_back_as_it_went(value: timedelta) -> None:
    """Writing a duration and reading it gives the same duration, to the microsecond."""
    assert parse_duration(duration_text(value)) == value


@given(moments)
def test_a_time_comes_back_as_it_went(value: datetime) -> None:
    """Writing a time and reading it gives the same time, to the microsecond."""
    assert parse_time(time_text(value)) == value


@given(moments, moments)
def test_times_as_text_sort_as_times(one: datetime, other: datetime) -> None:
    """Stores compare times as text: that order is the times' own."""
    assert (time_text(one) < time_text(other)) == (one < other)


@given(st.binary())
def test_bytes_come_back_as_they_went(value: bytes) -> None:
    """Base64 is read back, also URL-safe and without padding."""
    text = bytes_text(value)
    assert parse_bytes(text) == value
    assert parse_bytes(text.rstrip("=").translate(str.maketrans("+/", "-_"))) == value


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5m", "1e3s", "٣s", "+5s", "5.s", ".5s", "5.1234567891s", "1" * 400 + "s"])
def test_a_bad_duration_is_refused(text: str) -> None:
    """What is no protobuf duration is refused, with what would be right."""
    with pytest.raises(ValueError, match=r"duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "2026-11-24", "2026-11-24T08:00:00", "2026-11-24 08:00:00Z", "2026-13-24T08:00:00Z", "now"])
def test_a_bad_time_is_refused(text: str) -> None:
    """A time without its date, hour or offset is refused."""
    with pytest.raises(ValueError, match=r"time|month"):
        parse_time(text)


def test_a_time_with_an_offset_is_read_as_utc() -> None:
    """RFC 3339 allows any offset, lower case, and more digits than we keep."""
    assert time_text(parse_time("2026-11-24t10:00:00.123456789+02:00")) == "2026-11-24T08:00:00.123456Z"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("1.5h", 5400), (" 5s ", 5)]
)
def test_what_people_type_is_a_duration(text: str, seconds: float) -> None:
    """The command line and the SDK take durations as people write them."""
    assert human_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m5", "5x", "-5s", "5s5m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused with an example of what would do."""
    with pytest.raises(ValueError, match="write it like"):
        human_duration(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_beyond_reckoning_is_refused(text: str) -> None:
    """As any other bad time."""
    with pytest.raises(ValueError, match="beyond"):
        parse_time(text)


def test_the_hour_that_clocks_are_put_back_has_two_texts() -> None:
    """Two times that Python takes for equal are an hour apart."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert [time_text(first), time_text(first.replace(fold=1))] == ["2026-10-25T00:30:00.000000Z", "2026-10-25T01:30:00.000000Z"]


def test_a_time_of_megabytes_is_none() -> None:
    """Nor is it kept."""
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_time(f"2026-10-25T02:30:00.{'0' * 1_000_000}Z")
