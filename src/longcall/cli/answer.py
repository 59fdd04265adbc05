"""The target's answer, as people and pipes see it."""

import json
import sys

from rich.console import Console

from longcall.cli.ends import say
from longcall.sdk.view import Response

EXCERPT = 300  # characters


def print_body(response: Response) -> None:
    """The target's answer: its bytes as they came for a pipe, something to read for people."""
    if not response.size:
        return
    if response.truncated:
        say(f"the answer was longer than is kept: these are its first {response.size} bytes", "yellow")
    if sys.stdout.isatty():
        _print_readable(response)
    else:
        sys.stdout.buffer.write(response.content)
        sys.stdout.buffer.flush()


def what_came(response: Response) -> str:
    """A response in a few words."""
    kind = response.headers.get("content-type", "").partition(";")[0]
    return ", ".join(part for part in (str(response.status), kind, f"{response.size} bytes") if part)


def excerpt(response: Response) -> str:
    """The beginning of a small readable answer, in one line; empty for any other."""
    shown = response.shown
    text = json.dumps(shown["json"], ensure_ascii=False) if "json" in shown else str(shown.get("text", ""))
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else f"{line[:EXCERPT]}…"


def _print_readable(response: Response) -> None:
    try:
        if "json" in response.headers.get("content-type", ""):
            Console(soft_wrap=True).print_json(json.dumps(response.json(), ensure_ascii=False))
            return
        text = response.content.decode()
    except ValueError:
        say(f"the answer is no text ({what_came(response)}): send standard output to a file to keep it", "yellow")
        return
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
