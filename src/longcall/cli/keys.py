"""`longcall keygen`: a secret that signs callbacks."""

import secrets  # noqa: TID251 — a command is the caller's own program: nothing hands chance in
import sys

from longcall.cli import options, show
from longcall.cli.ends import say
from longcall.core.signing import secret_of

KEY_BYTES = 32  # as many as SHA-256 gives


def keygen(*, as_json: options.AsJson = False) -> None:
    """Make a secret that signs callbacks.

    It is printed and kept nowhere.
    """
    secret = secret_of(secrets.token_bytes(KEY_BYTES))
    if as_json:
        show.print_json({"secret": secret})
        return
    sys.stdout.write(f"{secret}\n")
    sys.stdout.flush()
    say("set it as LONGCALL_WEBHOOK_SECRETS where the runners are, and give it to longcall.webhooks.verify where callbacks arrive")
    say("""to change one while callbacks are under way, set both: LONGCALL_WEBHOOK_SECRETS='{"default": ["new", "old"]}'""")
