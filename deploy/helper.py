"""What setup-env.sh and deploy.sh ask of Python: to read JSON, to compare, to make secrets. The standard library only.

python3 deploy/helper.py VERB ARGUMENT…; docs/google-cloud.md says what the scripts do.
"""

import base64
import hashlib
import json
import math
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

LONGEST_DISPATCH = timedelta(seconds=86_415)
KEY_BYTES = 32
# What setup-env.sh needs to be allowed; https://cloud.google.com/resource-manager/reference/rest/v1/projects/testIamPermissions
PERMISSIONS = (
    "appengine.applications.create",
    "cloudtasks.queues.create",
    "cloudtasks.queues.setIamPolicy",
    "cloudtasks.queues.update",
    "datastore.databases.create",
    "datastore.indexes.create",
    "datastore.indexes.update",
    "iam.serviceAccounts.create",
    "iam.serviceAccounts.setIamPolicy",
    "resourcemanager.projects.setIamPolicy",
    "secretmanager.secrets.create",
    "secretmanager.secrets.setIamPolicy",
    "secretmanager.versions.add",
    "serviceusage.services.enable",
    "storage.buckets.create",
    "storage.buckets.setIamPolicy",
)
ORDERS = {"ASCENDING": "ascending", "DESCENDING": "descending", "CONTAINS": "contains"}
SETTING = re.compile(r'  ([A-Z][A-Z0-9_]*): ("(?:[^"\\]|\\.)*")\s*(?:#.*)?')


class Mistake(Exception):  # noqa: N818 — it is the caller's, and its text is the one sentence that is shown
    """Something is not as it should be; the text says what, and what to do."""


# Facts: what is there, one line each, so that a script can ask for a line.


def facts(folder: str) -> Iterator[str]:
    """The lines that follow from what gcloud answered, one file a question."""
    readers: dict[str, Callable[[Any, str], Iterator[str]]] = {
        "project": _project,
        "billing": _billing,
        "services": _services,
        "app": _app,
        "appservices": _app_services,
        "regions": _regions,
        "accounts": _accounts,
        "policy": _policy,
        "queues": _queues,
        "databases": _databases,
        "composite": _composite,
        "fields": _fields,
        "ttls": _ttls,
        "buckets": _buckets,
        "secrets": _secrets,
        "versions": _versions,
    }
    for file in sorted(Path(folder).glob("*.json")):
        text = file.read_text().strip()
        kind, _, of = file.stem.partition("+")
        if text and kind in readers:
            yield from readers[kind](json.loads(text), of)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _project(project: Any, _: str) -> Iterator[str]:
    yield f"project {project.get('lifecycleState', '')}"


def _billing(billing: Any, _: str) -> Iterator[str]:
    yield f"billing {'on' if billing.get('billingEnabled') else 'off'}"


def _services(services: Any, _: str) -> Iterator[str]:
    yield from (f"service {each['config']['name']}" for each in services)


def _app(app: Any, _: str) -> Iterator[str]:
    yield f"app {region_of(app['locationId'])}"
    yield f"hostname {app.get('defaultHostname', '')}"
    yield f"serving {app.get('servingStatus', 'SERVING')}"


def _app_services(services: Any, _: str) -> Iterator[str]:
    yield from (f"appservice {each['id']}" for each in services)


def _regions(regions: Any, _: str) -> Iterator[str]:
    yield from (f"region {region_of(each['region'])}" for each in regions)


def _accounts(accounts: Any, _: str) -> Iterator[str]:
    yield from (f"account {each['email']}" for each in accounts)


def _policy(policy: Any, of: str) -> Iterator[str]:
    for binding in policy.get("bindings", []):
        condition = binding.get("condition", {}).get("expression", "")
        yield from (f"bind {of} {member} {binding['role']} {condition}".rstrip() for member in binding["members"])


