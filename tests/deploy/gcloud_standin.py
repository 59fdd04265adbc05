"""A stand-in for gcloud that keeps a project in a JSON file: it answers the commands of our scripts as gcloud does, and refuses others.

LONGCALL_STANDIN names the file. Run as a program of its own, with the standard library alone.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

State = dict[str, Any]
Flags = dict[str, list[str]]
NEEDS = {"app": "appengine", "tasks": "cloudtasks", "firestore": "firestore", "storage": "storage", "secrets": "secretmanager"}


class GcloudError(Exception):
    """What gcloud writes on standard error, after which it exits 1."""


def asks(state: State, words: list[str], flags: Flags) -> Any:
    """The commands that change nothing."""
    project = f"projects/{state['id']}"
    match words:
        case ["auth", "list"]:
            return state["login"]
        case ["auth", "print-access-token"]:
            return "ya29.of-the-operator"
        case ["projects", "describe", name]:
            if name != state["id"]:
                raise GcloudError(f"[{state['login']}] does not have permission to access projects instance [{name}] (or it may not exist)")
            return {"projectId": name, "projectNumber": "123", "lifecycleState": state["lifecycle"]}
        case ["billing", "projects", "describe", _]:
            return {"billingEnabled": state["billing"]}
        case ["services", "list"]:
            return [{"config": {"name": name}, "state": "ENABLED"} for name in state["services"]]
        case ["app", "describe"]:
            return app_of(state)
        case ["app", "regions", "list"]:
            return [{"region": name, "standard": True} for name in ("us-central", "europe-west", "europe-west3")]
        case ["app", "services", "list"]:
            return [{"id": name} for name in app_of(state)["services"]]
        case ["app", "versions", "list"]:
            return "\n".join(app_of(state)["services"][one(flags, "service")]["versions"])
        case ["app", "versions", "describe", version]:
            if version not in app_of(state)["services"][one(flags, "service")]["versions"]:
                raise GcloudError("NOT_FOUND: Version not found.")
            return state["url"]
        case ["app", "instances", "list"]:
            return "\n".join(f"instance-{number}" for number in range(state["instances"]))
        case ["iam", "service-accounts", "list"]:
            return [{"email": email} for email in state["accounts"]]
        case ["projects", "get-iam-policy", _]:
            return policy(state, project)
        case ["iam", "service-accounts" | _, "get-iam-policy", name] | ["secrets", "get-iam-policy", name]:
            return policy(state, name)
        case ["tasks", "queues", "get-iam-policy", name] | ["storage", "buckets", "get-iam-policy", name]:
            return policy(state, name)
        case ["tasks", "queues", "list"]:
            return [queue for queue in state["queues"].values() if f"/locations/{one(flags, 'location')}/" in queue["name"]]
        case ["firestore", "databases", "list"]:
            return list(state["databases"].values())
        case ["firestore", "indexes", "composite", "list"]:
            return state["composite"]
        case ["firestore", "indexes", "fields", "list"]:
            everything = {"name": f"{project}/databases/longcall/collectionGroups/__default__/fields/*", "indexConfig": {"indexes": []}}
            return [everything, *state["fields"].values()]
        case ["firestore", "fields", "ttls", "list"]:
            return [{"name": name, "ttlConfig": {"state": "CREATING"}} for name in state["ttls"]]
        case ["storage", "buckets", "list"]:
            return list(state["buckets"].values())
        case ["secrets", "list"]:
            return [{"name": f"projects/123/secrets/{name}"} for name in state["secrets"]]
        case ["secrets", "versions", "list", name]:
            return [{"name": f"projects/123/secrets/{name}/versions/1", "state": "ENABLED"}] if state["secrets"][name] else []
        case _:
            return NotImplemented


def changes(state: State, words: list[str], flags: Flags) -> bool:
    """The commands that change something. False for those that are not known."""
    project = f"projects/{state['id']}"
    match words:
        case ["services", "enable", *names]:
            state["services"] = sorted({*state["services"], *names})
        case ["app", "create"]:
            if state["app"] is not None:
                raise GcloudError(f"The project [{state['id']}] already contains an App Engine application.")
            location = one(flags, "region")
            state["app"] = {
                "locationId": location,
                "defaultHostname": f"{state['id']}.uc.r.appspot.com",
                "servingStatus": "SERVING",
                "services": {},
            }
        case ["app", "deploy", file]:
            deploy(state, Path(file), one(flags, "version"))
        case ["app", "services", "set-traffic", service]:
            app_of(state)["services"][service]["traffic"] = one(flags, "splits").partition("=")[0]
        case ["iam", "service-accounts", "create", name]:
            state["accounts"].append(f"{name}@{state['id']}.iam.gserviceaccount.com")
        case ["projects", "add-iam-policy-binding", _]:
            bind(state, project, flags)
        case ["iam", _, "add-iam-policy-binding", name] | ["secrets", "add-iam-policy-binding", name]:
            bind(state, name, flags)
        case ["tasks", "queues", "add-iam-policy-binding", name] | ["storage", "buckets", "add-iam-policy-binding", name]:
            bind(state, name, flags)
        case ["tasks", "queues", "create", name]:
            if name in state["queues"]:
                raise GcloudError("ALREADY_EXISTS: Queue already exists")
            full = f"{project}/locations/{one(flags, 'location')}/queues/{name}"
            state["queues"][name] = {"name": full, "state": "RUNNING", "rateLimits": {"maxDispatchesPerSecond": 500.0}, "retryConfig": {}}
            queue_settings(state["queues"][name], flags)
        case ["tasks", "queues", "update", name]:
            queue_settings(state["queues"][name], flags)
        case ["firestore", "databases", "create"]:
            name = one(flags, "database")
            kind = one(flags, "type").upper().replace("-", "_")
            state["databases"][name] = {"name": f"{project}/databases/{name}", "type": kind, "locationId": one(flags, "location")}
        case ["firestore", "indexes", "composite", "create"]:
            add_index(state, flags)
        case ["firestore", "indexes", "fields", "update", path]:
            state["fields"][f"{group_of(state, flags)}/fields/{path}"] = field_of(state, path, flags)
        case ["firestore", "fields", "ttls", "update", path]:
            state["ttls"].append(f"{group_of(state, flags)}/fields/{path}")
        case ["storage", "buckets", "create", url]:
            state["buckets"][url] = {"name": url.removeprefix("gs://"), "location": one(flags, "location").upper()}
            state["buckets"][url]["lifecycle"] = json.loads(Path(one(flags, "lifecycle-file")).read_text())
        case ["storage", "buckets", "update", url]:
            state["buckets"][url]["lifecycle"] = json.loads(Path(one(flags, "lifecycle-file")).read_text())
        case ["secrets", "create", name] if name not in state["secrets"]:
            state["secrets"][name] = [sys.stdin.read()]
        case ["secrets", "versions", "add", name]:
            state["secrets"][name].append(sys.stdin.read())
        case _:
            return False
    return True


def one(flags: Flags, name: str) -> str:
    """The value of a flag that must be there once."""
    (value,) = flags[name]
    return value


def app_of(state: State) -> Any:
    """The App Engine app, or gcloud's own words."""
    if state["app"] is None:
        raise GcloudError(
            f"(gcloud.app.describe) The current Google Cloud project [{state['id']}] does not contain an App Engine application. "
            "Use `gcloud app create` to initialize an App Engine application within the project."
        )
    return state["app"]


