"""Google Cloud Storage of the tests' own, on a real socket: one bucket, as much of the XML API as bodies need, and its refusals.

https://cloud.google.com/storage/docs/xml-api/overview
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

NAME = "longcall-bodies"
EMAIL = "runner@project.iam.gserviceaccount.com"
LEAST_PART = 5 * 1024 * 1024  # of every part but the last: https://cloud.google.com/storage/quotas#requests
PIECE = 256 * 1024
XML = "application/xml"


class Refusal(Exception):  # noqa: N818 — what a server says
    """An answer that is an error, as the XML API words it."""

    def __init__(self, status: int, code: str) -> None:
        self.status = status
        super().__init__(f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>No.</Message></Error>")


@dataclass
class Kept:
    """Bytes on the disk, and what is sent with them. An upload's lie in its parts."""

    disposition: str
    path: Path = Path()
    parts: dict[int, Path] = field(default_factory=dict)


@dataclass
class Bucket:
    """A server with one bucket. What is put lies in a folder, so that a large body takes no memory here.

    `failing` are statuses for the next requests, `refusing` one for all of them; `silent` answers nothing at all, and `cut_at` breaks the
    next download off after so many bytes.
    """

    folder: Path
    url: str = ""
    seen: list[str] = field(default_factory=list)
    failing: list[int] = field(default_factory=list)
    refusing: tuple[int, str] | None = None
    silent: bool = False
    cut_at: int | None = None
    objects: dict[str, Kept] = field(default_factory=dict)
    uploads: dict[str, Kept] = field(default_factory=dict)
    part_came: asyncio.Event = field(default_factory=asyncio.Event)
    _count: int = 0
    _key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Bucket"]:
        """Listen on a free port of loopback."""
        app = web.Application()
        app.router.add_get("/computeMetadata/v1/instance/service-accounts/default/{what}", self._metadata)
        app.router.add_route("*", "/{bucket}/{name:.+}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    def credentials(self) -> str:
        """The JSON of a service account's key that leads here."""
        pem = self._key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        named = {"type": "service_account", "client_email": EMAIL, "private_key_id": "k1", "private_key": pem.decode()}
        return json.dumps(named | {"gcs_base_url": self.url})

    async def _metadata(self, request: web.Request) -> web.Response:
        """What a machine on Google Cloud learns of its service account."""
        if request.match_info["what"] == "email":
            return web.Response(text=EMAIL)
        return web.json_response({"access_token": "a.b.c", "expires_in": 3600, "token_type": "Bearer"})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name, upload = request.match_info["name"], request.query.get("uploadId", request.query.get("uploads"))
        self.seen.append(f"{request.method} {'object' if upload is None else 'upload'}")
        if self.silent:
            await asyncio.sleep(3600)
        try:
            self._let_in(request)
            return await self._served(request, name, upload)
        except Refusal as refusal:
            return web.Response(status=refusal.status, text=str(refusal), content_type=XML)

    async def _served(self, request: web.Request, name: str, upload: str | None) -> web.StreamResponse:
        match request.method, upload:
            case "POST", "":
                return self._begun(request)
            case "POST", str(begun):
                return await self._completed(request, name, begun)
            case "PUT", None:
                return await self._put(request, name)
            case "PUT", str(begun):
                return await self._part(request, begun)
            case "DELETE", None:
                return self._deleted(self.objects, name, "NoSuchKey")
            case "DELETE", str(begun):
                return self._deleted(self.uploads, begun, "NoSuchUpload")
            case "GET", None:
                return await self._sent(request, name)
            case _:
                raise Refusal(405, "MethodNotAllowed")

    def _let_in(self, request: web.Request) -> None:
        if self.refusing is not None:
            raise Refusal(*self.refusing)
        if "X-Goog-Signature" in request.query:
            self._check_signature(request)
        elif not re.fullmatch(r"Bearer [\w-]+\.[\w-]+\.[\w-]+", request.headers.get("Authorization", "")):
            raise Refusal(401, "AuthenticationRequired")
        if request.match_info["bucket"] != NAME:
            raise Refusal(404, "NoSuchBucket")
        if self.failing:
            raise Refusal(self.failing.pop(0), "InternalError")

    def _check_signature(self, request: web.Request) -> None:
        """https://cloud.google.com/storage/docs/authentication/canonical-requests."""
        query = dict(request.query)
        signature = bytes.fromhex(query.pop("X-Goog-Signature"))
        canonical = "&".join(f"{quote(name, '')}={quote(query[name], '')}" for name in sorted(query))
        asked = (
            f"{request.method}\n{request.raw_path.partition('?')[0]}\n{canonical}\nhost:storage.googleapis.com\n\nhost\nUNSIGNED-PAYLOAD"
        )
        date, scope = query["X-Goog-Date"], query["X-Goog-Credential"].partition("/")[2]
        signed = f"GOOG4-RSA-SHA256\n{date}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
        try:
            self._key.public_key().verify(signature, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise Refusal(403, "SignatureDoesNotMatch") from None
        begins = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if datetime.now(UTC) > begins + timedelta(seconds=int(query["X-Goog-Expires"])):  # noqa: TID251 — a server has a clock
            raise Refusal(400, "ExpiredToken")

    async def _put(self, request: web.Request, name: str) -> web.Response:
        path = await self._written(request)
        self.objects[name] = Kept(request.headers.get("Content-Disposition", ""), path)
        return web.Response(headers=_headers(self.objects[name]))

    def _begun(self, request: web.Request) -> web.Response:
        upload = self._new_path().name
        self.uploads[upload] = Kept(request.headers.get("Content-Disposition", ""))
        answer = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        return web.Response(text=answer, content_type=XML)

    async def _part(self, request: web.Request, upload: str) -> web.Response:
        path = await self._written(request)
        if upload not in self.uploads:
            raise Refusal(404, "NoSuchUpload")
        self.uploads[upload].parts[int(request.query["partNumber"])] = path
        self.part_came.set()
        return web.Response(headers={"ETag": f'"{path.name}"'})

    async def _completed(self, request: web.Request, name: str, upload: str) -> web.Response:
        asked = await request.text()
        if upload not in self.uploads:
            raise Refusal(404, "NoSuchUpload")
        parts = sorted(self.uploads[upload].parts.items())
        told = zip(re.findall(r"<PartNumber>(\d+)<", asked), re.findall(r"<ETag>\W*([\w-]+)\W*</ETag>", asked), strict=True)
        if not parts or [(int(number), tag) for number, tag in told] != [(number, path.name) for number, path in parts]:
            raise Refusal(400, "InvalidPart")
        if any(path.stat().st_size < LEAST_PART for _, path in parts[:-1]):
            raise Refusal(400, "EntityTooSmall")
        whole = Kept(self.uploads[upload].disposition, self._new_path())
        await asyncio.to_thread(_join, [path for _, path in parts], whole.path)
        del self.uploads[upload]
        self.objects[name] = whole
        answer = f'<CompleteMultipartUploadResult><ETag>"{whole.path.name}"</ETag></CompleteMultipartUploadResult>'
        return web.Response(text=answer, content_type=XML, headers={"x-goog-generation": "1"})

    def _deleted(self, kept: dict[str, Kept], name: str, missing: str) -> web.Response:
        if kept.pop(name, None) is None:
            raise Refusal(404, missing)
        return web.Response(status=204)

    async def _sent(self, request: web.Request, name: str) -> web.StreamResponse:
        if (found := self.objects.get(name)) is None:
            raise Refusal(404, "NoSuchKey")
        size = found.path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-\d*", request.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        answer = web.StreamResponse(status=206 if asked else 200, headers=_headers(found))
        answer.content_length = size - start
        if asked:
            answer.headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        await answer.prepare(request)
        with found.path.open("rb") as file:
            file.seek(start)
            while piece := await asyncio.to_thread(file.read, PIECE):
                await answer.write(piece)
                if self.cut_at is not None and file.tell() >= self.cut_at and request.transport is not None:
                    self.cut_at = None
                    request.transport.abort()
        return answer

    async def _written(self, request: web.Request) -> Path:
        path = self._new_path()
        with path.open("wb") as file:
            async for piece in request.content.iter_chunked(PIECE):
                file.write(piece)
        return path

    def _new_path(self) -> Path:
        self._count += 1
        return self.folder / f"kept-{self._count}"


def _headers(kept: Kept) -> dict[str, str]:
    told = {"ETag": f'"{kept.path.name}"', "Last-Modified": "Tue, 24 Nov 2026 12:00:00 GMT", "x-goog-generation": "1"}
    return told | ({"Content-Disposition": kept.disposition} if kept.disposition else {})


def _join(parts: list[Path], whole: Path) -> None:
    with whole.open("wb") as out:
        for part in parts:
            with part.open("rb") as file:
                while piece := file.read(PIECE):
                    out.write(piece)
            part.unlink()
