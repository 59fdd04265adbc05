"""Where a response's body is read: here, or at a link."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from longcall.core.attempt import Outcome, Responded, Response
from longcall.engine.ports import CallRequest
from longcall.engine.requeue import Requeue
from longcall.engine.stats import Stats
from longcall.testing import FakeBodies
from longcall.web import api
from longcall.web.render import Renderer
from longcall.web.schema import Reader
from tests.engine.house import House
from tests.making import NOON

PATH = "/v1/tasks/train/response"
SANDBOX = "sandbox; default-src 'none'; frame-ancestors 'none'"
BODY = b"<script>alert(1)</script>" * 1000
TYPE = {"content-type": "text/html"}


@asynccontextmanager
async def answered(bodies: FakeBodies, headers: dict[str, str]) -> AsyncIterator[httpx2.AsyncClient]:
    """The API over a task whose response lies in a store of bodies."""
    house = House(bodies=bodies)

    async def answer(request: CallRequest) -> Outcome:
        bodies.kept[request.response_key] = BODY
        return Responded(Response(200, headers, len(BODY), "", location=request.response_key), end_time=NOON, sent_time=NOON)

    house.caller.answer = answer
    await house.submit()
    await house.deliver(await house.runner(), 1)
    stats = Stats.of(house.store, house.clock)
    parts = api.Parts(
        house.submitter, house.control, Requeue(house.control), house.clock, Reader(frozenset()), Renderer("http://api"), stats
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(api.make(parts)), base_url="http://api") as http:
        yield http


async def test_a_body_with_a_link_is_redirected_to() -> None:
    """302, which nobody may keep: whoever has the link may read the body for five minutes."""
    async with answered(FakeBodies(links_to="https://bucket.example"), TYPE) as http:
        got = await http.get(PATH)
    assert (got.status_code, got.content) == (302, b"")
    assert got.headers["location"].startswith("https://bucket.example/responses/")
    assert got.headers["location"].endswith("-1?seconds=300")
    assert (got.headers["cache-control"], got.headers["referrer-policy"]) == ("no-store", "no-referrer")


@pytest.mark.parametrize(
    ("links_to", "headers"), [(None, TYPE), ("https://bucket.example", {**TYPE, "content-encoding": "br"})], ids=("no link", "packed")
)
async def test_every_other_body_is_streamed_and_does_no_harm(links_to: str | None, headers: dict[str, str]) -> None:
    """As it came, with the headers that say what it is, and never as a page of this origin."""
    async with answered(FakeBodies(links_to=links_to), headers) as http, http.stream("GET", PATH) as got:
        body = b"".join([chunk async for chunk in got.aiter_raw()])
    assert (got.status_code, body) == (200, BODY)
    kept = {name: got.headers[name] for name in ("content-disposition", "x-content-type-options", "content-security-policy")}
    assert kept == {"content-disposition": "attachment", "x-content-type-options": "nosniff", "content-security-policy": SANDBOX}
    assert got.headers["content-type"] == "text/html"
    assert got.headers.get("content-encoding") == headers.get("content-encoding")
