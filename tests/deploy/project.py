"""A Google Cloud project of the test's own: the stand-in's state, the two scripts, and the two addresses they ask directly."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
# All that the scripts use beside gcloud and python3: the real gcloud is out of their reach here.
TOOLS = ("bash", "cat", "cp", "date", "dirname", "find", "grep", "head", "ls", "mkdir", "mktemp", "rm", "sed", "sleep", "tr")
PROJECT, REGION = "abc-longcall", "us-central1"
ARGUMENTS = ("--project", PROJECT, "--region", REGION)


def empty() -> dict[str, Any]:
    """A project with a billing account and nothing in it."""
    return {
        "id": PROJECT,
        "login": "me@example.com",
        "lifecycle": "ACTIVE",
        "billing": True,
        "services": [],
        "app": None,
        "accounts": [],
        "unknown_yet": [],
        "policies": {},
        "queues": {},
        "databases": {},
        "composite": [],
        "fields": {},
        "ttls": [],
        "buckets": {},
        "secrets": {},
        "instances": 2,
        "url": "",
        "denied": [],
        "log": [],
        "changes": 0,
        "stop": None,
    }


@dataclass
class Google:
    """What the scripts ask without gcloud: which permissions there are, and whether a version is ready."""

    url: str = ""
    not_granted: set[str] = field(default_factory=set)
    ready: int = 200
    running: int = 0
    asked: list[str] = field(default_factory=list)


@contextmanager
def google() -> Iterator[Google]:
    """Run it on a free port."""
    told = Google()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.asked.append(self.path)
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["permissions"]
            known = self.headers["Authorization"] == "Bearer ya29.of-the-operator"
            self._answer(200 if known else 401, {"permissions": [each for each in wanted if each not in told.not_granted]})

        def do_GET(self) -> None:
            told.asked.append(self.path)
            if self.path.startswith("/v1/tasks"):
                known = self.headers["Authorization"] == "Bearer longcall_of-the-operator"
                self._answer(200 if known else 401, {"tasks": [{}] * told.running})
            else:
                self._answer(told.ready, {"store": "out of reach"})

        def _answer(self, status: int, data: object) -> None:
            body = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — http.server's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Project:
    """The project and a checkout of the scripts beside it."""

    folder: Path
    google: Google

    @classmethod
    def made(cls, folder: Path, google: Google, **state: object) -> "Project":
        """Make it: a folder of programs with the stand-in as gcloud, and what a checkout has."""
        programs, checkout = folder / "bin", folder / "checkout"
        programs.mkdir(parents=True)
        source = (Path(__file__).parent / "gcloud_standin.py").read_text()
        (programs / "gcloud").write_text(f"#!{os.path.realpath(sys.executable)} -SI\n{source}")
        (programs / "gcloud").chmod(0o755)
        (programs / "python3").symlink_to(os.path.realpath(sys.executable))
        for tool in TOOLS:
            (programs / tool).symlink_to(str(shutil.which(tool)))
        checkout.mkdir()
        for name in ("setup-env.sh", "deploy.sh", "pyproject.toml", "requirements.txt"):
            shutil.copy(ROOT / name, checkout)
        ours = shutil.ignore_patterns("__pycache__", "env.yaml", "lifecycle.json", "example-service")
        shutil.copytree(ROOT / "deploy", checkout / "deploy", ignore=ours)
        (checkout / "src" / "longcall").mkdir(parents=True)
        for name in ("__init__.py", "__main__.py"):
            shutil.copy(ROOT / "src" / "longcall" / name, checkout / "src" / "longcall")
        project = cls(folder, google)
        project.write(empty() | {"url": google.url} | state)
        return project

    @property
    def state(self) -> dict[str, Any]:
        """What is in the project now, and what gcloud was asked."""
        return json.loads((self.folder / "state.json").read_text())  # type: ignore[no-any-return] # the stand-in's own

    def write(self, state: dict[str, Any]) -> None:
        """Make the project so."""
        (self.folder / "state.json").write_text(json.dumps(state))

    def change(self, **state: object) -> None:
        """Change some of it."""
        self.write(self.state | state)

    def run(self, script: str, *arguments: str, given: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts as a person does."""
        return subprocess.run(
            [str(self.folder / "bin" / "bash"), str(self.folder / "checkout" / script), *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            env={
                "PATH": str(self.folder / "bin"),
                "HOME": str(self.folder),
                "LONGCALL_STANDIN": str(self.folder / "state.json"),
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": f"{self.google.url}/",
                "SETUP_PAUSE": "0",
                "DEPLOY_READY_WITHIN": "3",
                **environ,
            },
        )

    def set_up(self, *more: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run setup-env.sh."""
        return self.run("setup-env.sh", *ARGUMENTS, "--yes", *more, given=given)

    def must(self, done: subprocess.CompletedProcess[str]) -> str:
        """What it said, after it went well."""
        assert done.returncode == 0, done.stderr
        return done.stderr


def essence(state: dict[str, Any]) -> dict[str, Any]:
    """A project without what a run leaves behind by chance: the log, the counts, and the values of secrets."""
    kept = {name: value for name, value in state.items() if name not in {"log", "changes", "stop", "secrets", "unknown_yet", "url"}}
    return kept | {"secrets": {name: len(values) for name, values in state["secrets"].items()}}