def _queues(queues: Any, _: str) -> Iterator[str]:
    for queue in queues:
        name, retry, route = _last(queue["name"]), queue.get("retryConfig", {}), queue.get("appEngineRoutingOverride", {})
        yield f"queue {name}"
        seconds = (float(str(retry.get(each, "0s")).removesuffix("s")) for each in ("minBackoff", "maxBackoff", "maxRetryDuration"))
        least, most, duration = seconds
        yield f"retry {name} {retry.get('maxAttempts')} {least:g} {most:g} {retry.get('maxDoublings')} {duration:g}"
        yield f"concurrency {name} {queue.get('rateLimits', {}).get('maxConcurrentDispatches', 1000)}"
        yield f"route {name} {route.get('service', '')}"
        yield f"routeversion {name} {route.get('version', '')}"
        yield f"state {name} {queue.get('state', 'RUNNING')}"
        if queue.get("httpTarget"):
            yield f"http {name}"


def _databases(databases: Any, _: str) -> Iterator[str]:
    yield from (f"database {_last(each['name'])} {each['type']}" for each in databases)


def _composite(indexes: Any, _: str) -> Iterator[str]:
    for index in indexes:
        group = index["name"].split("/collectionGroups/")[1].partition("/")[0]
        yield composite_fact(group, index["fields"])


def _fields(fields: Any, _: str) -> Iterator[str]:
    for field in fields:
        group, path = field["name"].split("/collectionGroups/")[1].split("/fields/")
        yield field_fact(group, path, [each["fields"][0] for each in field.get("indexConfig", {}).get("indexes", [])])


def _ttls(fields: Any, _: str) -> Iterator[str]:
    for field in fields:
        group, path = field["name"].split("/collectionGroups/")[1].split("/fields/")
        yield f"ttl {group} {path}"


def _buckets(buckets: Any, _: str) -> Iterator[str]:
    for bucket in buckets:
        yield f"bucket {bucket['name']}"
        yield f"lifecycle {bucket['name']} {_canonical(bucket.get('lifecycle', {}))}"


def _secrets(found: Any, _: str) -> Iterator[str]:
    yield from (f"secret {_last(each['name'])}" for each in found)


def _versions(found: Any, of: str) -> Iterator[str]:
    yield from (f"value {of}" for each in found if each["state"].upper() == "ENABLED")


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def region_of(location: str) -> str:
    """App Engine calls two regions by an older name."""
    return {"us-central": "us-central1", "europe-west": "europe-west1"}.get(location, location)


# Firestore: the index file as gcloud's commands.


def composite_fact(group: str, fields: list[Mapping[str, str]]) -> str:
    """One line for a composite index; Firestore adds the document's name at the end by itself."""
    said = [f"{each['fieldPath']}:{order_of(each)}" for each in fields if each["fieldPath"] != "__name__"]
    return " ".join(["composite", group, *said])


def field_fact(group: str, path: str, indexes: list[Mapping[str, str]]) -> str:
    """One line for a field's own indexes."""
    return " ".join(["field", group, path, *sorted(order_of(each) for each in indexes)])


def order_of(field: Mapping[str, str]) -> str:
    """Ascending, descending or contains."""
    return ORDERS[field.get("order") or field["arrayConfig"]]


def indexes(file: str) -> Iterator[str]:
    """What the index file wants, a line each: the fact, a tab, and the words of the gcloud command that makes it true."""
    wanted = json.loads(Path(file).read_text())
    for index in wanted["indexes"]:
        group = index["collectionGroup"]
        fields = " ".join(f"--field-config={_field_config(each)}" for each in index["fields"])
        words = f"indexes composite create --collection-group={group} --query-scope={index['queryScope'].lower()} {fields}"
        yield f"{composite_fact(group, index['fields'])}\t{words}"
    for field in wanted["fieldOverrides"]:
        group, path = field["collectionGroup"], field["fieldPath"]
        words = " ".join(f"--index={_key(each)}={order_of(each)}" for each in field["indexes"]) or "--disable-indexes"
        yield f"{field_fact(group, path, field['indexes'])}\tindexes fields update {path} --collection-group={group} {words}"
        if field.get("ttl"):
            yield f"ttl {group} {path}\tfields ttls update {path} --collection-group={group} --enable-ttl"


def _key(field: Mapping[str, str]) -> str:
    return "order" if "order" in field else "array-config"


def _field_config(field: Mapping[str, str]) -> str:
    return f"field-path={field['fieldPath']},{_key(field)}={order_of(field)}"


# Buckets, permissions, secrets.


