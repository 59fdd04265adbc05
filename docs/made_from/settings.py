"""Every setting, from `longcall.settings`; a setting without a sentence here is a KeyError."""

from dataclasses import fields

from longcall.settings import CLIENT, FACTS, PREFIX, Settings
from made_from.markdown import table

SAID = {
    "store": "where records are kept: `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user:password@host/database`, "
    "`firestore://project/database`, `memory://`",
    "bodies": "where large bodies are kept: `file:///folder`, or `gs://bucket/prefix` in Google Cloud Storage with the environment's "
    "Google credentials; [how](reference.md#large-bodies)",
    "queue": "the queue of calls, by its full name",
    "control_queue": "the queue of callbacks and looks, which nobody pauses",
    "queue_endpoint": "where the queue's REST API is; empty for Google Cloud Tasks",
    "queue_secret": "what the queue and its runners share, so that `/dispatch` opens for the queue alone",
    "public_url": "where the API is reached, for links",
    "pubsub_endpoint": "where callbacks to Pub/Sub are published; an emulator gets no token",
    "auth": "who may come in: `none` (on loopback alone), `token`, `google`; [how](http-api.md#who-may-come-in)",
    "tokens": "with `token`: `name:read:<sha256>` or `name:write:<sha256>`, with commas between",
    "audience": "with `google`: whom ID tokens are minted for, and the resource of Identity-Aware Proxy, with commas between",
    "allowed_callers": "with `google`: `email`, `email:read` or `email:write`, with commas between; without a right it is write",
    "create_rate": "how many tasks a second one caller creates at one runner; twice as many at once",
    "dispatch_url": "off App Engine: where Cloud Tasks sends messages, and the audience of their ID tokens",
    "dispatch_service_account": "whose ID tokens these are",
    "app_engine": "set by App Engine: its queue header is believed",
    "project": "set by App Engine: the project of traces in logs, and of `sm://` secrets",
    "webhook_secrets": 'the secrets that sign callbacks: one `whsec_…`, or JSON `{"name": ["whsec_…"]}`; each name\'s secrets all sign',
    "allowed_targets": "which hosts may be called, as `api.example.com` or `*.run.app`, with commas between",
    "allow_private_targets": "`true` or `false`: whether loopback and private addresses may be called",
    "impersonate": "the service account whose tokens targets get where a task names none; the runner's own account (or your login) needs "
    "`roles/iam.serviceAccountTokenCreator` on it. Under `up`, tokens are then Google's and not its own issuer's",
    "hold_slots": "how many dispatches are held open at once",
    "when_full": "beyond that: `refuse` (the queue tries again) or `detach` (answered at once, and the call goes on)",
    "max_calls": "how many calls are held at once; a tenth of the room is kept for callbacks",
    "max_response_bytes": "how much of a response is kept; the rest is dropped and `truncated` says so",
    "retention": "how long after its end a task and its bodies are kept, like `30d` or `36h`; at least `25h`",
    "redact_headers": "headers whose values nobody is shown, besides Authorization and Cookie, with commas between",
    "log_format": "`google` (its special fields, on standard output), `console` (for people) or `json`; see [logs](logs.md)",
    "otel": "this and others of OpenTelemetry: traces and metrics by OTLP; see [metrics and traces](metrics.md)",
    "URL": "for the SDK and the client commands: where the server is",
    "TOKEN": "for the same: the server's token",
}
# Defaults that are worked out, so the field's own value says nothing.
WORKED_OUT = {
    "bodies": "`bodies` beside the SQLite file",
    "queue_endpoint": "Cloud Tasks when `LONGCALL_QUEUE` is set, else `http://127.0.0.1:8124`",
    "queue_secret": "made by `up`",
    "public_url": "where it listens",
    "auth": "`none` on loopback; must be said elsewhere",
    "webhook_secrets": "made by `up`, in its data folder",
    "allowed_targets": "every host",
    "allow_private_targets": "`true` under `up`, else `false`",
    "hold_slots": "no limit",
    "max_calls": "a third of the limit on open files",
    "retention": "`30d`",
    "redact_headers": "",
    "log_format": "`google` on App Engine, `console` on a terminal, else `json`",
    "otel": "nothing is sent",
    "app_engine": "",
    "tokens": "",
    "audience": "",
    "allowed_callers": "",
    "URL": "`http://127.0.0.1:8080`",
    "TOKEN": "",
}


def settings() -> str:
    """A row for each variable, in the order of the sentences above."""
    known = {each.name: each.default for each in fields(Settings)} | dict.fromkeys(CLIENT, "")
    if strange := known.keys() ^ SAID.keys():
        raise KeyError(*strange)
    return table(
        ("variable", "what it sets", "default"),
        [(f"`{FACTS.get(name, PREFIX + name.upper())}`", said, WORKED_OUT.get(name, _shown(known[name]))) for name, said in SAID.items()],
    )


def _shown(default: object) -> str:
    return "" if default == "" else f"`{default}`"
