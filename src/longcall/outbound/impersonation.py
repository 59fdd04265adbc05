"""The tokens of another service account, from IAM Credentials.

https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import assert_never

import aiohttp

from longcall.core.audience import AccessTokenWanted, IdTokenWanted, Wanted
from longcall.core.text import parse_time
from longcall.outbound.fetch import Answer, as_json, fetch
from longcall.outbound.minted import Minted, NoTokenError, access_token, id_token, read_json, reason

ENDPOINT = "https://iamcredentials.googleapis.com"
LIFETIME = "3600s"
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+")  # it becomes a part of a URL


@dataclass(frozen=True)
class IamCredentials:
    """Mints tokens of any account that the bearer may impersonate."""

    session: aiohttp.ClientSession
    now: Callable[[], datetime]
    endpoint: str = ENDPOINT

    async def mint(self, wanted: Wanted, account: str, bearer: str) -> Minted:
        """Mint a token of `account`, asked for with an access token of one's own. Raises NoTokenError."""
        if not _ACCOUNT.fullmatch(account):
            raise NoTokenError(f"{account!r} is no service account's address")
        match wanted:
            case IdTokenWanted(audience):
                answer = await self._ask(account, "generateIdToken", bearer, {"audience": audience, "includeEmail": True})
                return id_token(read_json(answer.body, self._name).get("token"), self._name)
            case AccessTokenWanted(scopes):
                answer = await self._ask(account, "generateAccessToken", bearer, {"scope": list(scopes), "lifetime": LIFETIME})
                found = read_json(answer.body, self._name)
                return access_token(found.get("accessToken"), self._seconds(found.get("expireTime")), self.now(), self._name)
            case _:
                assert_never(wanted)

    @property
    def _name(self) -> str:
        return f"IAM Credentials at {self.endpoint}"

    def _seconds(self, expire_time: object) -> float | None:
        try:
            return (parse_time(str(expire_time)) - self.now()).total_seconds()
        except ValueError:
            return None

    async def _ask(self, account: str, verb: str, bearer: str, body: dict[str, object]) -> Answer:
        url = f"{self.endpoint}/v1/projects/-/serviceAccounts/{account}:{verb}"
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        answer = await fetch(self.session, "POST", url, headers, as_json(body), issuer=self._name)
        if answer.status != HTTPStatus.OK:
            raise _refused(answer, account, verb, self._name)
        return answer


def _refused(answer: Answer, account: str, verb: str, name: str) -> NoTokenError:
    said = f"answered {answer.status}{reason(answer.body)} to {verb} for {account}"
    match answer.status:
        case HTTPStatus.UNAUTHORIZED:
            return NoTokenError(f"{name} {said}: it does not accept this runner's own access token", "its login may have ended")
        case HTTPStatus.FORBIDDEN:
            return NoTokenError(
                f"{name} {said}: this runner's own account needs roles/iam.serviceAccountTokenCreator on it",
                "the API iamcredentials.googleapis.com must be enabled, too",
            )
        case HTTPStatus.NOT_FOUND:
            return NoTokenError(f"{name} {said}: there is no such service account")
        case HTTPStatus.BAD_REQUEST:
            return NoTokenError(f"{name} {said}: the account, the audience or the scope is not right")
        case _:
            return NoTokenError(f"{name} {said}")
