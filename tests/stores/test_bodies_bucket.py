"""Bodies in a bucket, beyond the contract: what it is asked for, and what becomes of its refusals."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from longcall.core.errors import CallerMistake, UnavailableError
from longcall.stores.bodies import open_bodies
from longcall.stores.bodies_base import ObstoreBodies
from tests.bucket import NAME, Bucket
from tests.stores.bodies_contract import KEY, MIB, BodiesContract, chunks, read

URL = f"gs://{NAME}/some/prefix"
OTHERS = ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "SERVICE_ACCOUNT", "GOOGLE_BASE_URL", "GOOGLE_APPLICATION_CREDENTIALS")


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of what this machine has of Google."""
    for name in OTHERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:1")


@pytest.fixture
async def bucket(tmp_path: Path) -> AsyncIterator[Bucket]:
    """A server with an empty bucket."""
    async with Bucket(tmp_path).serving() as serving:
        yield serving


@pytest.fixture
def bodies(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> ObstoreBodies:
    """A body store by its URL, with a service account's key."""
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", bucket.credentials())
    return open_bodies(URL)


class TestBucket(BodiesContract):
    """The contract, in a bucket."""

    @pytest.fixture
    def again(self, bodies: ObstoreBodies) -> ObstoreBodies:  # noqa: ARG002 — it was there before
        """The same bucket, opened anew."""
        return open_bodies(f"{URL}/")


async def test_a_body_lies_under_the_prefix(bodies: ObstoreBodies, bucket: Bucket) -> None:
    """Others may use the bucket too."""
    await bodies.put(KEY, chunks(b"x"))
    assert list(bucket.objects) == [f"some/prefix/{KEY}"]


async def test_without_a_prefix_the_key_is_the_name(bodies: ObstoreBodies, bucket: Bucket) -> None:
    """`gs://bucket` and `gs://bucket/` are the same."""
    for url in (f"gs://{NAME}", f"gs://{NAME}/"):
        await open_bodies(url).put(KEY, chunks(b"x"))
        assert list(bucket.objects) == [KEY]
        assert await read(open_bodies(url)) == b"x"
        await bodies.delete(KEY)


async def test_a_small_body_takes_one_request(bodies: ObstoreBodies, bucket: Bucket) -> None:
    """Most are small, and each request costs time before the task is settled."""
    await bodies.put(KEY, chunks(b"x" * 50_000, b"y" * 50_000))
    assert bucket.seen == ["PUT object"]


async def test_an_upload_that_breaks_off_is_ended(bodies: ObstoreBodies, bucket: Bucket) -> None:
    """Nothing of it is kept, seen or unseen."""
    with pytest.raises(ValueError, match="no more"):
        await bodies.put(KEY, chunks(*[b"x" * MIB] * 12, error=ValueError("no more")))
    assert (bucket.objects, bucket.uploads) == ({}, {})
    assert bucket.seen[-1] == "DELETE upload"


async def test_a_hiccup_of_the_bucket_is_nothing(bodies: ObstoreBodies, bucket: Bucket) -> None:
    """A 503 or 429 now and then, in every step of an upload and a download, is asked again."""
    sent = [bytes([number]) * MIB for number in range(12)]
    for status in (503, 429):
        bucket.failing = [status]
        put = asyncio.ensure_future(bodies.put(KEY, chunks(*sent)))
        await bucket.part_came.wait()
        bucket.failing = [status]
        await put
        bucket.failing = [status]
        assert await read(bodies) == b"".join(sent)
        bucket.failing = [status]
        await bodies.delete(KEY)
        bucket.part_came.clear()
    assert bucket.objects == {}


async def test_a_download_that_breaks_is_taken_up_where_it_was(bodies: ObstoreBodies, bucket: Bucket) -> None:
    """A reader sees every byte once."""
    sent = [bytes([number]) * MIB for number in range(12)]
    await bodies.put(KEY, chunks(*sent))
    bucket.cut_at = 7 * MIB
    assert await read(bodies) == b"".join(sent)
    assert bucket.seen.count("GET object") == 2


async def test_a_wrong_bucket_is_noticed_by_a_ping(bucket: Bucket, bodies: ObstoreBodies) -> None:
    """`readyz` asks before the first large body does."""
    bucket.refusing = (404, "NoSuchBucket")
    with pytest.raises(UnavailableError, match="no such bucket"):
        await bodies.ping()


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ((403, "AccessDenied"), f"in bucket {NAME} .* roles/storage.objectUser"),
        ((401, "AuthenticationRequired"), "credentials given are not accepted"),
        ((404, "NoSuchBucket"), f"in bucket {NAME} .* no such bucket"),
        ((400, "InvalidArgument"), "answers 400 Bad Request"),
    ],
)
async def test_what_a_bucket_refuses_is_said_in_a_sentence(
    bodies: ObstoreBodies, bucket: Bucket, refusal: tuple[int, str], said: str
) -> None:
    """Whatever is asked, the error says which bucket and what would help, and takes no time."""
    bucket.refusing = refusal
    begun = time.monotonic()
    for asked in (bodies.put(KEY, chunks(b"x")), bodies.put(KEY, chunks(b"x" * 12 * MIB)), read(bodies), bodies.delete(KEY)):
        with pytest.raises(UnavailableError, match=said) as caught:
            await asked
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 250
    assert time.monotonic() - begun < 2


