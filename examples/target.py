"""A target that knows who calls, whether it may have been called before, and how long it may take; and that tells by itself.

pip install fastapi uvicorn
uvicorn target:app
"""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import FastAPI, Header

app = FastAPI()
results: dict[str, float] = {}  # yours is a table, by Idempotency-Key


@app.post("/train")
async def train(
    idempotency_key: Annotated[str, Header()],
    longcall_task: Annotated[str, Header()],
    longcall_attempt: Annotated[int, Header()],
    longcall_deadline: Annotated[datetime, Header()],
    traceparent: Annotated[str, Header()],
    longcall_previous: Annotated[str | None, Header()] = None,
) -> dict[str, object]:
    """Do the work once, however often it is asked for."""
    if longcall_previous is not None and idempotency_key in results:
        return {"loss": results[idempotency_key], "again": True}  # an earlier attempt got here, and its answer was lost
    left = (longcall_deadline - datetime.now(UTC)).total_seconds()
    async with asyncio.timeout(left):  # nobody waits for the answer after that
        results[idempotency_key] = await work()
    # Whoever else is to know hears it from here: the task's id and its trace lead back to the call.
    print(f"task {longcall_task}, attempt {longcall_attempt}, trace {traceparent[3:35]}: done")
    return {"loss": results[idempotency_key], "again": False}


async def work() -> float:
    """What takes its time."""
    await asyncio.sleep(0.1)
    return 0.12
