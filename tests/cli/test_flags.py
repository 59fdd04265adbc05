from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.cli.flags import parse_filter, parse_headers, parse_labels, parse_retry, parse_state, read_data
from longcall.core.errors import InvalidArgumentError
from longcall.core.retry import Jitter, RetryPolicy
from longcall.core.text import duration_text
from tests.making import policies


def written(policy: RetryPolicy) -> str:
    """A policy as people type it."""
    parts = [f"max={policy.max_attempts}", f"min={duration_text(policy.min_backoff)}", f"max-backoff={duration_text(policy.max_backoff)}"]
    parts += [f"multiplier={policy.multiplier}", f"jitter={policy.jitter}"]
    return ", ".join([*parts, f"on={'+'.join(policy.retry_on)}"] if policy.retry_on else parts)


@given(policies().filter(lambda policy: bool(policy.retry_on)))
def test_every_policy_can_be_typed(policy: RetryPolicy) -> None:
    """What --retry can say is every policy there is."""
    read = parse_retry(written(policy))
    assert (read.max_attempts, read.multiplier, read.jitter, read.retry_on) == (
        policy.max_attempts,
        policy.multiplier,
        policy.jitter,
        policy.retry_on,
    )
    assert abs(read.min_backoff - policy.min_backoff) < timedelta(milliseconds=1)
    assert abs(read.max_backoff - policy.max_backoff) < timedelta(milliseconds=1)


def test_what_is_not_said_keeps_its_default() -> None:
    """One part changes one thing."""
    assert parse_retry("max=1") == RetryPolicy(max_attempts=1)
    assert parse_retry("jitter=full,on=503+5xx") == RetryPolicy(jitter=Jitter.FULL, retry_on=("503", "5xx"))
    assert parse_retry("min=1s,max-backoff=10m") == RetryPolicy(min_backoff=timedelta(seconds=1), max_backoff=timedelta(minutes=10))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("maxx=3", "did you mean max?"),
        ("max", "write it like max=…"),
        ("", "known are max"),
        ("max=0", "from 1 to 10000"),
        ("max=three", "from 1 to 10000"),
        ("min=soon", "is no duration"),
        ("min=99999999999999d", "min: "),
        ("multiplier=nan", "from 1 to 1000"),
        ("jitter=some", "none, equal or full"),
        ("on=200", "is none of unreachable"),
        ("on=503,5xx", "there is no '5xx'"),
    ],
)
def test_a_wrong_policy_is_answered_with_what_is_right(text: str, said: str) -> None:
    """The sentence names --retry, the part, and what it may be."""
    with pytest.raises(InvalidArgumentError) as refused:
        parse_retry(text)
    assert refused.value.errors[0].pointer == "--retry"
    assert said in refused.value.errors[0].message


@given(st.text(max_size=40))
def test_any_text_is_a_policy_or_a_mistake_of_the_caller_s(text: str) -> None:
    """Nothing that can be typed gets another exception out."""
    with suppress(InvalidArgumentError):
        assert isinstance(parse_retry(text), RetryPolicy)


tokens = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,9}", fullmatch=True)
values = st.from_regex(r"[!-~]([ -~]{0,9}[!-~])?", fullmatch=True)


@given(st.dictionaries(tokens, values, max_size=5).filter(lambda headers: len({name.lower() for name in headers}) == len(headers)))
def test_headers_are_read_as_they_were_typed(headers: dict[str, str]) -> None:
    """The name ends at the first colon; a value may hold more of them."""
    assert parse_headers(f"{name}: {value}" for name, value in headers.items()) == headers
    assert parse_headers(f"{name}:{value}" for name, value in headers.items()) == headers


@given(st.lists(st.text(max_size=12), max_size=4))
def test_any_headers_are_read_or_refused(given_headers: list[str]) -> None:
    """Nothing that can be typed gets another exception out."""
    with suppress(InvalidArgumentError):
        assert len(parse_headers(given_headers)) == len(given_headers)


@pytest.mark.parametrize("texts", [["no colon"], [": no name"], ["A: 1", "a: 2"]])
def test_a_header_that_is_none_is_refused(texts: list[str]) -> None:
    """Without a colon, without a name, or twice."""
    with pytest.raises(InvalidArgumentError, match="-H"):
        parse_headers(texts)


@given(st.dictionaries(st.from_regex(r"[^=:\s]{1,9}", fullmatch=True), st.text(max_size=9), max_size=4))
def test_labels_are_read_as_they_were_typed(labels: dict[str, str]) -> None:
    """The name ends at the first equals sign; a filter may have either sign."""
    assert parse_labels(f"{name}={value}" for name, value in labels.items()) == labels
    for name, value in labels.items():
        assert parse_filter(f"{name}={value}") == parse_filter(f"{name}:{value}") == f"{name}:{value}"


def test_a_state_is_read_in_any_case() -> None:
    """People type running; a typing mistake is answered with the nearest."""
    assert parse_state("running") == parse_state("RUNNING") == "RUNNING"
    with pytest.raises(InvalidArgumentError, match="did you mean waiting"):
        parse_state("waitng")


def test_a_body_is_the_text_or_a_file(tmp_path: Path) -> None:
    """JSON is told from other text, and what only looks like it is noted."""
    file = tmp_path / "body"
    file.write_bytes(b"\x00\xff")
    assert read_data('{"a": 1}').is_json
    assert (read_data("a=1").is_json, read_data("a=1").looks_like) == (False, "")
    assert read_data('{"a": 1').looks_like
    assert read_data(f"@{file}").body == b"\x00\xff"
    with pytest.raises(InvalidArgumentError, match="No such file"):
        read_data(f"@{file}.not")
