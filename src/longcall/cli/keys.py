"""`longcall keygen`: a secret that signs callbacks, or a token for the API."""

import secrets  # noqa: TID251 — a command is the caller's own program: nothing hands chance in
import sys
from typing import Annotated

import typer

from longcall.cli import options, show
from longcall.cli.ends import USAGE, say
from longcall.core.access import Caller, Right, Token, digest, is_name, token_text
from longcall.core.signing import secret_of

KEY_BYTES = 32  # as many as SHA-256 gives
TOKEN_PREFIX = "longcall_"  # noqa: S105 — so that scanners of sources and logs know one when they see it


def keygen(
    *,
    token: Annotated[
        str | None, typer.Option(metavar="NAME[:read]", help="Make a token for the API instead, under this name; :read to look alone.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a secret that signs callbacks, or a token for the API.

    It is printed and kept nowhere.
    """
    if token is not None:
        _token(*_named(token), as_json=as_json)
        return
    secret = secret_of(secrets.token_bytes(KEY_BYTES))
    if as_json:
        show.print_json({"secret": secret})
        return
    _print(secret)
    say("set it as LONGCALL_WEBHOOK_SECRETS where the runners are, and give it to longcall.webhooks.verify where callbacks arrive")
    say("""to change one while callbacks are under way, set both: LONGCALL_WEBHOOK_SECRETS='{"default": ["new", "old"]}'""")


def _token(name: str, right: Right, *, as_json: bool) -> None:
    made = TOKEN_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    entry = token_text(Token(Caller(name, right), digest(made)))
    if as_json:
        show.print_json({"token": made, "entry": entry})
        return
    _print(made)
    say("this is the only time it is shown: give it as LONGCALL_TOKEN where the API is called")
    say(f"where the runners are, add to LONGCALL_TOKENS: {entry}")
    say("to change one, add the new entry beside the old one, and take the old one out when nobody uses it any more")


def _named(text: str) -> tuple[str, Right]:
    name, _, right = text.partition(":")
    if not is_name(name) or right not in {"", *Right}:
        say(
            "--token: NAME, NAME:read or NAME:write was expected; a name has 1 to 64 letters, digits, dots, hyphens, underscores or @",
            "red",
        )
        raise typer.Exit(USAGE)
    return name, Right(right or Right.WRITE)


def _print(secret: str) -> None:
    sys.stdout.write(f"{secret}\n")
    sys.stdout.flush()
