"""What is known of a target from its URL, and whether it may be called."""

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Self
from urllib.parse import urlsplit

from longcall.core import addresses
from longcall.core.attempt import Trouble
from longcall.core.task import TaskSpec

_LIMITS = {
    ".run.app": ("Cloud Run ends a request after 300 s by default and 3600 s at most", timedelta(seconds=300)),
    ".cloudfunctions.net": (
        "Cloud Functions end a request after 60 s by default, 540 s at most in the first generation and 3600 s in the second",
        timedelta(seconds=60),
    ),
}
_PORTS = {"http": 80, "https": 443}
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = rf"(?:{_LABEL}\.)*{_LABEL}\.?"
# All of it or nothing: what fits here, no parser reads in another way.
_AUTHORITY = re.compile(rf"(?P<below>\*\.)?(?P<host>{_NAME}|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_NUMERIC = re.compile(r"(?:[0-9]+|0[xX][0-9A-Fa-f]*)")  # how a host ends that is an IPv4 address (https://url.spec.whatwg.org, 3.5)
_LONGEST_NAME, _LAST_PORT = 254, 65535  # a name with its last dot (RFC 1035, 2.3.4); TCP's own

# Names of servers that hand out a machine's credentials: Google Cloud's, and AWS's old one.
_METADATA_NAMES = ("metadata.google.internal", "metadata.goog", "metadata", "instance-data.ec2.internal", "instance-data")
_LOOPBACK_NAME = "localhost"  # RFC 6761, 6.3

FORBIDDEN_TARGET, FORBIDDEN_ADDRESS = "FORBIDDEN_TARGET", "FORBIDDEN_ADDRESS"


@lru_cache(maxsize=512)
def host(url: str) -> str:
    """The host's name in lower case, without port; empty for what is no URL."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def known_limit(url: str) -> tuple[str, timedelta] | None:
    """What is known of the limit that the target's host has, and its default; None where nothing is."""
    return next((known for suffix, known in _LIMITS.items() if host(url).endswith(suffix)), None)


def warnings(spec: TaskSpec) -> list[str]:
    """Say where the target's own limit is known to be shorter than what was asked for: the target's limit wins."""
    known = known_limit(spec.request.url)
    if known is None or spec.attempt_timeout <= known[1]:
        return []
    return [f"{known[0]}: raise the target's own limit to what attemptTimeout asks for, or it ends the call first"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads: a name in lower case without its last dot, or an address without brackets; and the port."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL that all parsers read alike. Raises ValueError with a sentence that says what would be right."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ValueError(f"this is no URL: {error}") from None
        if parts.scheme not in _PORTS:
            raise ValueError("a URL starts with http:// or https://")
        if not parts.netloc or re.search(r"[\x00-\x20\x7f\\]", url):
            raise ValueError("this is no URL: it needs a host, and no spaces")
        if "@" in parts.netloc:
            raise ValueError("a URL carries no user and password: put them into an Authorization header")
        found = _AUTHORITY.fullmatch(parts.netloc)
        if found is None or found["below"]:
            raise ValueError(
                "this is no URL: a host is a name in ASCII (with other letters as xn--…) or an address, and a port is a number"
            )
        port = int(found["port"] or _PORTS[parts.scheme])
        if not 0 < port <= _LAST_PORT:
            raise ValueError(f"this is no URL: a port is from 1 to {_LAST_PORT}")
        return cls(_plain(found["host"]), port)


@dataclass(frozen=True, slots=True)
class HostPattern:
    """One of ALLOWED_TARGETS: `api.example.com`, `*.run.app` (any labels before it, at least one), each with `:port` or for every port."""

    host: str
    below: bool = False
    port: int | None = None

    @classmethod
    def of(cls, text: str) -> Self:
        """Read a pattern. Raises ValueError with what was expected."""
        found = _AUTHORITY.fullmatch(text)
        if found is None or (found["below"] and (found["host"].startswith("[") or _ends_in_number(found["host"]))):
            raise ValueError("hosts like api.example.com, *.run.app or api.example.com:8443 were expected, with commas between")
        return cls(_plain(found["host"]), bool(found["below"]), int(found["port"]) if found["port"] else None)

    def fits(self, place: Place) -> bool:
        """Whether a place is one of these."""
        named = place.host.endswith(f".{self.host}") if self.below else place.host == self.host
        return named and self.port in {None, place.port}


@dataclass(frozen=True, slots=True)
class TargetRules:
    """Where Longcall may call. `allow_private` opens loopback, private and unique local addresses; `allowed` narrows, empty is all."""

    allow_private: bool = False
    allowed: tuple[HostPattern, ...] = ()

    def refuse_url(self, url: str) -> Trouble | None:
        """Say why this URL is not called, as far as that can be told without resolving its host."""
        return _refused(self, url)

    def refuse_address(self, address: str) -> Trouble | None:
        """Say why nothing at this address is called, whatever name led to it."""
        why = addresses.refusal(address, allow_private=self.allow_private)
        return Trouble(FORBIDDEN_ADDRESS, why) if why else None

    def why_not(self, place: Place) -> str | None:
        """Say why nothing at this place is called."""
        if _below(place.host, _METADATA_NAMES):
            return f"{place.host} is a metadata server, which is never called"
        if not self.allow_private and _below(place.host, (_LOOPBACK_NAME,)):
            return f"{place.host} is loopback (RFC 6761), which is called only with LONGCALL_ALLOW_PRIVATE_TARGETS"
        if _ends_in_number(place.host) and not _is_address(place.host):
            return f"{place.host} is no name and no address: an IPv4 address is four decimal numbers, like 192.0.2.1"
        if self.allowed and not any(pattern.fits(place) for pattern in self.allowed):
            return f"{place.host}:{place.port} is none of LONGCALL_ALLOWED_TARGETS"
        return None


STRICT = TargetRules()


@lru_cache(maxsize=512)
def _refused(rules: TargetRules, url: str) -> Trouble | None:
    try:
        place = Place.of(url)
    except ValueError as error:
        return Trouble(FORBIDDEN_TARGET, str(error))
    if why := rules.why_not(place):
        return Trouble(FORBIDDEN_TARGET, why)
    return rules.refuse_address(place.host) if _is_address(place.host) else None


def _plain(host: str) -> str:
    """A host without what makes no difference: case, the last dot of a name, and how an IPv6 address is written. Raises ValueError."""
    if host.startswith("["):
        try:
            return str(IPv6Address(host[1:-1]))
        except ValueError as error:
            raise ValueError(f"this is no URL: {error}") from None
    if len(host) > _LONGEST_NAME:
        raise ValueError(f"this is no URL: a name has at most {_LONGEST_NAME} characters")
    return (host if _ends_in_number(host) else host.removesuffix(".")).lower()


def _below(name: str, names: tuple[str, ...]) -> bool:
    return any(name == each or name.endswith(f".{each}") for each in names)


def _ends_in_number(name: str) -> bool:
    return _NUMERIC.fullmatch(name.removesuffix(".").rpartition(".")[2]) is not None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
