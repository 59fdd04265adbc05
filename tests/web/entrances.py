"""Whole stacks, each with another way to ask who is calling, and what to show each of them."""

from dataclasses import dataclass

from longcall.core.access import Caller, Right, Token, digest
from longcall.settings import Settings
from tests.web.issuer import AUDIENCE, IAP_AUDIENCE, Issuer, rsa_key

READ, WRITE, NEW_WRITE = "read-token", "write-token", "new-write-token"
READER, WRITER = Caller("reader@example.com", Right.READ), Caller("writer@example.com", Right.WRITE)
TOKENS = (
    Token(READER, digest(READ)),
    Token(WRITER, digest(WRITE)),
    Token(WRITER, digest(NEW_WRITE)),
)
MODES = {
    "none": Settings(),
    "token": Settings(auth="token", tokens=TOKENS),
    "google": Settings(
        auth="google", audience=(AUDIENCE, IAP_AUDIENCE), allowed_callers={caller.name: caller.right for caller in (READER, WRITER)}
    ),
}
STRANGER = rsa_key("g1")


@dataclass(frozen=True)
class Shown:
    """What a caller shows, by who it is: nobody, wrong, stranger, reader, writer."""

    mode: str
    issuer: Issuer

    def headers(self, who: str) -> dict[str, str]:
        """The headers of one."""
        if who == "nobody":
            return {}
        token = self._token(who) if self.mode == "google" else {"reader": READ, "writer": WRITE}.get(who, "wrong")
        return {"Authorization": f"Bearer {token}"}

    def _token(self, who: str) -> str:
        if who == "wrong":
            return STRANGER.sign(self.issuer.claims(WRITER.name))
        return self.issuer.id_token({"reader": READER.name, "writer": WRITER.name}.get(who, "eve@example.com"))
