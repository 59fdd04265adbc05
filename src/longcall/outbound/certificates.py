"""Google's public keys, for checking who calls: fetched, kept for as long as they may be, and fetched anew when one is missing."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from longcall.core.errors import UnavailableError
from longcall.core.wire import loads
from longcall.engine.ports import Clock

GOOGLE_CERTS = "https://www.googleapis.com/oauth2/v1/certs"
IAP_KEYS = "https://www.gstatic.com/iap/verify/public_key"
FETCH_LIMIT = 5.0  # seconds
SHORTEST, LONGEST = 300.0, 86_400.0  # seconds that keys are kept, whatever Cache-Control says; the longest also when no new ones can be had
PAUSE = 30.0  # seconds between two fetches, however many unknown keys are named meanwhile
_MAX_AGE = re.compile(r"\bmax-age=(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Issuers:
    """Where each issuer's keys are: JSON of PEM by key id."""

    google: str = GOOGLE_CERTS
    iap: str = IAP_KEYS


@dataclass
class Certificates:
    """The keys behind one URL."""

    url: str
    clock: Clock
    _known: Mapping[str, str] = field(default_factory=dict)
    _fetched: float = float("-inf")
    _tried: float = float("-inf")
    _good_for: float = 0.0
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def find(self, key_id: str) -> Mapping[str, str]:
        """All keys by id; fetched when they are old or `key_id` is not among them. Raises UnavailableError when there are none."""
        async with self._one:
            now = self.clock.monotonic()
            wanted = now - self._fetched > self._good_for or key_id not in self._known
            if wanted and now - self._tried > PAUSE:
                await self._fetch(now)
            if now - self._fetched > LONGEST:
                raise UnavailableError(f"the keys at {self.url} can't be had, so nobody can be told from anybody")
            return self._known

    async def _fetch(self, now: float) -> None:
        self._tried = now
        limit = aiohttp.ClientTimeout(total=FETCH_LIMIT)
        try:
            async with aiohttp.ClientSession(timeout=limit) as session, session.get(self.url, allow_redirects=False) as response:
                response.raise_for_status()
                known = loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return  # those that are known go on for a while
        if not isinstance(known, dict) or not all(isinstance(each, str) for each in known.values()):
            return
        age = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
        self._known, self._fetched = known, now
        self._good_for = min(max(float(age.group(1)) if age else 0.0, SHORTEST), LONGEST)
