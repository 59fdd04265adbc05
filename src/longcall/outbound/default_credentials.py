"""Application default credentials: who a runner off Google Cloud is. Never by a key file.

https://cloud.google.com/docs/authentication/application-default-credentials
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import aiohttp
from google.auth import exceptions
from google.auth.credentials import Credentials
from google.auth.transport import Request, Response

from longcall.core.audience import IdTokenWanted, Wanted
from longcall.outbound.fetch import LIMIT, fetch
from longcall.outbound.minted import Minted, NoTokenError

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_OAUTH_ERROR = re.compile(r"\b(?:invalid_(?:request|client|grant|scope|target|rapt)|unauthorized_client|access_denied)\b")
KEY_FILES = frozenset({"service_account", "gdch_service_account"})


@dataclass(frozen=True)
class DefaultCredentials:
    """A Source of access tokens. The file is read for each mint, so a new login counts at once."""

    session: aiohttp.ClientSession
    path: Path

    async def is_account(self, _: str) -> bool:
        """Never: a login is no service account, and a federated one has none of its own."""
        return False

    async def stands_for(self) -> str | None:
        """The service account that the file itself wants impersonated, if any. Raises NoTokenError."""
        url = self._read().get("service_account_impersonation_url")
        return str(url).rpartition("/")[2].partition(":")[0] if url else None

    async def mint(self, wanted: Wanted) -> Minted:
        """Mint an access token of whoever logged in. Raises NoTokenError: an ID token such a login can't have."""
        info = self._read()
        if isinstance(wanted, IdTokenWanted):
            raise NoTokenError(
                f"{_who(info)} can't mint ID tokens: set LONGCALL_IMPERSONATE to a service account that it may impersonate, "
                "or name one in oidcToken",
                'for a public service, "auth": "none" asks for no token',
            )
        credentials = self._loaded(info, wanted.scopes)
        bridge = Bridge(self.session, asyncio.get_running_loop())
        try:
            await asyncio.to_thread(credentials.refresh, bridge)
        except (exceptions.GoogleAuthError, ValueError) as error:
            raise NoTokenError(f"{_who(info)} ({self.path}) gave no token{_why(error)}", _way_out(info)) from None
        if not credentials.token or credentials.expiry is None:
            raise NoTokenError(f"{_who(info)} ({self.path}) gave no token")
        return Minted(credentials.token, credentials.expiry.replace(tzinfo=UTC))

    def _read(self) -> dict[str, Any]:
        try:
            info = json.loads(self.path.read_text())
        except OSError as error:
            raise NoTokenError(f"the application default credentials in {self.path} can't be read: {error.strerror}") from None
        except ValueError:
            info = None
        if not isinstance(info, dict):
            raise NoTokenError(f"the application default credentials in {self.path} are no JSON object")
        for each in (info, info.get("source_credentials") or {}):
            if each.get("type") in KEY_FILES:
                raise NoTokenError(
                    f"{self.path} is a service account's key file, which Longcall never uses: it works for whoever gets hold of it. "
                    "Take gcloud auth application-default login or workload identity federation instead, with LONGCALL_IMPERSONATE"
                )
        return info

    def _loaded(self, info: Mapping[str, Any], scopes: tuple[str, ...]) -> Credentials:
        try:
            return load(info, scopes)
        except (KeyError, ValueError, exceptions.GoogleAuthError):
            raise NoTokenError(f"the application default credentials in {self.path} are not as google-auth expects them") from None


def load(info: Mapping[str, Any], scopes: tuple[str, ...]) -> Credentials:
    """Make credentials of a kind that is no key. Those that impersonate are taken for their source. Raises KeyError, ValueError."""
    match info.get("type"):
        case "authorized_user":
            from google.oauth2.credentials import Credentials as User  # noqa: PLC0415 — only the kind that is used is loaded

            return User.from_authorized_user_info(info)  # type: ignore[no-untyped-call,no-any-return] # google-auth's own
        case "impersonated_service_account":
            return load(info["source_credentials"], SCOPES)
        case "external_account":
            return _external({name: value for name, value in info.items() if name != "service_account_impersonation_url"}, scopes)
        case "external_account_authorized_user":
            from google.auth.external_account_authorized_user import Credentials as Workforce  # noqa: PLC0415 — as above

            return Workforce.from_info(info)  # type: ignore[no-untyped-call,no-any-return] # google-auth's own
        case other:
            raise ValueError(f"{other!r} is no known kind of credentials")


def _external(info: dict[str, Any], scopes: tuple[str, ...]) -> Credentials:
    """Workload identity federation: AWS, a program's output, or a file or URL with a token."""
    from google.auth import aws, identity_pool, pluggable  # noqa: PLC0415 — as above

    source = info.get("credential_source") or {}
    kind: Any = identity_pool.Credentials
    if "executable" in source:
        kind = pluggable.Credentials
    elif "environment_id" in source:
        kind = aws.Credentials
    return kind.from_info(info, scopes=list(scopes))  # type: ignore[no-any-return] # google-auth's own


def _who(info: Mapping[str, Any]) -> str:
    kinds = {
        "authorized_user": "a person's own login (gcloud auth application-default login)",
        "external_account": "workload identity federation",
        "external_account_authorized_user": "workforce identity federation",
        "impersonated_service_account": "the login behind an impersonation",
    }
    return kinds.get(str(info.get("type")), "this kind of credentials")


def _why(error: Exception) -> str:
    """A word of OAuth (RFC 6749, 5.2; RFC 8693, 2.2.2) or words of our own; google-auth's may quote an answer."""
    if isinstance(error, NoAnswerError):
        return f": {error}"
    found = _OAUTH_ERROR.search(str(error))
    return f": {found[0]}" if found else ""


def _way_out(info: Mapping[str, Any]) -> str:
    if info.get("type") == "external_account":
        return "the pool, its provider and the subject token's source stand in that file"
    return "gcloud auth application-default login begins a new one"


class NoAnswerError(exceptions.TransportError):
    """The token endpoint did not answer; the words are ours."""


class _Answer(Response):
    """What google-auth reads of an answer."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self._status, self._headers, self._data = status, headers, data

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    @property
    def data(self) -> bytes:
        return self._data


class Bridge(Request):
    """Carries google-auth's requests from its thread to our loop; ends with the loop, so that no thread keeps a process alive."""

    def __init__(self, session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
        self._session, self._loop = session, loop

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> Response:
        """Make one request, from google-auth's thread. Raises NoAnswerError."""
        asked = fetch(self._session, method, url, headers or {}, body, issuer="the token endpoint")
        asking = asyncio.run_coroutine_threadsafe(asked, self._loop)
        try:
            answer = asking.result(timeout or LIMIT)
        except (NoTokenError, TimeoutError) as error:
            asking.cancel()
            raise NoAnswerError(str(error) or "the token endpoint does not answer") from None  # type: ignore[no-untyped-call] # google-auth's own
        return _Answer(answer.status, answer.headers, answer.body)
