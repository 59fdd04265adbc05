"""A receiver of callbacks with FastAPI.

pip install fastapi uvicorn longcall
WEBHOOK_SECRET=whsec_… uvicorn receiver_fastapi:app
"""

import os

from fastapi import FastAPI, HTTPException, Request

from longcall import webhooks

SECRET = os.environ["WEBHOOK_SECRET"]
app = FastAPI()
done: set[str] = set()  # yours is a table: a callback may come twice, and its id is then the same


@app.post("/hook")
async def hook(request: Request) -> dict[str, str]:
    """Act on the end of a task, once."""
    try:
        event = webhooks.verify(request.headers, await request.body(), SECRET)
    except webhooks.BadSignatureError as error:
        raise HTTPException(401, str(error)) from None
    if event.id not in done:
        done.add(event.id)
        print(event.type, event.task.id, event.task.state)
    return {"seen": event.id}