def deploy(state: State, file: Path, version: str) -> None:
    """Keep what was uploaded: the app.yaml's text, and the names of the files beside it."""
    text = file.read_text()
    service = text.partition("\nservice: ")[2].partition("\n")[0]
    services = app_of(state)["services"]
    if service != "default" and "default" not in services:
        raise GcloudError("The first service (module) you upload to a new application must be the 'default' service (module).")
    files = sorted(str(each.relative_to(file.parent)) for each in file.parent.rglob("*") if each.is_file())
    here = services.setdefault(service, {"versions": {}, "traffic": version})
    here["versions"][version] = {"yaml": text, "files": files}


def policy(state: State, of: str) -> Any:
    """An IAM policy."""
    return {"bindings": state["policies"].get(of, []), "etag": "BwX"}


def bind(state: State, of: str, flags: Flags) -> None:
    """Add a binding. A member that was made a moment ago is not known yet, once."""
    member = one(flags, "member")
    email = member.partition(":")[2]
    if email not in state["accounts"] or email in state["unknown_yet"]:
        state["unknown_yet"] = [each for each in state["unknown_yet"] if each != email]
        raise GcloudError(f"INVALID_ARGUMENT: Service account {email} does not exist.")
    binding: dict[str, Any] = {"members": [member], "role": one(flags, "role")}
    condition = flags.get("condition", ["None"])[0]
    if condition != "None":
        expression, _, title = condition.removeprefix("expression=").rpartition(",title=")
        binding["condition"] = {"expression": expression, "title": title}
    if binding not in state["policies"].setdefault(of, []):
        state["policies"][of].append(binding)


