"""Who may come in: rights, callers, and the tokens that stand for them. Decisions only; web/auth.py asks for them."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_EMAIL = re.compile(r"[^@\s:,]+@[^@\s:,]+")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Right(StrEnum):
    """What a caller may do: look, or change things too."""

    READ = "read"
    WRITE = "write"

    def covers(self, needed: "Right") -> bool:
        """Tell whether this right is enough: write includes read."""
        return self is Right.WRITE or needed is Right.READ


def right_for(method: str) -> Right:
    """The right that a request needs, by its HTTP method."""
    return Right.READ if method in _READING else Right.WRITE


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who is known: a token's name, or an email address."""

    name: str
    right: Right


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is let in. Only its SHA-256, in hex, is kept; two with the same name are one caller, while one replaces the other."""

    caller: Caller
    digest: str = field(repr=False)


def is_name(text: str) -> bool:
    """Tell whether a token can be named so: 1 to 64 letters, digits, dots, hyphens, underscores or @."""
    return _NAME.fullmatch(text) is not None


def digest(token: str) -> str:
    """What is kept of a token: its SHA-256, in hex."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def holder(tokens: Iterable[Token], presented: str) -> Token | None:
    """The entry of a token that somebody shows. It takes as long whichever of them it is, or none."""
    found, shown = None, digest(presented)
    for token in tokens:
        if same(token.digest, shown):
            found = token
    return found


def same(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def tokens_from_text(text: str) -> tuple[Token, ...]:
    """Read `name:read|write:<sha256 in hex>` with commas between. Raises ValueError, which repeats nothing of it."""
    return tuple(_token(each.strip()) for each in text.split(",") if each.strip())


def token_text(token: Token) -> str:
    """Write one entry as `tokens_from_text` reads it."""
    return f"{token.caller.name}:{token.caller.right}:{token.digest}"


def callers_from_text(text: str) -> Mapping[str, Right]:
    """Read `email[:read|write]` with commas between; without a right it is write. Raises ValueError."""
    found: dict[str, Right] = {}
    for each in (part.strip() for part in text.split(",") if part.strip()):
        email, _, right = each.partition(":")
        if not _EMAIL.fullmatch(email) or right not in {"", *Right} or email.lower() in found:
            raise ValueError("email or email:read or email:write was expected, each email once, with commas between")
        found[email.lower()] = Right(right or Right.WRITE)
    return found


def allowed(callers: Mapping[str, Right], email: str) -> Caller | None:
    """Whom an email address stands for among those who may call; None for nobody. Case does not count."""
    right = callers.get(email.lower())
    return None if right is None else Caller(email.lower(), right)


def _token(text: str) -> Token:
    match text.split(":"):
        case [name, right, kept] if is_name(name) and right in set(Right) and _DIGEST.fullmatch(kept):
            return Token(Caller(name, Right(right)), kept)
        case _:
            raise ValueError(
                "name:read:<sha256> or name:write:<sha256> was expected, with commas between; longcall keygen --token makes one"
            )
