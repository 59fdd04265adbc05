"""Durations, times and bytes as text, the way protobuf's JSON mapping writes them.

https://protobuf.dev/programming-guides/json/ (Duration, Timestamp, bytes).
"""

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_DURATION = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s", re.ASCII)
_UNITS = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400  # seconds
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,32})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)


@lru_cache(maxsize=256)
def duration_text(value: timedelta) -> str:
    """Protobuf JSON of a duration: seconds with an ``s``, as many digits as needed: ``"3.5s"``."""
    micros = value // timedelta(microseconds=1)
    whole, part = divmod(abs(micros), 1_000_000)
    digits = f".{part:06d}".rstrip("0") if part else ""
    return f"{'-' if micros < 0 else ''}{whole}{digits}s"


@lru_cache(maxsize=256)
def parse_duration(text: str) -> timedelta:
    """Read ``"3.5s"``. Raises ValueError when it is anything else; digits past the microsecond are dropped."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError('a duration is written as seconds with an s, like "2700s" or "3.5s"')
    sign, whole, part = match.groups()
    try:
        value = timedelta(seconds=int(whole), microseconds=int((part or "").ljust(6, "0")[:6]))
    except OverflowError as error:
        raise ValueError("this duration is longer than can be reckoned with") from error
    return -value if sign else value


def human_duration(text: str) -> timedelta:
    """Read what people type: ``45m``, ``2h``, ``1h30m``, ``90s``, ``1.5h``, ``2d``. Raises ValueError."""
    match = _UNITS.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r} is no duration: write it like 90s, 45m, 2h, 1h30m or 1d")
    days, hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def span_text(value: timedelta) -> str:
    """A length of time for people: `80ms`, `1.4s`, `12s`, `1m 05s`, `2h 03m`, `3d 04h`."""
    seconds = max(value.total_seconds(), 0)
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:  # noqa: PLR2004 — where tenths stop to matter
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR:02}h"


def time_text(value: datetime) -> str:
    """RFC 3339 in UTC with microseconds, so that texts sort as times do: ``2026-11-24T08:00:00.000000Z``."""
    return _utc_text(value.astimezone(UTC))  # in another zone two times are equal where clocks are put back


@lru_cache(maxsize=1024)
def _utc_text(value: datetime) -> str:
    return value.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@lru_cache(maxsize=1024)
def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time with its offset. Raises ValueError; digits past the microsecond are dropped."""
    if not _TIME.fullmatch(text):
        raise ValueError('a time is written as RFC 3339, like "2026-11-24T08:00:00Z"')
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("this time is beyond what can be reckoned with") from error


def bytes_text(value: bytes) -> str:
    """Standard base64, padded."""
    return base64.b64encode(value).decode("ascii")


def parse_bytes(text: str) -> bytes:
    """Read base64, standard or URL-safe, padded or not. Raises ValueError."""
    plain = text.translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("bytes are written as base64") from error
