import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core import errors
from longcall.core.errors import AlreadyExistsError, FieldError, InvalidArgumentError, LongcallError, MayExistError, UnauthenticatedError
from longcall.sdk.errors import NotLongcallError, ResourceExhaustedError
from longcall.sdk.messages import Answer
from longcall.sdk.problems import passes, problem, read_json, retry_after

SERVER = "http://127.0.0.1:8080"


def told(status: int, **fields: object) -> Answer:
    """A problem as the server writes it."""
    return Answer(status, {"content-type": "application/problem+json"}, json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (told(400, code="INVALID_ARGUMENT", detail="x"), errors.InvalidArgumentError),
        (told(413, code="INVALID_ARGUMENT", detail="x"), errors.TooLargeError),
        (told(415, code="INVALID_ARGUMENT", detail="x"), errors.UnsupportedTypeError),
        (told(401, code="UNAUTHENTICATED", detail="x"), UnauthenticatedError),
        (Answer(401, {}, b""), UnauthenticatedError),
        (told(403, code="PERMISSION_DENIED", detail="x"), errors.PermissionDeniedError),
        (told(404, code="NOT_FOUND", detail="x"), errors.NotFoundError),
        (told(409, code="ALREADY_EXISTS", detail="x"), errors.AlreadyExistsError),
        (told(409, code="FAILED_PRECONDITION", detail="x"), errors.FailedPreconditionError),
        (told(429, code="RESOURCE_EXHAUSTED", detail="x"), ResourceExhaustedError),
        (told(500, code="INTERNAL", detail="x"), errors.OurFault),
        (told(503, code="UNAVAILABLE", detail="x"), errors.UnavailableError),
        (told(503, code="UNAVAILABLE", detail="x", mayExist=True), errors.MayExistError),
        (Answer(502, {"content-type": "text/html"}, b"<h1>Bad gateway</h1>"), errors.UnavailableError),
        (Answer(500, {"content-type": "text/plain"}, b"Internal Server Error"), errors.UnavailableError),
        (Answer(404, {"content-type": "text/html"}, b"<h1>Not here</h1>"), NotLongcallError),
        (Answer(302, {"location": "https://accounts.google.com/login?x=y"}, b""), NotLongcallError),
    ],
)
def test_each_problem_has_its_error(answer: Answer, kind: type[LongcallError]) -> None:
    """A problem is raised as the error that its code stands for; what has no code, by its status."""
    assert type(problem(answer, SERVER, "train")) is kind


def test_the_fields_that_are_wrong_are_kept() -> None:
    """InvalidArgumentError has the server's pointers and sentences, AlreadyExistsError the fields that differ."""
    wrong = problem(told(400, code="INVALID_ARGUMENT", errors=[{"pointer": "/retry/maxAttempts", "detail": "at least 1"}]), SERVER)
    assert isinstance(wrong, InvalidArgumentError)
    assert wrong.errors == (FieldError("/retry/maxAttempts", "at least 1"),)
    exists = problem(told(409, code="ALREADY_EXISTS", errors=[{"pointer": "/httpRequest/url", "detail": "differs"}]), SERVER, "train")
    assert isinstance(exists, AlreadyExistsError)
    assert (exists.differing, str(exists)) == (("/httpRequest/url",), "task train exists and differs in /httpRequest/url")
    assert "train" in str(problem(told(503, code="UNAVAILABLE", mayExist=True), SERVER, "train"))
    assert isinstance(problem(told(500, code="INTERNAL", mayExist=True), SERVER, "train"), MayExistError)


@given(st.integers(200, 599), st.binary(max_size=60), st.sampled_from(["application/json", "text/html", ""]))
def test_whatever_answers_is_json_or_an_error_of_ours(status: int, body: bytes, kind: str) -> None:
    """No answer, however strange, gets another exception out of the SDK."""
    try:
        data = read_json(Answer(status, {"content-type": kind}, body), SERVER, "train")
    except LongcallError:
        return
    assert isinstance(data, dict)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=8,
    )
)
def test_a_problem_of_any_shape_is_an_error_of_ours(errors_field: object) -> None:
    """`errors` that are no list of objects do no harm."""
    assert isinstance(problem(told(400, code="INVALID_ARGUMENT", detail="x", errors=errors_field), SERVER), InvalidArgumentError)


def test_what_may_pass_is_told_from_what_stays() -> None:
    """A server that stops answers 500 without a word of ours: that passes. A 500 of ours is a fault, and a 404 an answer."""
    passing = (told(429, code="RESOURCE_EXHAUSTED"), told(503, code="UNAVAILABLE"), Answer(500, {}, b""), Answer(502, {}, b""))
    staying = (told(500, code="INTERNAL"), told(404, code="NOT_FOUND"), told(400, code="INVALID_ARGUMENT"), Answer(302, {}, b""))
    assert [passes(answer) for answer in passing + staying] == [True] * 4 + [False] * 4


def test_retry_after_is_read_in_seconds() -> None:
    """The form with a date, and nonsense, count as nothing."""
    assert [retry_after(Answer(503, {"retry-after": text}, b"")) for text in ("7", "soon", "", "-1")] == [7, 0, 0, 0]
