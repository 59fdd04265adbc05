"""An issuer of our own: keys, tokens signed with them, and a server that publishes the keys as Google does."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from google.auth import crypt, jwt

from longcall.outbound.certificates import Issuers

AUDIENCE, IAP_AUDIENCE = "https://longcall.example", "/projects/1/apps/longcall"


@dataclass
class Key:
    """A key pair and its id."""

    id: str
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @property
    def public_pem(self) -> str:
        """What is published."""
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, claims: dict[str, Any]) -> str:
        """A token."""
        pem = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        kind = crypt.EsSigner if isinstance(self.private, ec.EllipticCurvePrivateKey) else crypt.RSASigner
        signer = kind.from_string(pem, key_id=self.id)
        return jwt.encode(signer, claims).decode()  # type: ignore[no-any-return, no-untyped-call] # google-auth has types in part


def rsa_key(key_id: str) -> Key:
    """A new key for ID tokens."""
    return Key(key_id, rsa.generate_private_key(65537, 2048))


@dataclass
class Issuer:
    """Google, as far as this test is concerned. `published` is what its two pages say; `asked` counts the questions."""

    google: Key = field(default_factory=lambda: rsa_key("g1"))
    iap: Key = field(default_factory=lambda: Key("i1", ec.generate_private_key(ec.SECP256R1())))
    published: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    away: bool = False
    url: str = ""

    def __post_init__(self) -> None:
        """Publish the first keys."""
        self.published = {"/certs": {"g1": self.google.public_pem}, "/iap": {"i1": self.iap.public_pem}}

    @property
    def issuers(self) -> Issuers:
        """Where Longcall is to look."""
        return Issuers(f"{self.url}/certs", f"{self.url}/iap")

    def claims(self, email: str, /, **other: Any) -> dict[str, Any]:  # noqa: ANN401 — any claim
        """Those of a good ID token, but for what is given."""
        now = int(time.time())  # noqa: TID251 — google-auth reads the machine's clock
        good = {"iss": "https://accounts.google.com", "aud": AUDIENCE, "iat": now, "exp": now + 600}
        return good | {"sub": "1", "email": email, "email_verified": True} | other

    def id_token(self, email: str, /, **other: Any) -> str:  # noqa: ANN401 — as above
        """An ID token."""
        return self.google.sign(self.claims(email, **other))

    def assertion(self, email: str, /, **other: Any) -> str:  # noqa: ANN401 — as above
        """What IAP puts into its header."""
        claims = self.claims(email, iss="https://cloud.google.com/iap", aud=IAP_AUDIENCE)
        del claims["email_verified"]
        return self.iap.sign(claims | other)

    @contextmanager
    def serving(self) -> Iterator["Issuer"]:
        """Publish the keys until the block ends."""
        issuer = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                raw = json.dumps(issuer.published[self.path]).encode()
                self.send_response(500 if issuer.away else 200)
                self.send_header("Content-Length", str(len(raw)))
                self.send_header("Cache-Control", "public, max-age=20000, must-revalidate")
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()
