"""A target that holds every request in silence until it is told to answer. A bench starts it, and asks it on standard input.

hold           hold what comes from now on, and forget what was seen
answer SECONDS answer all that is held, spread over so long, and from then on at once
count          how many are held, were seen, and were held at most
seen           of each request: its Longcall-Task, and when it came
fail N         answer all that is held with 503; from then on N a second with 200, and everything over it with 503
"""

import argparse
import asyncio
import json
import ssl
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
NAME = b"\r\nlongcall-task: "
SLICES = 50


@dataclass
class State:
    """What the target does, and what it saw."""

    holding: bool = False
    capacity: float | None = None
    held: dict["Silent", None] = field(default_factory=dict)
    seen: list[tuple[str, float]] = field(default_factory=list)
    most: int = 0
    _left: float = 0.0
    _since: float = 0.0

    def answer(self, head: bytes) -> bytes | None:
        """What to say to a request; None for nothing yet."""
        now = time.time()  # noqa: TID251 — beside times of other processes, which have them from the same clock
        name = head.lower().partition(NAME)[2].partition(b"\r\n")[0]
        self.seen.append((name.decode(), now))
        if self.holding:
            return None
        return ANSWER if self._has_room(now) else BUSY

    def _has_room(self, now: float) -> bool:
        """A bucket that holds what is served in a tenth of a second."""
        if self.capacity is None:
            return True
        self._left = min(self.capacity / 10, self._left + (now - self._since) * self.capacity)
        self._since = now
        passed = self._left >= 1
        self._left -= passed
        return passed


class Silent(asyncio.Protocol):
    """One connection. Requests have no body, or one that came with the head; a second is sent after the answer to the first."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hold the request, or answer it."""
        self._got += data
        if b"\r\n\r\n" not in self._got:
            return
        said, self._got = self._state.answer(self._got), b""
        if said is not None:
            self.say(said)
            return
        self._state.held[self] = None
        self._state.most = max(self._state.most, len(self._state.held))

    def connection_lost(self, _: Exception | None) -> None:
        """Hold it no longer."""
        self._state.held.pop(self, None)

    def say(self, what: bytes) -> None:
        """Answer."""
        self._transport.write(what)  # type: ignore[attr-defined] # a socket's transport can write


async def release(state: State, seconds: float, what: bytes = ANSWER) -> dict[str, float]:
    """Answer all that is held, in slices over so many seconds."""
    waiting, start = list(state.held), time.time()  # noqa: TID251 — as above
    answered = 0
    for number in range(SLICES):
        for each in waiting[number * len(waiting) // SLICES : (number + 1) * len(waiting) // SLICES]:
            if each in state.held:
                del state.held[each]
                each.say(what)
                answered += 1
        if number < SLICES - 1:
            await asyncio.sleep(max(0.0, start + (number + 1) * seconds / SLICES - time.time()))  # noqa: TID251 — as above
    return {"answered": answered, "first": start, "last": time.time()}  # noqa: TID251 — as above


async def obey(state: State, command: str, *words: str) -> Any:  # noqa: ANN401 — JSON
    """Do what is asked."""
    match command:
        case "hold":
            state.holding, state.most, state.capacity = True, 0, None
            state.seen.clear()
        case "answer":
            state.holding = False
            return await release(state, float(words[0]))
        case "seen":
            return state.seen
        case "fail":
            state.seen.clear()
            state.holding, state.capacity = False, float(words[0])
            return await release(state, 0, BUSY)
        case _:
            pass
    return {"held": len(state.held), "seen": len(state.seen), "most": state.most}


def certificate(to: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1, made now, written to this file for those who are to trust it."""
    from cryptography import x509  # noqa: PLC0415 — only over TLS
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 — as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 — as above
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 — as above

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a bench's target")])
    now = datetime.now(UTC)  # noqa: TID251 — a certificate is of a day
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    to.write_bytes(public)
    both = to.with_suffix(".key")
    both.touch(mode=0o600)
    both.write_bytes(private + public)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context


async def main(options: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    loop, state = asyncio.get_running_loop(), State()
    context = certificate(options.tls) if options.tls else None
    server = await loop.create_server(lambda: Silent(state), "127.0.0.1", 0, ssl=context, backlog=4096)
    scheme = "https" if context else "http"
    print(json.dumps({"url": f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"}), flush=True)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := (await commands.readline()).decode():
        print(json.dumps(await obey(state, *line.split())), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tls", type=Path, metavar="FILE", help="serve over TLS, and write the certificate there")
    uvloop.run(main(parser.parse_args()))
