"""A machine of its own on which every address there is answers on ports 80 and 443: `unshare -rn python -m tests.outbound.anywhere FOLDER`.

It calls the whole hostile table there with the real caller, and prints who was reached.
"""

import asyncio
import json
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import uvloop

from longcall.core.request import Limits
from longcall.core.task import HttpRequest
from longcall.engine.ports import CallRequest
from longcall.outbound.caller import HttpCaller
from longcall.outbound.clock import SystemClock
from longcall.stores.bodies import open_bodies
from tests.hostile import GOOD, HOSTILE, answers
from tests.outbound.names import Names
from tests.target import Line

ROUTES = ("ip link set lo up", "ip route add local 0.0.0.0/0 dev lo", "ip -6 route add local ::/0 dev lo")
LIMITS = Limits(timedelta(seconds=2), None, timedelta(seconds=2))


async def main(folder: Path) -> dict[str, object]:
    """Call everything; say which addresses were reached, and what became of each call."""
    reached: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(writer.get_extra_info("sockname")[0].removeprefix("::ffff:"))
        line = Line(reader, writer, [], asyncio.Event())
        await line.request()
        await line.answer(302, b"", "Location: http://169.254.169.254/latest/", "Connection: close")
        writer.close()

    for port in (80, 443):
        listening = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        await asyncio.start_server(serve, sock=listening)
    good = [*(f"http://{f'[{each}]' if ':' in each else each}/" for each in GOOD), "http://good.example/", "http://mapped.example/"]
    known = {name: [found] for name, found in answers().items()}
    known |= {"good.example": [[GOOD[0]]], "mapped.example": [[f"::ffff:{GOOD[0]}"]], "twice.example": [[GOOD[0]], ["10.0.0.1"]]}
    names = Names(known)
    async with HttpCaller.open(open_bodies(folder.as_uri()), SystemClock(), 1000, resolver=names) as caller:

        async def call(url: str) -> str:
            asked = HttpRequest(url, "GET", {}, b"")
            return (await caller.call(CallRequest(asked, (), "requests/one", "responses/one"), LIMITS, lambda _: None)).name

        said: dict[str, object] = {"good": {url: await call(url) for url in good}, "reached_by_good": list(reached)}
        reached.clear()
        said |= {"twice": [await call("http://twice.example/"), await call("http://twice.example/")], "reached_by_twice": list(reached)}
        said["lookups"] = names.asked.count("twice.example")
        reached.clear()
        said |= {"hostile": {url: await call(url) for url in HOSTILE}, "reached_by_hostile": list(reached)}
    return said


if __name__ == "__main__":
    for route in ROUTES:
        subprocess.run(route.split(), check=True)
    print(json.dumps(uvloop.run(main(Path(sys.argv[1])))))  # noqa: T201 — this is its answer
