"""Bodies in a bucket of Google Cloud Storage."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import GCSStore

from longcall.core.errors import CallerMistake, UnavailableError
from longcall.engine import observe
from longcall.stores.bodies_base import ObstoreBodies, Source, checked, first_line

# The least that a part may have: https://cloud.google.com/storage/quotas#requests. So many are on their way at once, one more is filled.
PART_BYTES = 5 * 1024 * 1024
PARTS_AT_ONCE = 2
CONNECT_LIMIT, SILENCE_LIMIT, RETRY_LIMIT, SIGN_LIMIT = (timedelta(seconds=each) for each in (3, 10, 6, 5))
# For what obstore asks one after the other, however many wait for it: a metadata server that is away would else cost each of them its turn.
AWAY_LIMIT = 15.0  # seconds
# A whole request's limit: a body is read as slowly as its target takes it, over a day at most.
READ_LIMIT = timedelta(hours=25)
# What a browser does with a link to it: the signed URL itself can't say so.
ATTACHMENT = {"Content-Disposition": "attachment"}
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]*)")


class BucketBodies(ObstoreBodies):
    """`Bodies` under a prefix of a bucket, with the credentials of the environment (Application Default Credentials).

    A body is put in one request, or in parts that become an object only all together. A bucket that is away is UnavailableError within
    seconds. Parts whose process died stay unseen until the bucket's own lifecycle rule ends their upload.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        try:
            self._signer = GCSStore(
                bucket,
                prefix=prefix or None,
                client_options={
                    "allow_http": True,  # for a base URL of the operator's own; Google's is https
                    "connect_timeout": CONNECT_LIMIT,
                    "read_timeout": SILENCE_LIMIT,
                    "timeout": READ_LIMIT,
                },
                retry_config={
                    "max_retries": 10,
                    "retry_timeout": RETRY_LIMIT,
                    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=2), "base": 2},
                },
            )
        except (BaseError, ValueError) as error:
            said = first_line(error).removeprefix("Generic GCS error: ")
            raise CallerMistake(f"bucket {bucket} can't be opened with the Google credentials given: {said}") from error
        super().__init__(self._signer, AWAY_LIMIT)

    async def link(self, key: str, seconds: int) -> str | None:
        """A signed URL. None when there is nothing to sign with: no key, and no right to sign by IAM's signBlob."""
        try:
            async with asyncio.timeout(SIGN_LIMIT.total_seconds()):
                return await obstore.sign_async(self._signer, "GET", checked(key), timedelta(seconds=seconds))
        except (BaseError, TimeoutError) as error:
            observe.out_of_reach("signing of links", UnavailableError(first_line(error) or "no answer"))
            return None

    async def _put(self, key: str, source: Source) -> None:
        start = bytearray()
        async for chunk in source:
            if len(start) + len(chunk) > PART_BYTES:
                parts = _chained([bytes(start), chunk], source)
                start.clear()
                await obstore.put_async(
                    self._store, key, parts, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE, attributes=ATTACHMENT
                )
                return
            start += chunk
        await obstore.put_async(self._store, key, bytes(start), use_multipart=False, attributes=ATTACHMENT)

    def _is_missing(self, error: Exception) -> bool:
        return super()._is_missing(error) and _code(error) != "NoSuchBucket"

    def _unavailable(self, key: str, error: Exception) -> UnavailableError:
        return UnavailableError(f"body {key} in bucket {self._bucket} can't be reached: {_why(error)}")


async def _chained(start: list[bytes], rest: Source) -> AsyncIterator[bytes]:
    while start:
        yield start.pop(0)
    async for chunk in rest:
        yield chunk


def _why(error: Exception) -> str:
    text = str(error)
    if isinstance(error, PermissionDeniedError):
        return "its service account may not: give it roles/storage.objectUser on the bucket"
    if isinstance(error, UnauthenticatedError):
        return "the Google credentials given are not accepted"
    if _code(error) == "NoSuchBucket":
        return "there is no such bucket"
    if "token request" in text:
        return "no Google credentials are given, and no metadata server gives a token"
    status = _STATUS.search(text)
    return f"Google Cloud Storage answers {status[1].strip()}" if status else "Google Cloud Storage does not answer"


def _code(error: Exception) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""
