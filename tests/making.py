"""Values that tests make: hypothesis strategies and ready-made tasks."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from longcall.core import lifecycle
from longcall.core.attempt import Break, Broken, Outcome, Responded, Response, Trouble
from longcall.core.retry import Jitter, RetryPolicy
from longcall.core.task import Callback, HttpRequest, NoAuth, OAuthToken, OidcToken, StoredBody, Task, TaskSpec

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
QUEUE = "projects/longcall/locations/local/queues/default"


def spec(url: str = "http://127.0.0.1:9/train", **more: object) -> TaskSpec:
    """A task as asked for."""
    return TaskSpec(request=HttpRequest(url), **more)  # type: ignore[arg-type] # the caller gives fields of TaskSpec


def scheduled(task_id: str = "train", asked: TaskSpec | None = None, now: datetime = NOON) -> Task:
    """A task just created."""
    return lifecycle.create(task_id, asked or spec(), queue=QUEUE, trace="ab" * 16, now=now)


def running(task_id: str = "train", asked: TaskSpec | None = None, runner: str = "r-1") -> Task:
    """A task whose first attempt runs."""
    return lifecycle.take(scheduled(task_id, asked), runner, NOON)


def responded(status: int = 200, now: datetime = NOON, **headers: str) -> Responded:
    """A complete response."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Responded(Response(status, named, size=2, sha256="00" * 32, inline=b"ok"), end_time=now, sent_time=now)


def broken(how: Break = Break.DISCONNECTED, now: datetime = NOON, code: str = "RESET") -> Broken:
    """Any other outcome."""
    return Broken(how, Trouble(code, "it broke"), end_time=now)


moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 — hypothesis adds the zone
durations = st.timedeltas(timedelta(), timedelta(days=28))
chances = st.floats(0, 1, exclude_max=True)
names = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)
texts = st.text(max_size=20)
retryable = st.sampled_from(["unreachable", "disconnected", "timed_out", "interrupted", "408", "429", "500", "503", "4xx", "5xx"])


@st.composite
def policies(draw: Callable[[st.SearchStrategy[object]], object]) -> RetryPolicy:
    """Any valid retry policy."""
    low, high = sorted([draw(durations), draw(durations)])  # type: ignore[type-var] # both are timedeltas
    return RetryPolicy(
        max_attempts=draw(st.integers(1, 10_000)),  # type: ignore[arg-type] # draw gives what the strategy makes
        min_backoff=low,  # type: ignore[arg-type] # as above
        max_backoff=high,  # type: ignore[arg-type] # as above
        multiplier=draw(st.floats(1, 1000)),  # type: ignore[arg-type] # as above
        jitter=draw(st.sampled_from(list(Jitter))),  # type: ignore[arg-type] # as above
        retry_on=tuple(draw(st.lists(retryable, unique=True))),  # type: ignore[arg-type] # as above
    )


responses = st.builds(
    responded,
    status=st.integers(200, 599),
    now=moments,
    retry_after=st.one_of(st.just(""), st.integers(0, 10**12).map(str), st.just("Wed, 21 Oct 2026 07:28:00 GMT"), texts),
)
breaks = st.builds(broken, how=st.sampled_from(list(Break)), now=moments, code=st.sampled_from(["RESET", "DRAINED", "LOST"]))
outcomes: st.SearchStrategy[Outcome] = st.one_of(responses, breaks)
auths = st.one_of(
    st.none(),
    st.just(NoAuth()),
    st.builds(OidcToken, texts.filter(bool), st.none() | texts.filter(bool)),
    st.builds(OAuthToken, texts.filter(bool), texts),
)
requests = st.builds(
    HttpRequest,
    url=texts,
    method=st.sampled_from(["GET", "POST", "PUT"]),
    headers=st.dictionaries(texts, texts, max_size=3),
    body=st.one_of(st.binary(max_size=50), st.builds(StoredBody, st.integers(0, 10**9), st.just("ab" * 32))),
    auth=auths,
)
callbacks = st.one_of(
    st.builds(
        Callback,
        texts,
        st.lists(st.sampled_from(["succeeded", "failed", "cancelled"]), min_size=1, unique=True).map(tuple),
        texts,
        st.dictionaries(texts, texts, max_size=2),
        st.none() | st.builds(OidcToken, texts.filter(bool)),
        policies(),
        durations,
    ),
    st.builds(Callback, topic=texts, retry=policies(), attempt_timeout=durations),
)
specs = st.builds(
    TaskSpec,
    request=requests,
    schedule_time=st.none() | moments,
    attempt_timeout=durations,
    connect_timeout=durations,
    idle_timeout=st.none() | durations,
    task_timeout=st.none() | durations,
    retry=policies(),
    callback=st.none() | callbacks,
    labels=st.dictionaries(texts, texts, max_size=3),
)
