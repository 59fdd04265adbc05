"""Google's side: tokens, secrets, and the client of Cloud Tasks."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack

from longcall.core.errors import UnavailableError
from longcall.outbound.clock import SystemClock
from longcall.outbound.cloud_tasks import CloudTasks, HttpDispatch
from longcall.outbound.google import OWN, google_tokens
from longcall.outbound.minted import NoTokenError
from longcall.outbound.secret_manager import GOOGLE as SECRETS_ENDPOINT
from longcall.outbound.secret_manager import SecretManager
from longcall.outbound.tokens import Tokens
from longcall.settings import CLOUD_TASKS, FACTS, Settings, environment


async def google(stack: AsyncExitStack, impersonate: str = "") -> Tokens:
    """Google's tokens, of the account this process is or may impersonate; it is looked for when the first one is wanted."""
    return await stack.enter_async_context(google_tokens(environment(), SystemClock().now, impersonate=impersonate))


async def read_secrets(references: Collection[str], endpoint: str = SECRETS_ENDPOINT) -> Mapping[str, str]:
    """What settings that say `sm://…` stand for, out of Secret Manager. Raises CallerMistake, UnavailableError."""
    async with AsyncExitStack() as stack:
        project = environment().get(FACTS["project"], "")
        return await SecretManager(await _own_token(stack, "Secret Manager"), project, endpoint).read(references)


async def _own_token(stack: AsyncExitStack, what: str) -> Callable[[], Awaitable[str]]:
    """What gives an access token of this process's own account, for Google's API of that name."""
    own = await google(stack)

    async def authorize() -> str:
        try:
            return await own.bearer(OWN)
        except NoTokenError as error:
            raise UnavailableError(f"no token for {what}: {error}") from error

    return authorize


async def cloud_tasks(stack: AsyncExitStack, settings: Settings) -> CloudTasks:
    """The queue's client: for Google's server with a token of this process's own account."""
    dispatch = HttpDispatch(settings.dispatch_url, settings.dispatch_service_account) if settings.dispatch_url else None
    if settings.queue_endpoint != CLOUD_TASKS:
        return await stack.enter_async_context(CloudTasks.open(settings.queue_endpoint, dispatch))
    authorize = await _own_token(stack, "Cloud Tasks")
    return await stack.enter_async_context(CloudTasks.open(settings.queue_endpoint, dispatch, authorize))
