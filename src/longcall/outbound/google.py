"""Google's tokens: of the account that the runner is, or of another one that it may impersonate."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import aiohttp

from longcall.core.audience import AccessTokenWanted, Wanted
from longcall.outbound.fetch import issuers_session
from longcall.outbound.impersonation import ENDPOINT, IamCredentials
from longcall.outbound.metadata import HOST, MetadataServer
from longcall.outbound.minted import Minted, NoTokenError
from longcall.outbound.tokens import Tokens

OWN = AccessTokenWanted(("https://www.googleapis.com/auth/cloud-platform",))
LOGIN = "application_default_credentials.json"


class Identity(Protocol):
    """Who the runner is: a Source of tokens of its own, with no help from IAM Credentials."""

    async def mint(self, wanted: Wanted) -> Minted:
        """Mint a token of its own. Raises NoTokenError."""
        ...

    async def stands_for(self) -> str | None:
        """The account to impersonate where no other is named; None: it speaks for itself. Raises NoTokenError."""
        ...

    async def is_account(self, account: str) -> bool:
        """Tell whether that service account is its own. Raises NoTokenError."""
        ...


@dataclass(eq=False)
class Google:
    """A Source. Who the runner is is looked for when the first token is wanted, and kept once found."""

    session: aiohttp.ClientSession
    now: Callable[[], datetime]
    environ: Mapping[str, str]
    impersonate: str = ""
    iam_endpoint: str = ENDPOINT
    metadata_host: str = HOST
    _identity: Identity | None = field(default=None, init=False)
    _own: Tokens | None = field(default=None, init=False)

    async def mint(self, wanted: Wanted) -> Minted:
        """Mint a token of the account that is wanted, else of LONGCALL_IMPERSONATE, else of the runner's own. Raises NoTokenError."""
        identity = self._identity = self._identity or await self._found()
        account = wanted.account or self.impersonate or await identity.stands_for()
        if account is None or await identity.is_account(account):
            return await identity.mint(wanted)
        own = self._own = self._own or Tokens(identity, self.now)
        return await IamCredentials(self.session, self.now, self.iam_endpoint).mint(wanted, account, await own.bearer(OWN))

    async def close(self) -> None:
        """Give up what is being minted."""
        if self._own is not None:
            await self._own.close()

    async def _found(self) -> Identity:
        """Look in the order that google-auth has; a metadata server that somebody named comes before a login that happens to be there."""
        named, host = self.environ.get("GOOGLE_APPLICATION_CREDENTIALS"), self.environ.get("GCE_METADATA_HOST")
        server, login = MetadataServer(self.session, self.now, host or self.metadata_host), self._login()
        if named:
            return self._file(Path(named))
        if host:
            return server
        if login.is_file():
            return self._file(login)
        if await server.there():
            return server
        raise NoTokenError(
            f"there are no Google credentials here: no GOOGLE_APPLICATION_CREDENTIALS, no {login}, no metadata server",
            'gcloud auth application-default login makes some; for a public service, "auth": "none" asks for no token',
        )

    def _login(self) -> Path:
        return Path(self.environ.get("CLOUDSDK_CONFIG") or Path(self.environ.get("HOME", "/"), ".config", "gcloud")) / LOGIN

    def _file(self, path: Path) -> Identity:
        from longcall.outbound.default_credentials import DefaultCredentials  # noqa: PLC0415 — google-auth is loaded where it is used

        return DefaultCredentials(self.session, path)


@asynccontextmanager
async def google_tokens(
    environ: Mapping[str, str], now: Callable[[], datetime], *, impersonate: str = "", iam_endpoint: str = ENDPOINT
) -> AsyncIterator[Tokens]:
    """Tokens from Google. Of `environ`: GOOGLE_APPLICATION_CREDENTIALS, GCE_METADATA_HOST, CLOUDSDK_CONFIG and HOME."""
    async with issuers_session() as session:
        source = Google(session, now, environ, impersonate, iam_endpoint)
        async with Tokens.open(source, now) as tokens:
            try:
                yield tokens
            finally:
                await source.close()
