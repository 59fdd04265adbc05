"""Where a request says that it comes from, and for whom: the Host and Origin headers, as a browser sends them.

A page on a name that its owner points at 127.0.0.1 (DNS rebinding) sends that name as Host; a page of another site that posts here sends
its own Origin (RFC 6454).
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit


def host_of(netloc: str) -> str:
    """The host in `host:port`, in lower case and without the brackets of IPv6; empty when it is none."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Tell whether a host, by name or address, is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_known(host: str, known: Collection[str]) -> bool:
    """Tell whether a Host header names loopback, or is one of those that are known to lead here."""
    return is_loopback(host_of(host)) or host.lower() in known


def is_foreign(origin: str | None, host: str, known: Collection[str]) -> bool:
    """Tell whether an Origin header is another site's: neither the Host asked for, nor one of those that are known to lead here."""
    if origin is None:
        return False
    try:
        netloc = urlsplit(origin).netloc.lower()
    except ValueError:
        return True
    return netloc == "" or netloc not in {host.lower(), *known}