def lifecycle(days: str, file: str = "") -> Iterator[str]:
    """The bucket's rule: bodies go after so many days, what was left half uploaded after two. In one line, and into a file if wanted."""
    rules = [
        {"action": {"type": "Delete"}, "condition": {"age": int(days)}},
        {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 2}},
    ]
    if file:
        Path(file).write_text(json.dumps({"rule": rules}))
    yield _canonical({"rule": rules})


def permissions(project: str) -> Iterator[str]:
    """Those that are needed and missing, of whoever owns the access token on standard input."""
    from urllib.request import Request, urlopen  # noqa: PLC0415 — a twentieth of a second, which the other verbs need not wait

    base = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER", "https://cloudresourcemanager.googleapis.com/")
    asking = Request(  # noqa: S310 — Google's own address, or what the operator's variable says
        f"{base.rstrip('/')}/v1/projects/{project}:testIamPermissions",
        json.dumps({"permissions": PERMISSIONS}).encode(),
        {"Authorization": f"Bearer {sys.stdin.readline().strip()}", "Content-Type": "application/json"},
    )
    try:
        with urlopen(asking, timeout=20) as answer:  # noqa: S310 — as above
            granted = json.load(answer).get("permissions", [])
    except (OSError, ValueError) as error:
        raise Mistake(f"Google did not say what you may do ({error})") from None
    yield from sorted(set(PERMISSIONS) - set(granted))


def webhook_secret() -> Iterator[str]:
    """A secret that signs callbacks."""
    yield f"whsec_{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def token(name: str) -> Iterator[str]:
    """A token for the API, and the entry that lets it in, which holds only its SHA-256."""
    made = f"longcall_{secrets.token_urlsafe(KEY_BYTES)}"
    yield made
    yield f"{name}:write:{hashlib.sha256(made.encode()).hexdigest()}"


# deploy/env.yaml and app.yaml.


def variables(text: str, file: str) -> dict[str, str]:
    """The env_variables of a file as the scripts write them: the last block, one `  NAME: "value"` a line."""
    _, found, block = text.partition("\nenv_variables:\n")
    read: dict[str, str] = {}
    for line in block.splitlines() if found else []:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = SETTING.fullmatch(line)
        try:
            read[match[1]] = json.loads(match[2])  # type: ignore[index] # no match is no setting
        except (TypeError, ValueError):
            raise Mistake(f'{file}: {line.strip()!r} is no setting: write   NAME: "value"   two spaces in, below env_variables:') from None
    return read


