"""Which token a target is to get, if any. A token never goes where it does not belong."""

import ipaddress
import re
from dataclasses import dataclass, field
from functools import lru_cache

from longcall.core.target import host
from longcall.core.task import HttpRequest, NoAuth, OAuthToken, OidcToken

# The whole URL is matched, so no parser can see another host in it than the one that is called. Plain http, other ports, users and
# dots at the end do not match. ASCII: without it a long s would match its small sister.
_NAME = r"https://((?:[a-z0-9-]+\.)+{domain})(?::443)?"
_CLOUD_RUN = re.compile(_NAME.format(domain=r"run\.app") + r"(?:[/?#].*)?", re.ASCII | re.IGNORECASE)
_CLOUD_FUNCTION = re.compile(_NAME.format(domain=r"cloudfunctions\.net") + r"/([a-z0-9_-]+)(?:[/?#].*)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class IdTokenWanted:
    """An ID token for this audience. `account` None: of whoever the runner is. `implied`: nobody asked, the target is known to want one."""

    audience: str
    account: str | None = None
    implied: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class AccessTokenWanted:
    """An access token with these scopes. `account` as above."""

    scopes: tuple[str, ...]
    account: str | None = None


Wanted = IdTokenWanted | AccessTokenWanted


def wanted(request: HttpRequest) -> Wanted | None:
    """Tell which token goes with a request. The caller's own Authorization header wins over everything."""
    if request.has_header("authorization"):
        return None
    match request.auth:
        case OidcToken(account, audience):
            return IdTokenWanted(audience or request.url, account or None)
        case OAuthToken(account, scope):
            return AccessTokenWanted(tuple(scope.split()) or tuple(OAuthToken(account).scope.split()), account or None)
        case NoAuth():
            return None
        case None:
            return _implied(request.url)


@lru_cache(maxsize=512)
def _implied(url: str) -> IdTokenWanted | None:
    """Cloud Run checks for the service's root, Cloud Functions for the function.

    https://cloud.google.com/run/docs/authenticating/service-to-service
    https://cloud.google.com/functions/docs/securing/authenticating
    """
    if found := _CLOUD_RUN.fullmatch(url):
        return IdTokenWanted(f"https://{found[1].lower()}", implied=True)
    if found := _CLOUD_FUNCTION.fullmatch(url):
        return IdTokenWanted(f"https://{found[1].lower()}/{found[2]}", implied=True)
    return None


def overheard(url: str) -> bool:
    """Tell whether others on the way can read what is sent there: plain http to another machine."""
    return not url.lower().startswith("https://") and not _is_loopback(host(url))


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
