from datetime import timedelta

import pytest

from longcall.core.attempt import Responded, Response
from longcall.core.hints import KNOWN, looks_like
from tests.making import NOON


@pytest.mark.parametrize("limit", [limit for limit, _ in KNOWN])
@pytest.mark.parametrize("off", [-0.9, 0.0, 0.4, 2.9])
def test_a_known_limit_is_recognised(limit: int, off: float) -> None:
    """A cut within a moment of a known limit names it."""
    assert f"about {limit} s" in (looks_like(timedelta(seconds=limit + off)) or "")


@pytest.mark.parametrize("seconds", [0, 3, 58, 70, 120, 200, 290, 320, 450, 700, 2000, 3500, 4000, 86400])
def test_what_is_near_none_is_left_alone(seconds: float) -> None:
    """A guess that fits everything would help nobody."""
    assert looks_like(timedelta(seconds=seconds)) is None


def test_a_504_says_which_limit_it_looks_like() -> None:
    """A gateway that gave up after 300 s is most likely Cloud Run's default; other statuses are the target's own word."""
    response = Response(504, {}, size=0, sha256="")
    trouble = Responded(response, NOON + timedelta(seconds=300.2), NOON).trouble
    assert trouble is not None
    assert "Cloud Run" in (trouble.hint or "")
    other = Responded(Response(500, {}, size=0, sha256=""), NOON + timedelta(seconds=300.2), NOON).trouble
    assert other is not None
    assert other.hint is None
