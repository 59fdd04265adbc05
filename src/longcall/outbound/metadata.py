"""Google Cloud's metadata server: the tokens of the service account that a machine runs as.

https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import assert_never
from urllib.parse import urlencode

import aiohttp

from longcall.core.audience import AccessTokenWanted, IdTokenWanted, Wanted
from longcall.outbound.fetch import Answer, fetch
from longcall.outbound.minted import Minted, NoTokenError, access_token, id_token, read_json

HOST = "metadata.google.internal"
FLAVOR = {"Metadata-Flavor": "Google"}
ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"
PING_LIMIT = aiohttp.ClientTimeout(total=2.0)


@dataclass(eq=False)
class MetadataServer:
    """A Source. `host` may have a port."""

    session: aiohttp.ClientSession
    now: Callable[[], datetime]
    host: str = HOST
    _account: str = field(default="", init=False)

    async def there(self) -> bool:
        """Tell whether this machine has one."""
        try:
            async with self.session.get(f"http://{self.host}/", headers=FLAVOR, allow_redirects=False, timeout=PING_LIMIT) as response:
                return response.headers.get("Metadata-Flavor") == "Google"
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def stands_for(self) -> None:
        """Nobody else."""

    async def is_account(self, account: str) -> bool:
        """Tell whether this machine's service account has that address. Raises NoTokenError."""
        if not self._account:
            answer = await self._ask("/email")
            self._account = answer.body.decode(errors="replace").strip()
        return self._account == account

    async def mint(self, wanted: Wanted) -> Minted:
        """Mint a token of this machine's own service account. Raises NoTokenError."""
        asked = self.now()
        match wanted:
            case IdTokenWanted(audience):
                answer = await self._ask("/identity", audience=audience, format="full")
                return id_token(answer.body.decode(errors="replace").strip(), self._name)
            case AccessTokenWanted(scopes):
                answer = await self._ask("/token", scopes=",".join(scopes))
                found = read_json(answer.body, self._name)
                return access_token(found.get("access_token"), found.get("expires_in"), asked, self._name)
            case _:
                assert_never(wanted)

    @property
    def _name(self) -> str:
        return f"the metadata server at {self.host}"

    async def _ask(self, path: str, **query: str) -> Answer:
        url = f"http://{self.host}{ACCOUNT}{path}{'?' if query else ''}{urlencode(query)}"
        answer = await fetch(self.session, "GET", url, FLAVOR, issuer=self._name)
        if answer.headers.get("Metadata-Flavor") != "Google":
            raise NoTokenError(f"what answers at {self.host} is no metadata server: it does not say Metadata-Flavor: Google")
        if answer.status == HTTPStatus.NOT_FOUND:
            raise NoTokenError(
                f"{self._name} knows no service account (404)", "give this machine a service account, or set LONGCALL_IMPERSONATE"
            )
        if answer.status != HTTPStatus.OK:
            raise NoTokenError(f"{self._name} answered {answer.status} instead of a token")
        return answer
