"""Issuers of tokens on real sockets: a metadata server, IAM Credentials, and Google's token endpoints over TLS."""

import asyncio
import json
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import RSAKey

KEY = RSAKey.generate_key(2048, auto_kid=True)
OWN, OTHER = "runner@p.iam.gserviceaccount.com", "caller@p.iam.gserviceaccount.com"
FLAVOR = {"Metadata-Flavor": "Google"}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def google_like(audience: str, email: str, now: datetime, minutes: float = 60, number: int = 0) -> str:
    """An ID token such as Google's, by the tests' own key."""
    begin = int(now.timestamp())
    claims = {"iss": "https://accounts.google.com", "aud": audience, "email": email, "sub": str(number), "iat": begin}
    return jwt.encode({"alg": "RS256", "kid": KEY.kid}, claims | {"exp": begin + int(minutes * 60)}, KEY)


@asynccontextmanager
async def serving(app: web.Application, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve an app on loopback, and give its host and port."""
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await web.SockSite(runner, listening, ssl_context=tls).start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            await runner.cleanup()


@dataclass
class Issuer:
    """What both servers have: a count of what was asked, how long their tokens live, and answers that a test puts in their place."""

    now: Callable[[], datetime]
    asked: Counter[str] = field(default_factory=Counter)
    bodies: list[Any] = field(default_factory=list)
    bearers: set[str] = field(default_factory=set)
    given: list[str] = field(default_factory=list)
    minutes: list[float] = field(default_factory=lambda: [60])
    instead: Answer | None = None
    delay: float = 0
    host: str = ""

    def live(self) -> float:
        """The minutes that the next token lives; the last number counts for all later ones."""
        return self.minutes.pop(0) if len(self.minutes) > 1 else self.minutes[0]

    def identity(self, audience: str, email: str) -> str:
        """The next ID token, different from all before."""
        self.given.append(google_like(audience, email, self.now(), self.live(), len(self.given)))
        return self.given[-1]

    def access(self) -> str:
        """The next access token."""
        self.given.append(f"ya29.access-{len(self.given)}-{id(self)}")
        return self.given[-1]


class Metadata(Issuer):
    """The metadata server of a machine that runs as OWN."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as Google's does, unless told otherwise."""
        what = request.path.rpartition("/")[2]
        self.asked[what] += 1
        await asyncio.sleep(self.delay)
        if self.instead is not None:
            return await self.instead(request)
        if request.headers.get("Metadata-Flavor") != "Google":
            return web.Response(status=403)
        match what:
            case "identity":
                assert request.query["format"] == "full"
                return web.Response(text=self.identity(request.query["audience"], OWN) + "\n", headers=FLAVOR)
            case "token":
                found = {"access_token": self.access(), "expires_in": int(self.live() * 60), "token_type": "Bearer"}
                self.bodies.append(request.query["scopes"])
                return web.json_response(found, headers=FLAVOR)
            case "email":
                return web.Response(text=OWN, headers=FLAVOR)
            case _:
                return web.Response(status=200 if what == "" else 404, headers=FLAVOR)


class Iam(Issuer):
    """IAM Credentials."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as Google's does, unless told otherwise."""
        account, _, verb = request.path.removeprefix("/v1/projects/-/serviceAccounts/").partition(":")
        self.asked[verb] += 1
        self.bearers.add(request.headers["Authorization"].removeprefix("Bearer "))
        body = await request.json()
        self.bodies.append(body)
        await asyncio.sleep(self.delay)
        if self.instead is not None:
            return await self.instead(request)
        if verb == "generateIdToken":
            assert body["includeEmail"] is True
            return web.json_response({"token": self.identity(body["audience"], account)})
        end = self.now() + timedelta(minutes=self.live())
        return web.json_response({"accessToken": self.access(), "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")})


@asynccontextmanager
async def started(issuer: Metadata | Iam) -> AsyncIterator[None]:
    """Serve it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", issuer.answer)
    async with serving(app) as issuer.host:
        yield


class Loopback(AbstractResolver):
    """Every name is this machine, at one port."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:  # noqa: ARG002 — the resolver's own signature
        """Resolve to ourselves."""
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self.port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing to close."""


@asynccontextmanager
async def google_hosts(folder: Path, answer: Answer, names: list[str], **session: Any) -> AsyncIterator[aiohttp.ClientSession]:  # noqa: ANN401 — aiohttp's own
    """Hosts of Google's on this machine, with a certificate in their names, and a session that finds and believes them."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate(folder, names))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    trusting = ssl.create_default_context(cafile=folder / "tls.pem")
    async with serving(app, server) as host:
        connector = aiohttp.TCPConnector(resolver=Loopback(int(host.partition(":")[2])), ssl=trusting)
        async with aiohttp.ClientSession(connector=connector, **session) as made:
            yield made


def certificate(folder: Path, names: list[str]) -> Path:
    """A certificate that signs itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)  # noqa: DTZ005,TID251,RUF100 — TLS looks at the machine's clock
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "tls.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


def login(path: Path, **more: object) -> Path:
    """A file as gcloud auth application-default login writes it."""
    found = {"type": "authorized_user", "client_id": "c", "client_secret": "secret-of-client", "refresh_token": "1//refresh-me"}
    path.write_text(json.dumps(found | more))
    return path
