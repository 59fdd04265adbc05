"""From exec to the first 200 of /healthz and of /readyz, beside a bare Python with its web server in the same run.

    .venv/bin/python bench/startup.py [--times 7]

SQLite, and Firestore where Google's emulator is there. The queue is the embedded one, in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the emulator is, the tests know

from tests.google import free_port, part

BARE = """
import sys, uvicorn
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
uvicorn.run(app, port=int(sys.argv[1]), lifespan="off", log_level="critical")
"""


@contextmanager
def process(*command: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("LONGCALL_")}  # noqa: TID251 — a child needs it
    child = subprocess.Popen(command, env=known | environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


def answered(url: str, since: float) -> float:
    """Seconds until it answered with 200."""
    while True:
        with suppress(OSError):  # nobody there yet, or not ready
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 — on 127.0.0.1
            return time.perf_counter() - since
        time.sleep(0.005)


def started(times: int, *command: str, **environ: str) -> tuple[list[float], list[float]]:
    """Start it so many times: seconds to the first 200 of each of the two."""
    alive, ready = [], []
    for _ in range(times):
        port, since = free_port(), time.perf_counter()
        with process(sys.executable, *command, str(port), **environ):
            alive.append(answered(f"http://127.0.0.1:{port}/healthz", since))
            ready.append(answered(f"http://127.0.0.1:{port}/readyz", since))
    return alive, ready


def row(name: str, found: tuple[list[float], list[float]]) -> None:
    """One line of the table."""
    alive, ready = found
    print(f"{name:<32} healthz {median(alive):.2f} s (most {max(alive):.2f})   readyz {median(ready):.2f} s (most {max(ready):.2f})")


@contextmanager
def emulator() -> Iterator[str | None]:
    """Google's Firestore emulator, or None where it is not there."""
    jar = part("platform/cloud-firestore-emulator/cloud-firestore-emulator.jar")
    if jar is None:
        yield None
        return
    port, main = free_port(), "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
    with process("java", "-cp", str(jar), main, "--host=127.0.0.1", f"--port={port}"):
        answered(f"http://127.0.0.1:{port}/", time.perf_counter())
        yield f"127.0.0.1:{port}"


def main(times: int) -> None:
    """All of them, one after the other."""
    runner = ("-m", "longcall", "runner", "--port")
    queue = (sys.executable, "-m", "longcall", "queue", "--memory", "--grpc-port", "0", "--rest-port", "0", "--json")
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder, process(*queue) as running, emulator() as firestore:
        assert running.stdout is not None  # noqa: S101 — it was asked for
        known = {
            "LONGCALL_QUEUE_ENDPOINT": json.loads(running.stdout.readline())["rest"],
            "LONGCALL_QUEUE_SECRET": "bench",
            "LONGCALL_BODIES": Path(folder, "bodies").as_uri(),
        }
        row("uvicorn with an empty app", started(times, "-c", BARE))
        row("runner, SQLite", started(times, *runner, LONGCALL_STORE=f"sqlite:///{folder}/longcall.db", **known))
        if firestore is None:
            print("runner, Firestore: Google's emulator is not here")
        else:
            emulated = {"LONGCALL_STORE": "firestore://longcall-bench", "FIRESTORE_EMULATOR_HOST": firestore}
            row("runner, Firestore's emulator", started(times, *runner, **emulated, **known))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=7)
    main(parser.parse_args().times)
