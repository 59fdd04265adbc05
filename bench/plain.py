"""A relay as people write it first, for the baselines: one request comes in, one goes out, and the answer goes back. A bench starts it.

POST /threads   by `requests`, in the threads that FastAPI gives to a plain `def`: 40, or as many as --threads says
POST /client    by httpx2.AsyncClient as it comes: 100 connections, 5 s for everything
POST /limitless by httpx2.AsyncClient with both limits lifted
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import requests
import uvicorn
import uvloop
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from processes import open_files


def app(url: str, threads: int) -> FastAPI:
    """The service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if threads:
            current_default_thread_limiter().total_tokens = threads
        async with clients["client"], clients["limitless"]:
            yield

    lifted = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    clients = {"client": httpx2.AsyncClient(), "limitless": httpx2.AsyncClient(limits=lifted, timeout=None)}
    service = FastAPI(lifespan=lifespan)

    @service.post("/threads")
    def by_threads() -> int:
        return requests.post(url).status_code  # noqa: S113 — as people write it; it waits without end

    @service.post("/client")
    async def by_client() -> int:
        return (await clients["client"].post(url)).status_code

    @service.post("/limitless")
    async def by_limitless() -> int:
        return (await clients["limitless"].post(url)).status_code

    return service


async def main(options: argparse.Namespace) -> None:
    """Serve until the process is ended."""
    open_files()
    config = uvicorn.Config(app(options.url, options.threads), port=0, backlog=4096, log_level="critical")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 — uvicorn has no event for it
        await asyncio.sleep(0.01)
    print(json.dumps({"url": f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"}), flush=True)
    await serving


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--threads", type=int, default=0)
    uvloop.run(main(parser.parse_args()))  # what uvicorn takes by itself where it is installed
