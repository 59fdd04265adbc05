"""Secrets out of Google's Secret Manager, for settings that say `sm://name`.

https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from longcall.core.errors import CallerMistake, UnavailableError
from longcall.core.text import parse_bytes
from longcall.core.wire import loads

SCHEME = "sm://"
GOOGLE = "https://secretmanager.googleapis.com"
READ_LIMIT = 10.0  # seconds
_NAME = re.compile(r"(?:projects/(?P<project>[^/]+)/secrets/)?(?P<secret>[A-Za-z0-9_-]{1,255})(?:/versions/(?P<version>[a-z0-9_-]+))?")


@dataclass(frozen=True)
class SecretManager:
    """Reads secrets of `project`, or of the project that a reference names. `authorize` gives an access token."""

    authorize: Callable[[], Awaitable[str]]
    project: str
    endpoint: str = GOOGLE

    async def read(self, references: Iterable[str]) -> Mapping[str, str]:
        """The value of each `sm://…`: its latest version unless it says another. Raises CallerMistake, UnavailableError."""
        paths = {reference: self._path(reference) for reference in references}
        timeout = aiohttp.ClientTimeout(total=READ_LIMIT)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            token = await self.authorize()
            return {reference: await self._access(session, path, token) for reference, path in paths.items()}

    def _path(self, reference: str) -> str:
        named = _NAME.fullmatch(reference.removeprefix(SCHEME))
        project = named and (named["project"] or self.project)
        if named is None or not project:
            raise CallerMistake(f"{reference} names no secret: write sm://name, or sm://projects/P/secrets/name off Google Cloud")
        return f"projects/{project}/secrets/{named['secret']}/versions/{named['version'] or 'latest'}"

    async def _access(self, session: aiohttp.ClientSession, path: str, token: str) -> str:
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with session.get(f"{self.endpoint}/v1/{path}:access", headers=headers, allow_redirects=False) as response:
                if response.status != HTTPStatus.OK:
                    raise _refused(path, response.status)
                return parse_bytes(loads(await response.read())["payload"]["data"]).decode().strip()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"Secret Manager does not answer: {str(error) or type(error).__name__}") from error
        except (ValueError, KeyError, TypeError):
            raise UnavailableError(f"Secret Manager answered for {path} with what is no secret's text") from None  # nothing of it is shown


def _refused(path: str, status: int) -> CallerMistake | UnavailableError:
    """What an answer means. The body is left out: it is not ours to show."""
    if status == HTTPStatus.NOT_FOUND:
        return CallerMistake(f"there is no secret {path}, or it has no enabled version")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return CallerMistake(f"secret {path} may not be read here: this service account needs roles/secretmanager.secretAccessor on it")
    return UnavailableError(f"Secret Manager answered {status} for {path}")