def queue_settings(queue: Any, flags: Flags) -> None:
    """What create and update set, as the API shows it afterwards: what is unlimited is -1, or not there."""
    for flag, name in (("min-backoff", "minBackoff"), ("max-backoff", "maxBackoff")):
        if flag in flags:
            queue["retryConfig"][name] = one(flags, flag)
    if "max-attempts" in flags:
        queue["retryConfig"]["maxAttempts"] = -1 if one(flags, "max-attempts") == "unlimited" else int(one(flags, "max-attempts"))
    if "max-doublings" in flags:
        queue["retryConfig"]["maxDoublings"] = int(one(flags, "max-doublings"))
    if "max-retry-duration" in flags:
        queue["retryConfig"].pop("maxRetryDuration", None)
        if one(flags, "max-retry-duration") != "0s":
            queue["retryConfig"]["maxRetryDuration"] = one(flags, "max-retry-duration")
    if "max-concurrent-dispatches" in flags:
        queue["rateLimits"]["maxConcurrentDispatches"] = int(one(flags, "max-concurrent-dispatches"))
    if "routing-override" in flags:
        queue["appEngineRoutingOverride"] = dict(part.split(":") for part in one(flags, "routing-override").split(","))


def group_of(state: State, flags: Flags) -> str:
    """The full name of a collection group."""
    return f"projects/{state['id']}/databases/{one(flags, 'database')}/collectionGroups/{one(flags, 'collection-group')}"


def add_index(state: State, flags: Flags) -> None:
    """A composite index; one that exists is refused."""
    fields = []
    for config in flags["field-config"]:
        given = dict(part.split("=") for part in config.split(","))
        how = {"order": given["order"].upper()} if "order" in given else {"arrayConfig": given["array-config"].upper()}
        fields.append({"fieldPath": given["field-path"], **how})
    fields.append({"fieldPath": "__name__", "order": fields[-1].get("order", "ASCENDING")})
    group = group_of(state, flags)
    if any(each["fields"] == fields and each["name"].startswith(f"{group}/") for each in state["composite"]):
        raise GcloudError("ALREADY_EXISTS: index already exists")
    name = f"{group}/indexes/CICA{len(state['composite'])}"
    state["composite"].append({"name": name, "queryScope": one(flags, "query-scope").upper(), "fields": fields, "state": "CREATING"})


def field_of(state: State, path: str, flags: Flags) -> Any:
    """A field with its own indexes, as the API shows it."""
    orders = [each.partition("=")[2].upper() for each in flags.get("index", [])]
    indexes = [{"queryScope": "COLLECTION", "fields": [{"fieldPath": path, "order": order}], "state": "READY"} for order in orders]
    return {"name": f"{group_of(state, flags)}/fields/{path}", "indexConfig": {"indexes": indexes}}


def refuse_what_is_off(state: State, words: list[str]) -> None:
    """A service that is not enabled answers nothing, and what is denied is denied."""
    needed = "iam" if words[:2] == ["iam", "service-accounts"] else NEEDS.get(words[0])
    if needed and f"{needed}.googleapis.com" not in state["services"]:
        raise GcloudError(f"PERMISSION_DENIED: {needed} API has not been used in project 123 before or it is disabled. SERVICE_DISABLED")
    if " ".join(words).startswith(tuple(state["denied"])):
        raise GcloudError(f"({'.'.join(words)}) PERMISSION_DENIED: The caller does not have permission")


def parsed(arguments: list[str]) -> tuple[list[str], Flags]:
    """Words and flags."""
    flags: Flags = {}
    for each in arguments:
        if each.startswith("--"):
            name, _, value = each[2:].partition("=")
            flags.setdefault(name, []).append(value)
    return [each for each in arguments if not each.startswith("--")], flags


def perform(state: State, arguments: list[str]) -> str:
    """Do one command and give its standard output."""
    words, flags = parsed(arguments)
    state["log"].append(arguments)
    refuse_what_is_off(state, words)
    answer = asks(state, words, flags)
    if answer is not NotImplemented:
        return answer if isinstance(answer, str) else json.dumps(answer, indent=2)
    state["changes"] += 1
    stop: Callable[[str], bool] = lambda how: state["stop"] == [how, state["changes"]]  # noqa: E731 — one question, asked twice
    if stop("before"):
        raise GcloudError("the power went off, before")
    if not changes(state, words, flags):
        raise GcloudError(f"the stand-in knows no such command: {' '.join(arguments)}")
    if stop("after"):
        raise GcloudError("the power went off, after")
    return ""


def main() -> int:
    """Read the state, do the command, write the state."""
    file = Path(os.environ["LONGCALL_STANDIN"])  # noqa: TID251 — a program of its own
    state = json.loads(file.read_text())
    try:
        if said := perform(state, sys.argv[1:]):
            print(said)  # noqa: T201 — a program of its own
    except GcloudError as error:
        print(f"ERROR: {error}", file=sys.stderr)  # noqa: T201 — as above
        return 1
    finally:
        file.write_text(json.dumps(state))
    return 0


if __name__ == "__main__":
    sys.exit(main())
