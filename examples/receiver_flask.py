"""A receiver of callbacks with Flask.

pip install flask longcall
WEBHOOK_SECRET=whsec_… flask --app receiver_flask run
"""

import os

from flask import Flask, abort, request

from longcall import webhooks

SECRET = os.environ["WEBHOOK_SECRET"]
app = Flask(__name__)
done: set[str] = set()  # yours is a table: a callback may come twice, and its id is then the same


@app.post("/hook")
def hook() -> dict[str, str]:
    """Act on the end of a task, once."""
    try:
        event = webhooks.verify(request.headers, request.get_data(), SECRET)
    except webhooks.BadSignatureError as error:
        abort(401, str(error))
    if event.id not in done:
        done.add(event.id)
        print(event.type, event.task.id, event.task.state)
    return {"seen": event.id}
