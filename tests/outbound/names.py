"""A resolver that answers what a test says."""

import socket
from dataclasses import dataclass, field

from aiohttp.abc import AbstractResolver, ResolveResult


@dataclass
class Names(AbstractResolver):
    """Each name's answers, one list of addresses after the other; the last one stays. What is not there is not found."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Answer at once."""
        self.asked.append(host)
        left = self.answers.get(host.lower().removesuffix("."))
        if left is None:
            raise OSError(f"{host} is not found")
        found = left.pop(0) if len(left) > 1 else left[0]
        return [ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0) for each in found]

    async def close(self) -> None:
        """Nothing is held."""
