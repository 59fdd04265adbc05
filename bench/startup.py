"""From exec to the first 200 of /healthz and of /readyz, beside a bare Python with its web server in the same run; and what imports cost.

    .venv/bin/python bench/startup.py [--times 7] [--json FILE]

SQLite, PostgreSQL, and Firestore where Google's emulator is there. The queue is the embedded one, in a process of its own. Imports are
timed by Python's own `-X importtime`, by package: what its modules took themselves, without those that they import from others.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from table import ROOT, Table, arguments, at_most, median_of

sys.path.insert(0, str(ROOT))  # where PostgreSQL and the emulator are, the tests know

from tests.google import free_port, part
from tests.postgres import running as postgres

ALIVE, READY = 0.6, {"SQLite": 0.9, "PostgreSQL": 0.9, "Firestore's emulator": 1.4}  # seconds
BYTECODE = "PYTHONDONTWRITEBYTECODE"  # who has it set compiles at each start, and that is not what is measured
DEAREST = 8  # packages
IMPORT = re.compile(r"^import time: +([0-9]+) \| +[0-9]+ \| +([\w.]+)$", re.MULTILINE)
RUNNER = ("-m", "longcall", "runner", "--port")
BARE = """
import sys, uvicorn
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
uvicorn.run(app, port=int(sys.argv[1]), lifespan="off", log_level="critical")
"""


@contextmanager
def process(*command: str, environ: Mapping[str, str] | None = None, log: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("LONGCALL_", BYTECODE))}  # noqa: TID251 — a child needs it
    with (log or Path(os.devnull)).open("w") as said:
        child = subprocess.Popen(command, env=known | dict(environ or {}), stdout=subprocess.PIPE, stderr=said, text=True)
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


def started(*command: str, environ: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Start it: seconds to the first 200 of each of the two."""
    port, since = free_port(), time.perf_counter()
    with process(sys.executable, *command, str(port), environ=environ):
        return answered(f"http://127.0.0.1:{port}/healthz", since), answered(f"http://127.0.0.1:{port}/readyz", since)


def imported(times: int, log: Path, environ: Mapping[str, str]) -> list[Counter[str]]:
    """Start a runner until it is ready, so many times: microseconds that the modules of each package took themselves."""
    found = []
    for _ in range(times):
        port = free_port()
        with process(sys.executable, "-X", "importtime", *RUNNER, str(port), environ=environ, log=log):
            answered(f"http://127.0.0.1:{port}/readyz", time.perf_counter())
        took = Counter[str]()
        for micros, module in IMPORT.findall(log.read_text()):
            took[package(module)] += int(micros)
        found.append(took)
    return found


def package(module: str) -> str:
    """What a module belongs to."""
    name, *rest = module.split(".")
    if name in {"google", "opentelemetry"} and rest:  # each a roof over many
        return f"{name}.{rest[0]}"
    return "Python's own" if name in sys.stdlib_module_names else name


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


def stores(stack: ExitStack, folder: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each that is here, and the settings for it."""
    yield "SQLite", {"LONGCALL_STORE": f"sqlite:///{folder}/longcall.db"}
    server = stack.enter_context(contextmanager(postgres)())
    yield "PostgreSQL", {"LONGCALL_STORE": server.url("longcall_template")}
    if (firestore := stack.enter_context(emulator())) is not None:
        yield "Firestore's emulator", {"LONGCALL_STORE": "firestore://longcall-bench", "FIRESTORE_EMULATOR_HOST": firestore}


def rows(table: Table, times: int, folder: str, known: Mapping[str, str]) -> None:
    """Each store, beside the bare server, in turn, so that whatever else the machine does meets all; then the imports, with SQLite."""
    bare, took = list[float](), dict[str, list[tuple[float, float]]]()
    with ExitStack() as stack:
        known_stores = dict(stores(stack, folder))
        for store in known_stores.values():
            started(*RUNNER, environ={**known, **store})  # what was never compiled is now
        for _ in range(times):
            bare.append(started("-c", BARE)[0])
            for name, store in known_stores.items():
                took.setdefault(name, []).append(started(*RUNNER, environ={**known, **store}))
    beside = median_of(bare, "s")
    for name, each in took.items():
        for path, seconds, bound in zip(("/healthz", "/readyz"), zip(*each, strict=True), (ALIVE, READY[name]), strict=True):
            table.row(f"runner, {name}: {path}", median_of(seconds, "s"), beside, at_most(bound, "s"))
    found = imported(times, Path(folder, "imports.log"), {**known, "LONGCALL_STORE": f"sqlite:///{folder}/longcall.db"})
    table.row("runner, SQLite: all imports", median_of([sum(each.values()) / 1000 for each in found], "ms"))
    for name, _ in sum(found, Counter[str]()).most_common(DEAREST):
        table.row(f"imports: {name}", median_of([each[name] / 1000 for each in found], "ms"))


def main(table: Table, times: int) -> None:
    """All of them, one after the other."""
    queue = (sys.executable, "-m", "longcall", "queue", "--memory", "--grpc-port", "0", "--rest-port", "0", "--json")
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder, process(*queue) as running:
        assert running.stdout is not None  # noqa: S101 — it was asked for
        known = {
            "LONGCALL_QUEUE_ENDPOINT": json.loads(running.stdout.readline())["rest"],
            "LONGCALL_QUEUE_SECRET": "bench",
            "LONGCALL_BODIES": Path(folder, "bodies").as_uri(),
        }
        rows(table, times, folder, known)
    table.note("Beside ours stands uvicorn with an empty app: what Python and its web server take by themselves. All is compiled before.")
    table.note("Imports are timed until /readyz answers with 200; the timing itself makes them slower.")
    if not any("Firestore" in row.what for row in table.rows):
        table.note("Google's emulator was not there: Firestore is not measured.")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=7)
    chosen = parser.parse_args()
    result = Table("From exec to ready", uses=("uvicorn", "uvloop", "asyncpg", "google-cloud-firestore"))
    main(result, 1 if chosen.smallest else chosen.times)
    result.show(chosen)
