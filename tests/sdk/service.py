"""The whole of Longcall as a program of its own, the way people start it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Service:
    """Where it listens."""

    api: str
    grpc: str
    rest: str
    data: Path
    queue: str = "projects/longcall/locations/local/queues/default"

    @property
    def secret(self) -> str:
        """What its callbacks are signed with."""
        return (self.data / "webhook-secret").read_text().strip()


@contextmanager
def service(data: Path, port: int = 0) -> Iterator[Service]:
    """Run `longcall up` until the block ends."""
    ports = ["--port", str(port), "--grpc-port", "0", "--rest-port", "0"]
    command = [sys.executable, "-m", "longcall", "up", *ports, "--data", str(data), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield Service(**json.loads(process.stdout.readline()), data=data)
        finally:
            process.terminate()
            process.wait(10)