def _block(values: Mapping[str, str]) -> str:
    lines = (f"  {name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())
    return "\nenv_variables:\n" + "".join(lines)


def env(file: str, *given: str) -> Iterator[str]:
    """Write settings into deploy/env.yaml, keeping those that somebody added there. Says `written`, or nothing when it was right."""
    path = Path(file)
    before = path.read_text() if path.exists() else ""
    values = variables(before, file) | dict(each.split("=", 1) for each in given)
    text = "# Made by setup-env.sh, which keeps settings that you add here.\n" + _block(values)
    if text != before:
        path.write_text(text)
        yield "written"


def setting(file: str, name: str) -> Iterator[str]:
    """One setting out of deploy/env.yaml."""
    try:
        yield variables(Path(file).read_text(), file)[name]
    except (FileNotFoundError, KeyError):
        raise Mistake(f"{file} does not say {name}: run ./setup-env.sh first, it writes that file") from None


def app_yaml(file: str, env_file: str, service: str, account: str, *more: str) -> Iterator[str]:
    """The app.yaml to be uploaded: the one of the repository, for this service and account, with the settings of deploy/env.yaml."""
    text = Path(file).read_text()
    room(file)
    values = variables(text, file) | variables(Path(env_file).read_text(), env_file) | dict(each.split("=", 1) for each in more)
    head = text.partition("\nenv_variables:\n")[0]
    head = re.sub(r"(?m)^service: .*$", f"service: {service}", head)
    yield re.sub(r"(?m)^service_account: .*$", f"service_account: {account}", head) + _block(values).rstrip("\n")


def room(file: str) -> Iterator[str]:
    """How many calls and how many callbacks all instances of one version hold; `unlimited` where calls are detached."""
    text = Path(file).read_text()
    values = variables(text, file)
    for line in ("runtime: python3", "entrypoint: ", "service: ", "service_account: "):
        if f"\n{line}" not in f"\n{text}":
            raise Mistake(f"{file} has no line that begins with `{line}`: take it from the repository again")
    if values.get("PYTHONPATH") != "src":
        raise Mistake(f'{file} must say PYTHONPATH: "src" below env_variables: Longcall runs from its source there')
    found = re.search(r"(?m)^(?:basic|automatic)_scaling:\n(?:  .*\n)*?  max_instances: (\d+)", text) or re.search(
        r"(?m)^manual_scaling:\n(?:  .*\n)*?  instances: (\d+)", text
    )
    if found is None:
        raise Mistake(f"{file} must say max_instances below basic_scaling, or instances below manual_scaling")
    if values.get("LONGCALL_WHEN_FULL") == "detach" or "\nautomatic_scaling:" in text:
        yield "unlimited"
        return
    seats = int(values.get("LONGCALL_MAX_CALLS", "8"))
    kept = math.ceil(seats / 10)
    yield f"{int(found[1]) * (seats - kept)} {int(found[1]) * kept}"


# The lock, and what is waited for.


def lock(pyproject: str, requirements: str) -> Iterator[str]:
    """What pyproject.toml asks for and the lock has not, or too old: nothing when `make lock` has nothing to do with it."""
    import tomllib  # noqa: PLC0415 — as above

    project = tomllib.loads(Path(pyproject).read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(each for extra in ("server", "postgres", "firestore", "otel") for each in extras[extra])]
    pinned = dict(re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s;\\]+)", Path(requirements).read_text()))
    for each in wanted:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+)", each.partition(";")[0].strip())
        if match is None:
            raise Mistake(f"{pyproject}: {each!r} is not of the form name>=version, which is all that can be checked here")
        if match[1] not in pinned or _numbers(pinned[match[1]]) < _numbers(match[2]):
            yield f"{each} (locked: {pinned.get(match[1], 'not at all')})"


def _numbers(version: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", version)]


def ready(url: str, seconds: str) -> Iterator[str]:
    """Wait until an address answers 200. Says what it answered."""
    from urllib.error import HTTPError  # noqa: PLC0415 — as above
    from urllib.request import urlopen  # noqa: PLC0415 — as above

    end, said = time.monotonic() + float(seconds), "nothing"
    while time.monotonic() < end:
        try:
            with urlopen(url, timeout=30) as answer:  # noqa: S310 — what gcloud named
                if answer.status == 200:  # noqa: PLR2004 — HTTP's own
                    yield "200"
                    return
        except HTTPError as error:
            said = f"{error.code} {error.read(300).decode(errors='replace')}".strip()
        except OSError as error:
            said = str(error)
        time.sleep(min(2.0, max(0.0, end - time.monotonic())))
    raise Mistake(f"{url} does not answer 200 within {seconds} s; the last answer was: {said}")


def running(url: str) -> Iterator[str]:
    """How many tasks are RUNNING, as the API says to whoever owns the token on standard input; nothing when it does not say."""
    from urllib.request import Request, urlopen  # noqa: PLC0415 — as above

    asking = Request(f"{url}/v1/tasks?state=RUNNING&pageSize=500", headers={"Authorization": f"Bearer {sys.stdin.readline().strip()}"})  # noqa: S310 — what gcloud named
    try:
        with urlopen(asking, timeout=60) as answer:  # noqa: S310 — as above
            page = json.load(answer)
    except (OSError, ValueError):
        return
    yield f"{len(page['tasks'])}{' or more' if page.get('nextPageToken') else ''}"


def until() -> Iterator[str]:
    """When everything that is held now has ended at the latest."""
    yield (datetime.now(UTC) + LONGEST_DISPATCH).strftime("%Y-%m-%d %H:%M UTC")


VERBS: dict[str, Callable[..., Iterator[str]]] = {
    each.__name__.replace("_", "-"): each
    for each in (facts, indexes, lifecycle, permissions, webhook_secret, token, env, setting, app_yaml, room, lock, ready, running, until)
}


def main(verb: str, *arguments: str) -> int:
    """Print what a verb says, a line each; 1 and one sentence on standard error when something is not as it should be."""
    try:
        for line in VERBS[verb](*arguments):
            print(line)
    except (Mistake, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
