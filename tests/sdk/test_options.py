from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core.errors import InvalidArgumentError
from longcall.core.retry import RetryPolicy
from longcall.core.task import CALLBACK_RETRIES, Callback, HttpRequest, NoAuth, OAuthToken, OidcToken, TaskSpec
from longcall.sdk.options import Auth, encoded, moment, moment_text, span, task_json
from longcall.web.schema import HandPutIn
from tests.making import policies

MILLISECOND, DAY = timedelta(milliseconds=1), timedelta(hours=24)
emails = st.just("caller@p.iam.gserviceaccount.com")
auths = st.none() | st.just("none") | st.builds(OidcToken, emails, st.none() | st.just("https://a")) | st.builds(OAuthToken, emails)


@given(
    body=st.binary(max_size=50),
    auth=auths,
    attempt=st.timedeltas(MILLISECOND, DAY),
    idle=st.none() | st.timedeltas(MILLISECOND, DAY),
    retry=policies(),
    labels=st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.text(max_size=9), max_size=3),
)
def test_the_server_reads_what_the_sdk_writes(
    body: bytes, auth: Auth | None, attempt: timedelta, idle: timedelta | None, retry: RetryPolicy, labels: dict[str, str]
) -> None:
    """What a caller asks for arrives at the server as the same values."""
    data = task_json(
        "https://a.run.app/x", body=body, auth=auth, attempt_timeout=attempt, idle_timeout=idle, retry=retry, labels=labels, method="PUT"
    )
    read = NoAuth() if auth == "none" else auth
    assert HandPutIn.model_validate(data).to_spec() == TaskSpec(
        HttpRequest("https://a.run.app/x", "PUT", {}, body, read), attempt_timeout=attempt, idle_timeout=idle, retry=retry, labels=labels
    )


callbacks = st.builds(
    Callback,
    st.just("https://me.example/hook"),
    on=st.lists(st.sampled_from(["succeeded", "failed", "cancelled"]), min_size=1, unique=True).map(tuple),
    secret=st.sampled_from(["default", "billing"]),
    headers=st.dictionaries(st.just("X-Team"), st.just("ml")),
    auth=st.none() | st.builds(OidcToken, emails),
    retry=st.just(CALLBACK_RETRIES) | policies(),
    attempt_timeout=st.timedeltas(MILLISECOND, DAY),
)


@given(callbacks)
def test_the_server_reads_the_callback_that_the_sdk_writes(callback: Callback) -> None:
    """Who is to be told, of what and how, arrives as the same value, whatever of it is the default."""
    data = task_json("https://a/x", callback=callback)
    assert HandPutIn.model_validate(data, context={"secrets": {"default", "billing"}}).to_spec().callback == callback


def test_of_a_callback_only_what_differs_is_written() -> None:
    """A URL alone, and one change beside it."""
    assert task_json("https://a", callback="https://me/hook")["callback"] == {"url": "https://me/hook"}
    assert task_json("https://a", callback=Callback("https://me/hook"))["callback"] == {"url": "https://me/hook"}
    changed = Callback("https://me/hook", on=("failed",), auth=OidcToken("a@b"), attempt_timeout=timedelta(seconds=5))
    assert task_json("https://a", callback=changed)["callback"] == {
        "url": "https://me/hook",
        "on": ["failed"],
        "attemptTimeout": "5s",
        "oidcToken": {"serviceAccountEmail": "a@b"},
    }


def test_only_what_was_given_is_written() -> None:
    """The server's defaults are the server's: a bare call is a URL and a method."""
    assert task_json("https://a/x") == {"httpRequest": {"url": "https://a/x", "httpMethod": "POST"}}
    assert task_json("https://a/x", json={"n": 1})["httpRequest"]["json"] == {"n": 1}


@given(st.timedeltas(timedelta(), timedelta(days=28)).map(lambda each: timedelta(seconds=int(each.total_seconds()))))
def test_a_duration_is_the_same_as_text(value: timedelta) -> None:
    """Text like "2700s" and a timedelta of 45 minutes are one thing."""
    assert span("x", f"{int(value.total_seconds())}s") == value
    assert span("x", "45m") == timedelta(minutes=45)


@pytest.mark.parametrize(
    ("option", "value", "pointer"),
    [
        ("attempt_timeout", "soon", "/attemptTimeout"),
        ("idle_timeout", "99999999999999d", "/idleTimeout"),
        ("task_timeout", 5, "/taskTimeout"),
    ],
)
def test_a_wrong_duration_is_pointed_at(option: str, value: object, pointer: str) -> None:
    """What is no duration is refused before anything is sent, with the field's pointer."""
    with pytest.raises(InvalidArgumentError) as refused:
        task_json("https://a", **{option: value})  # type: ignore[arg-type] # wrong on purpose
    assert [each.pointer for each in refused.value.errors] == [pointer]


def test_a_body_is_json_or_bytes_but_not_both() -> None:
    """Two bodies are refused."""
    with pytest.raises(InvalidArgumentError, match="not both"):
        task_json("https://a", json=1, body=b"2")


def test_what_json_can_not_hold_is_refused() -> None:
    """A set, or NaN, is no JSON."""
    for value in ({1}, float("nan")):
        with pytest.raises(InvalidArgumentError, match="written as JSON"):
            encoded(task_json("https://a", json=value))


def test_a_time_knows_its_offset() -> None:
    """A datetime without one is refused, since nobody knows what it means to the server."""
    with pytest.raises(InvalidArgumentError, match="offset"):
        moment("/scheduleTime", datetime(2026, 11, 24))  # noqa: DTZ001 — wrong on purpose
    assert moment_text("x", "2026-11-24T09:00:00+01:00") == "2026-11-24T08:00:00.000000Z"
    assert moment("x", datetime(2026, 11, 24, tzinfo=UTC)) == datetime(2026, 11, 24, tzinfo=UTC)


def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    """A misspelt option does not vanish."""
    with pytest.raises(TypeError, match="atempt_timeout"):
        task_json("https://a", atempt_timeout="1s")  # type: ignore[call-arg] # wrong on purpose