async def _ends(bodies: ObstoreBodies, said: str) -> float:
    """How long all that can be asked takes to be out of reach, asked at once."""
    begun = time.monotonic()
    asked = (bodies.put(KEY, chunks(b"x")), bodies.put(KEY, chunks(b"x" * 12 * MIB)), read(bodies), bodies.delete(KEY))
    for error in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(error, UnavailableError)
        assert said in str(error)
    return time.monotonic() - begun


@pytest.mark.slow
async def test_a_bucket_that_stays_silent_is_out_of_reach_within_seconds(bodies: ObstoreBodies, bucket: Bucket) -> None:
    """Nobody waits for it for minutes."""
    bucket.silent = True
    assert 5 < await _ends(bodies, "does not answer") < 20


async def test_a_bucket_that_is_away_is_out_of_reach_within_seconds(bodies: ObstoreBodies, bucket: Bucket) -> None:
    """A connection refused, and 503 for good: both are tried for seconds."""
    bucket.refusing = (503, "InternalError")
    assert 2 < await _ends(bodies, "answers 503 Service Unavailable") < 15


@pytest.mark.slow
async def test_without_credentials_bodies_are_out_of_reach_within_seconds() -> None:
    """Neither a key nor a metadata server: that is said, and many who ask at once wait no longer than one."""
    said = "no Google credentials are given, and no metadata server gives a token"
    bodies = open_bodies(URL)
    asked = [asyncio.ensure_future(read(bodies)) for _ in range(20)]
    begun = time.monotonic()
    errors = await asyncio.gather(*asked, return_exceptions=True)
    assert time.monotonic() - begun < 20
    assert all(isinstance(error, UnavailableError) for error in errors)
    assert any(said in str(error) for error in errors)


@pytest.mark.parametrize("content", ["no JSON", json.dumps({"type": "external_account"})])
def test_credentials_that_cannot_be_read_end_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """A sentence with the bucket's name."""
    (tmp_path / "key.json").write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(CallerMistake, match=f"bucket {NAME} can't be opened with the Google credentials given") as caught:
        open_bodies(URL)
    assert "\n" not in str(caught.value)


async def fetched(url: str) -> tuple[int, bytes, str]:
    """What a stranger gets at a URL: status, body, and what a browser is to do with it."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status, await answer.read(), answer.headers.get("Content-Disposition", "")


@pytest.mark.parametrize("size", [5, 12 * MIB], ids=("small", "large"))
async def test_whoever_has_its_link_reads_a_body(bodies: ObstoreBodies, size: int) -> None:
    """Without credentials, as an attachment; one byte of the URL changed, and nothing is read."""
    await bodies.put(KEY, chunks(b"x" * size))
    link = await bodies.link(KEY, 60)
    assert link is not None
    assert await fetched(link) == (200, b"x" * size, "attachment")
    assert (await fetched(link.replace("dd-1", "dd-2")))[0] == 403
    assert (await fetched(link.replace("X-Goog-Expires=60", "X-Goog-Expires=6000")))[0] == 403


async def test_a_link_is_good_for_its_time(bodies: ObstoreBodies) -> None:
    """And for no longer."""
    await bodies.put(KEY, chunks(b"x"))
    link = await bodies.link(KEY, 1)
    assert link is not None
    await asyncio.sleep(2.1)
    assert (await fetched(link))[0] == 400


async def test_without_a_key_google_signs_and_if_it_refuses_there_is_no_link(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Google Cloud the metadata server gives the token, and IAM signs; without the right to that, bodies are read all the same."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:  # what leaves for Google comes by here, and no further
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        monkeypatch.setenv("GCE_METADATA_HOST", bucket.url.removeprefix("http://"))
        monkeypatch.setenv("GOOGLE_BASE_URL", bucket.url)
        bodies = open_bodies(URL)
        await bodies.put(KEY, chunks(b"x"))
        assert await bodies.link(KEY, 60) is None
        assert await read(bodies) == b"x"
    assert set(asked) == {b"CONNECT iamcredentials.googleapis.com:443 HTTP/1.1"}
