"""`longcall migrate`: the store's schema, brought up to date before a release that needs it."""

import asyncio
import sys

from longcall.cli.ends import OUT_OF_REACH
from longcall.cli.up import fail, server_settings
from longcall.core.errors import LongcallError, UnavailableError


def migrate() -> None:
    """Bring the store's schema up to date.

    Runners never do that by themselves on a server that others share. The release before this one can go on meanwhile, or it is said that
    it can't. A SQLite file is brought up to date by whoever opens it.
    """
    settings = server_settings()
    from longcall.stores import migrate as bring_up_to_date  # noqa: PLC0415 — the server's parts are not in the light install

    try:
        said = asyncio.run(bring_up_to_date(settings.store))
    except LongcallError as error:
        raise fail(f"{error}; is LONGCALL_STORE right?" if isinstance(error, UnavailableError) else str(error), OUT_OF_REACH) from None
    sys.stdout.write(f"{said}\n")
