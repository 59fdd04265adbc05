"""Every operation of /openapi.json, with what nobody thought of: no 500, no answer outside the schema, whoever asks in whatever way."""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import requests
import schemathesis
import uvloop
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from longcall.assembly import LaptopOptions, laptop
from tests.web.entrances import MODES, Shown
from tests.web.issuer import Issuer

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
EXAMPLES = 30
WAIT = re.compile(r"[\d.]+s")


@contextmanager
def stack(options: LaptopOptions) -> Iterator[str]:
    """A whole stack in a thread of its own, since schemathesis waits for each answer; its URL."""
    urls: list[str] = []
    up, done = threading.Event(), threading.Event()

    async def run() -> None:
        async with laptop(options) as running:
            urls.append(running.api_url)
            up.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=uvloop.run, args=(run(),))
    thread.start()
    try:
        assert up.wait(20)
        yield urls[0]
    finally:
        done.set()
        thread.join()


@pytest.fixture(scope="module", params=MODES)
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Shown]]:
    """A stack for each way to ask who is calling, and what to show it."""
    mode = request.param
    with Issuer().serving() as issuer:
        data = tmp_path_factory.mktemp(mode) / "data"
        with stack(LaptopOptions(0, 0, 0, data, MODES[mode], issuer.issuers)) as url:
            yield url, Shown(mode, issuer)


@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")  # schemathesis's own
@pytest.mark.parametrize("who", ["writer", "reader", "nobody"])
@pytest.mark.parametrize("kind", list(schemathesis.GenerationMode))
def test_no_answer_is_outside_the_schema(shown: tuple[str, Shown], who: str, kind: schemathesis.GenerationMode) -> None:
    """Of the known and the unknown, for what fits the schema and for what does not."""
    url, callers = shown
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=callers.headers("writer"))
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    operations = [each for each in operations if not each.path.endswith("/events")]  # streams have no end to look at: test_events.py
    assert len(operations) >= 8
    headers, answered = callers.headers(who), Counter[str]()
    with requests.Session() as session:
        for operation in operations:

            @settings(max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None)
            @given(case=operation.as_strategy(kind))
            def ask(case: schemathesis.Case[Any]) -> None:
                tame(case)
                answer = case.call_and_validate(session=session, headers=headers, checks=CHECKS)
                answered[f"{case.method} {case.path} {answer.status_code // 100}xx"] += 1

            with suppress(Unsatisfiable):  # an operation without a field has nothing that could be wrong
                ask()
    if who == "writer" and kind.is_positive:
        assert answered["POST /v1/tasks 2xx"] > 0
    assert answered["GET /v1/tasks 2xx" if kind.is_positive and who != "nobody" else "POST /v1/tasks 4xx"] > 0


def tame(case: schemathesis.Case[Any]) -> None:
    """Nobody has the patience that the schema allows, and no stranger is called."""
    if WAIT.fullmatch(str((case.query or {}).get("wait"))):
        case.query["wait"] = "0.01s"
    for part in ("httpRequest", "callback"):
        asked = case.body.get(part) if isinstance(case.body, dict) else None
        if isinstance(asked, dict) and isinstance(asked.get("url"), str):
            asked["url"] = "http://127.0.0.1:9/"
        if isinstance(asked, dict) and isinstance(asked.get("secret"), str):
            asked["secret"] = "default"  # noqa: S105 — a name, and the only one that is configured
