"""Text as PostgreSQL can hold it: any text but NUL, so that one and its neighbour are written as two characters each."""

import hashlib

# In this way texts still sort by code point, and no two become one.
_ESCAPES = str.maketrans({"\x00": "\x01\x01", "\x01": "\x01\x02"})
# An index entry has at most 2,704 bytes. No host's name is longer (RFC 1035, 2.3.4), whatever stands in a URL in its place.
HOST_CHARACTERS = 255


def plain(text: str) -> str:
    """Write a text for a column or a comparison. Half a character becomes a question mark, as it does in the record's JSON."""
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_ESCAPES).encode(errors="replace").decode()


def original(text: str) -> str:
    """Read a text from a column."""
    return text.replace("\x01\x01", "\x00").replace("\x01\x02", "\x01") if "\x01" in text else text


def plain_or_none(text: str | None) -> str | None:
    """The same, or nothing."""
    return None if text is None else plain(text)


def plain_host(host: str | None) -> str | None:
    """A host's name for a column or a comparison."""
    return None if host is None else plain(host[:HOST_CHARACTERS])


def mark(task_id: str) -> str:
    """What a notification says of a record: 16 hex digits of its id's hash. Two ids with one mark wake each other's waiters."""
    return hashlib.blake2b(task_id.encode(errors="replace"), digest_size=8).hexdigest()
