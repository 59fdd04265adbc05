"""A service to be called by Longcall, ready for Cloud Run: it sleeps, streams, fails on demand, knows its caller, and tells by itself.

uvicorn main:app --port 8081

Settings, by environment: ALLOWED_CALLER, the service account that may call (empty: anybody, for a laptop without tokens); AUDIENCE, this
service's URL; CERTS_URL, where the keys of tokens are; TELL_URL and TELL_SECRET, who hears of finished work, signed as Standard Webhooks.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import httpx2
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request as Fetching
from google.oauth2 import id_token
from standardwebhooks import Webhook

GOOGLE_CERTS = "https://www.googleapis.com/oauth2/v1/certs"
GOOGLE = "https://accounts.google.com"
LONGEST = 86_400.0  # seconds


@dataclass(frozen=True)
class Rules:
    """Who may call, and who hears of finished work."""

    caller: str
    audience: str
    certs: str
    tell_url: str
    tell_secret: str

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Rules":
        """Read them from the environment."""
        certs = environ.get("CERTS_URL", GOOGLE_CERTS)
        tell = environ.get("TELL_URL", ""), environ.get("TELL_SECRET", "")
        return cls(environ.get("ALLOWED_CALLER", ""), environ.get("AUDIENCE", ""), certs, *tell)


rules = Rules.of(os.environ)
app = FastAPI(title="A service that takes its time")
done: dict[str, dict[str, object]] = {}  # yours is a table, by Idempotency-Key


def caller(authorization: Annotated[str, Header()] = "") -> str:
    """Who calls. Cloud Run has checked the token already where it asks for one; this looks whose it is, and works anywhere."""
    if not rules.caller:
        return "anybody"
    try:
        claims = id_token.verify_token(authorization.removeprefix("Bearer "), Fetching(), rules.audience, rules.certs)
    except (GoogleAuthError, ValueError) as error:
        raise HTTPException(401, f"no good token: {error}") from None
    if rules.certs == GOOGLE_CERTS and claims["iss"] != GOOGLE:
        raise HTTPException(401, "not Google's token")
    if not claims.get("email_verified") or claims.get("email") != rules.caller:
        raise HTTPException(403, f"{claims.get('email')} may not call this")
    return str(claims["email"])


Caller = Annotated[str, Depends(caller)]


@app.get("/")
async def hello() -> dict[str, str]:
    """For whoever looks whether it is up."""
    return {"service": "example"}


@app.post("/sleep")
async def sleep(request: Request, who: Caller, after: BackgroundTasks, seconds: float = 10.0) -> dict[str, object]:
    """Work for so long, once however often it is asked for, and say it to TELL_URL too."""
    key = request.headers.get("Idempotency-Key", "")
    if key and key in done:
        return done[key] | {"again": True}  # an earlier attempt got here, and its answer was lost
    async with asyncio.timeout(left(request.headers)):  # nobody waits for the answer after that
        await asyncio.sleep(min(seconds, LONGEST))
    result = {"slept": seconds, "caller": who, **seen(request.headers)}
    if key:
        done[key] = result
    after.add_task(tell, result)
    return result


@app.post("/stream")
async def stream(request: Request, who: Caller, seconds: float = 10.0, every: float = 1.0) -> StreamingResponse:
    """Answer at once and take so long to finish: a space now and then, which JSON allows, says that the work goes on."""
    result = {"streamed": seconds, "caller": who, **seen(request.headers)}

    async def parts() -> AsyncIterator[bytes]:
        for pause in pauses(min(seconds, LONGEST), max(every, 0.01)):
            await asyncio.sleep(pause)
            yield b" "
        yield json.dumps(result).encode()

    return StreamingResponse(parts(), media_type="application/json")


@app.post("/fail")
async def fail(request: Request, who: Caller, status: int = 503, times: int = 1, never: bool = False) -> JSONResponse:  # noqa: FBT001, FBT002 — a query has no other way
    """Fail the first so many attempts with this status, then work. `never` tells Longcall not to try again."""
    attempt = int(request.headers.get("Longcall-Attempt", "1"))
    if attempt > times:
        return JSONResponse({"failed": times, "caller": who, **seen(request.headers)})
    headers = {"Longcall-Retry": "never"} if never else {}
    return JSONResponse({"failing": attempt, "of": times}, status, headers)


def seen(headers: Mapping[str, str]) -> dict[str, object]:
    """What Longcall says of the call."""
    names = ("Longcall-Task", "Longcall-Attempt", "Longcall-Max-Attempts", "Longcall-Previous", "Longcall-Deadline")
    return {name.lower(): headers[name] for name in names if name in headers}


def left(headers: Mapping[str, str]) -> float | None:
    """Seconds until this attempt is given up; None when nobody said."""
    deadline = headers.get("Longcall-Deadline")
    return None if deadline is None else (datetime.fromisoformat(deadline) - datetime.now(UTC)).total_seconds()


def pauses(seconds: float, every: float) -> Iterator[float]:
    """So many seconds, cut into pieces."""
    while seconds > 0:
        yield min(seconds, every)
        seconds -= every


async def tell(result: dict[str, object]) -> None:
    """Say it to whoever is to hear it, signed: longcall.webhooks and every library of Standard Webhooks verify it."""
    if not rules.tell_url:
        return
    name, now = f"work-{result.get('longcall-task', 'unnamed')}", datetime.now(UTC)
    body = json.dumps({"type": "work.done", "timestamp": now.isoformat(), "data": result})
    signature = Webhook(rules.tell_secret).sign(name, now, body)
    headers = {"webhook-id": name, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    async with httpx2.AsyncClient(timeout=30) as http:
        await http.post(rules.tell_url, content=body, headers=headers | {"Content-Type": "application/json"})
