import ctypes
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from longcall.outbound.connections import thin
from tests.google import missing

COUNT = 100


class Use(ctypes.Structure):
    """What glibc's mallinfo2(3) tells."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("a", "b", "c", "d", "mapped", "e", "f", "used", "free", "g")]


def in_use() -> int:
    """Bytes that malloc has handed out in this process."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        missing("glibc's mallinfo2")
    library.mallinfo2.restype = Use
    told = library.mallinfo2()
    return int(told.used + told.mapped)


class Waiting:
    """A connection over TLS 1.3 whose request was sent and whose session tickets have come, without its network."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext) -> None:
        self._in, self.out, other_in, other_out = (ssl.MemoryBIO() for _ in range(4))
        self.tls = client.wrap_bio(self._in, self.out, server_hostname="127.0.0.1")
        other = server.wrap_bio(other_in, other_out, server_side=True)
        for _ in range(3):
            for each in (self.tls, other):
                with suppress(ssl.SSLWantReadError):
                    each.do_handshake()
                other_in.write(self.out.read())
                self._in.write(other_out.read())
        self.tls.write(b"POST / HTTP/1.1\r\n\r\n")
        other_in.write(self.out.read())
        assert other.read(100) == b"POST / HTTP/1.1\r\n\r\n"
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.read(1)
        other.write(b"ok")
        self._answer = other_out.read()

    def get_extra_info(self, name: str) -> ssl.SSLObject:
        """What an asyncio transport tells of itself."""
        assert name == "ssl_object"
        return self.tls

    def answer(self) -> bytes:
        """Let the answer come."""
        self._in.write(self._answer)
        return self.tls.read(10)


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's, and that of the server it trusts."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a target")])
    now = datetime.now(UTC)  # noqa: TID251 — OpenSSL lives in real time
    made = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - timedelta(hours=1), now + timedelta(hours=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "both.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return ssl.create_default_context(cafile=file), server


def test_a_waiting_tls_connection_is_thinned(tmp_path: Path) -> None:
    """What OpenSSL keeps for writing is given back, nothing goes on the wire, and the answer is read as ever."""
    client, server = contexts(tmp_path)
    waiting = [Waiting(client, server) for _ in range(COUNT)]
    before = in_use()
    for each in waiting:
        thin(each)  # type: ignore[arg-type] # what it asks of a transport
    assert (before - in_use()) / COUNT > 15_000
    assert {each.out.pending for each in waiting} == {0}
    assert {each.answer() for each in waiting} == {b"ok"}


def test_a_closed_connection_is_left_alone(tmp_path: Path) -> None:
    """The call has ended meanwhile, and so has TLS: nobody is told."""
    closed = Waiting(*contexts(tmp_path))
    with pytest.raises(ssl.SSLError):
        closed.tls.unwrap()
    thin(closed)  # type: ignore[arg-type] # as above
