"""The pictures in docs/images: a real `longcall up` on free ports, a service for it to call, and Debian's Chromium that looks.

.venv/bin/python docs/screenshots.py [FOLDER]
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread

from playwright.sync_api import Browser, sync_playwright

from longcall import Longcall, RetryPolicy

IMAGES = Path(__file__).parent / "images"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
DESK, TALL, PHONE = {"width": 1280, "height": 900}, {"width": 1280, "height": 1060}, {"width": 390, "height": 844}
MOST = 200 * 1024  # bytes of a picture
OVER = Event()  # ends the calls that are held
SEEN: dict[str, int] = {}
LOCK = Lock()
ONCE = RetryPolicy(max_attempts=1)
SOON = RetryPolicy(max_attempts=4, min_backoff=timedelta(seconds=2), max_backoff=timedelta(seconds=4), multiplier=2)


class Service(BaseHTTPRequestHandler):
    """Something to call: it trains for hours, renders for seconds, has a bad day."""

    def do_POST(self) -> None:
        """Answer by path."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        with LOCK:
            times = SEEN[self.path] = SEEN.get(self.path, 0) + 1
        match self.path.strip("/").split("/"):
            case ["train", *_]:
                OVER.wait()
            case ["render", tenths]:
                time.sleep(int(tenths) / 10)
                self._answer(200, {"frames": 240, "seconds": int(tenths) / 10})
            case ["import", _] if times == 1:
                time.sleep(1.5)
                self._answer(503, {"error": "the database restarts"})
            case ["import", _] if times == 2:  # noqa: PLR2004 — the second time
                time.sleep(3)
                self.connection.close()
            case ["import", _]:
                time.sleep(4)
                self._answer(200, {"rows": 120_411, "rejected": 3})
            case ["busy"]:
                self._answer(503, {"error": "try again in ten minutes"}, ("Retry-After", "600"))
            case ["hook"]:
                self._answer(200, {})
            case _:
                self._answer(404, {"error": "there is no such report"})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, content: object, *headers: tuple[str, str]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def service() -> Iterator[str]:
    """Run it on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a connection that was closed on purpose
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    OVER.set()
    server.shutdown()


@contextmanager
def up(folder: Path) -> Iterator[str]:
    """Run `longcall up` on free ports."""
    ports = ("--port", "0", "--grpc-port", "0", "--rest-port", "0")
    command = [sys.executable, "-m", "longcall", "up", *ports, "--data", str(folder / "data"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        if process.stdout is None or not (line := process.stdout.readline()):
            raise SystemExit("longcall up did not start")
        try:
            yield json.loads(line)["api"]
        finally:
            process.terminate()


def furnish(api: str, target: str) -> None:
    """Ask for a bit of everything, and wait until each is where it is to be seen."""
    hook = f"{target}/hook"
    with Longcall(api) as client:
        for number, tenths in enumerate((4, 9, 14, 23, 31, 38, 52, 7)):
            client.submit(f"{target}/render/{tenths}", id=f"render-{4100 + number}", json={"scene": number}, labels={"team": "web"})
        importing = client.submit(
            f"{target}/import/orders",
            id="import-orders",
            json={"day": "2026-11-23"},
            retry=SOON,
            callback=hook,
            labels={"team": "data"},
        )
        for name in ("train-resnet", "train-llm"):
            client.submit(f"{target}/train/{name}", id=name, json={"epochs": 40}, attempt_timeout="12h", labels={"team": "ml"})
        stopped = client.submit(f"{target}/train/old", id="train-old-idea", labels={"team": "ml"})
        client.submit(f"{target}/reports/q5", id="report-q5", retry=ONCE, callback=hook, labels={"team": "finance"})
        client.submit("http://127.0.0.1:9/export", id="export-crm", retry=RetryPolicy(max_attempts=2, min_backoff=timedelta(seconds=1)))
        client.submit(f"{target}/busy", id="reindex", labels={"team": "web"})
        client.submit(f"{target}/backup", id="backup-weekly", schedule_time=datetime.now(UTC) + timedelta(hours=9))  # noqa: TID251 — a script
        time.sleep(1)
        client.cancel(stopped.id)
        importing.wait(timeout="60s")
        while any(task.state == "RUNNING" and task.id.startswith("render") for task in client.list()):
            time.sleep(0.2)


def take(chromium: Browser, api: str, folder: Path) -> None:
    """Look at each page, in a window of a fixed size, and keep what is seen."""
    pictures = {
        "overview": ("/", TALL, "light"),
        "tasks": ("/tasks", DESK, "light"),
        "task": ("/tasks/import-orders", DESK, "light"),
        "phone": ("/", PHONE, "light"),
        "dark": ("/", TALL, "dark"),
    }
    for name, (path, window, scheme) in pictures.items():
        page = chromium.new_page(viewport=window, color_scheme=scheme, locale="en-GB", timezone_id="Europe/Berlin")
        page.goto(f"{api}{path}")
        page.wait_for_timeout(2500)  # live by then
        kept = folder / f"{name}.png"
        page.screenshot(path=kept, animations="disabled")
        page.close()
        print(f"{kept.name}: {kept.stat().st_size / 1024:.0f} KiB")
        if kept.stat().st_size > MOST:
            raise SystemExit(f"{kept} has more than {MOST // 1024} KiB")


def main(folder: Path) -> None:
    """Set the stage, and take the pictures."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit("there is no Chromium on PATH: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="longcall-pictures-") as data, service() as target, up(Path(data)) as api:
        furnish(api, target)
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", "--no-first-run"])
            take(chromium, api, folder)
            chromium.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
