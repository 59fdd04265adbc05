"""Who may come in, as values."""

import hashlib
import hmac

import pytest

from longcall.core import access
from longcall.core.access import Caller, Right, Token, allowed, callers_from_text, holder, right_for, token_text, tokens_from_text

READER, WRITER = Caller("ci", Right.READ), Caller("ops", Right.WRITE)
TOKENS = (Token(READER, access.digest("one")), Token(WRITER, access.digest("two")), Token(WRITER, access.digest("three")))


@pytest.mark.parametrize(
    ("has", "needs", "enough"),
    [
        (Right.READ, Right.READ, True),
        (Right.READ, Right.WRITE, False),
        (Right.WRITE, Right.READ, True),
        (Right.WRITE, Right.WRITE, True),
    ],
)
def test_write_includes_read(has: Right, needs: Right, enough: bool) -> None:  # noqa: FBT001 — a table's column
    """And nothing else."""
    assert has.covers(needs) is enough


@pytest.mark.parametrize(
    ("method", "needed"),
    [("GET", "read"), ("HEAD", "read"), ("OPTIONS", "read"), ("POST", "write"), ("DELETE", "write"), ("get", "write"), ("BREW", "write")],
)
def test_what_is_not_known_to_look_alone_needs_write(method: str, needed: str) -> None:
    """Also a method that nobody has heard of."""
    assert right_for(method) == needed


@pytest.mark.parametrize(
    ("shown", "whose"),
    [
        ("one", READER),
        ("two", WRITER),
        ("three", WRITER),
        ("", None),
        ("One", None),
        (access.digest("one"), None),
        ("\udcff", None),
        ("ö", None),
    ],
)
def test_a_token_is_known_by_its_hash(shown: str, whose: Caller | None) -> None:
    """Two at once of one name, while one replaces the other; what is kept is itself no token."""
    found = holder(TOKENS, shown)
    assert (found.caller if found else None) == whose


@pytest.mark.parametrize("shown", ["one", "two", "three", "none"])
def test_every_token_is_compared_in_constant_time(shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However early one fits, all of them are compared, by the function that takes as long whatever differs."""
    compared: list[bytes] = []

    def spy(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", spy)
    holder(TOKENS, shown)
    assert compared == [token.digest.encode() for token in TOKENS]


def test_tokens_are_read_as_they_are_written() -> None:
    """Entries with commas between, blanks around them."""
    assert tokens_from_text(" , ".join(token_text(token) for token in TOKENS) + ",") == TOKENS
    assert access.digest("one") == hashlib.sha256(b"one").hexdigest()


HASH = "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        "ci",
        f"ci:{HASH}",
        f"ci:admin:{HASH}",
        f"c i:read:{HASH}",
        f":read:{HASH}",
        "ci:read:secret",
        f"ci:read:{HASH}0",
        f"ci:read:{HASH.replace('0', 'A')}",
        f"ci:read:{HASH}:x",
        f"{'n' * 65}:read:{HASH}",
    ],
)
def test_a_wrong_token_entry_is_refused(text: str) -> None:
    """And not repeated: somebody may have put the token itself there."""
    with pytest.raises(ValueError, match="was expected") as raised:
        tokens_from_text(text)
    assert "secret" not in str(raised.value)


def test_a_hash_stands_in_no_repr() -> None:
    """What is logged by mistake tells of no token."""
    assert TOKENS[0].digest not in repr(TOKENS)


def test_callers_are_emails_with_a_right() -> None:
    """Write when it is not said; case does not count."""
    callers = callers_from_text("App@P.iam.gserviceaccount.com, ann@example.com:read,bob@example.com:write")
    assert allowed(callers, "app@p.iam.gserviceaccount.com") == Caller("app@p.iam.gserviceaccount.com", Right.WRITE)
    assert allowed(callers, "ANN@example.com") == Caller("ann@example.com", Right.READ)
    assert allowed(callers, "eve@example.com") is None
    assert allowed(callers, "") is None


@pytest.mark.parametrize(
    "text", ["ann", "ann@example.com:admin", "ann@example.com,ANN@example.com:read", "a@b@c", "*", "ann@example.com:read:write"]
)
def test_a_wrong_caller_is_refused(text: str) -> None:
    """No pattern, no right that there is not, nobody twice."""
    with pytest.raises(ValueError, match="was expected"):
        callers_from_text(text)
