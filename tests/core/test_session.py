"""A browser's session."""

from datetime import timedelta

import pytest

from longcall.core import access
from longcall.core.access import Caller, Right, Token
from longcall.core.session import LIFE, begin, resume
from tests.making import NOON

OLD, NEW, OTHER = (
    Token(Caller(name, right), access.digest(secret))
    for name, right, secret in (("ops", Right.WRITE, "old"), ("ops", Right.WRITE, "new"), ("ci", Right.READ, "ci"))
)
TOKENS = (OTHER, OLD, NEW)
BEGUN = begin(OLD, "shared", NOON)


def test_a_session_is_its_token_s() -> None:
    """Whoever has the token's hash and the shared secret, so every runner, takes it up again."""
    assert resume(TOKENS, "shared", BEGUN.value, NOON) == BEGUN
    assert BEGUN.caller == OLD.caller
    assert "old" not in BEGUN.value
    assert OLD.digest not in BEGUN.value


def test_it_ends() -> None:
    """After LIFE, to the second."""
    assert resume(TOKENS, "shared", BEGUN.value, NOON + LIFE - timedelta(seconds=1)) is not None
    assert resume(TOKENS, "shared", BEGUN.value, NOON + LIFE) is None


def test_it_ends_with_its_token() -> None:
    """Another token of the same name does not keep it."""
    assert resume((OTHER, NEW), "shared", BEGUN.value, NOON) is None


def test_the_hashes_alone_make_no_session() -> None:
    """Where runners share a secret, it is needed too."""
    assert resume(TOKENS, "", BEGUN.value, NOON) is None


def longer_lived(value: str) -> str:
    """The same with a later end."""
    expires, _, rest = value.partition(".")
    return f"{int(expires) + 1}.{rest}"


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "x",
        longer_lived(BEGUN.value),
        BEGUN.value.replace("ops", "ci"),
        BEGUN.value + "x",
        BEGUN.value.upper(),
        "9" * 5000,
        "²." + BEGUN.value,
        f"{BEGUN.value.partition('.')[0]}.{BEGUN.csrf}.ops",
    ],
)
def test_a_forged_one_is_none(value: str) -> None:
    """Later end, other name, the CSRF token in place of the signature, nonsense."""
    assert resume(TOKENS, "shared", value, NOON) is None
