"""The pages as they come from the server: whole without a script, harmless whatever stands in a task."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from longcall import __version__
from longcall.assembly import LaptopOptions, laptop
from longcall.core.attempt import Response
from longcall.core.task import State, StoredBody, Task
from longcall.testing import FakeBodies
from tests.engine.house import House
from tests.making import NOON, running
from tests.web import scenes
from tests.web.entrances import READ, WRITE
from tests.web.page import Page
from tests.web.stand import URL, browsing

NASTY = "/tasks/" + scenes.nasty(NOON).id
PATHS = ("/", "/tasks", NASTY, f"{NASTY}/retry", "/tasks/by-hand-17", "/tasks:retry", "/tasks:cancel", "/tasks/none", "/tasks/a/b/c")


def everything() -> list[Task]:
    """A store with a bit of all."""
    return [*scenes.many(NOON, 60), scenes.twelve(NOON), scenes.nasty(NOON), scenes.invalid(NOON), scenes.large(NOON), scenes.stopped(NOON)]


async def test_it_stands_in_every_stack(tmp_path: Path) -> None:
    """`longcall up` serves it: a task that was really called is shown, and run again from its page."""
    async with (
        laptop(LaptopOptions(0, 0, 0, tmp_path / "data")) as stack,
        httpx2.AsyncClient(base_url=stack.api_url) as http,
    ):
        asked = {"id": "t", "httpRequest": {"url": f"{stack.api_url}/nope", "httpMethod": "GET"}}
        assert (await http.post("/v1/tasks", json=asked)).status_code == 201
        assert (await http.get("/v1/tasks/t?wait=10s")).json()["state"] == "FAILED"
        shown = await page(http, "/tasks/t")
        assert "status 404 after" in shown.text
        assert f"Longcall {__version__}" in shown.one("footer").text
        again = (await page(http, "/tasks/t/retry")).fields("task")[0]
        assert (await http.post("/tasks/t/retry", data={"task": again}, headers={"Origin": stack.api_url})).status_code == 303
        view = (await http.get("/v1/tasks/t?wait=10s")).json()
    assert view["attemptCount"] == 2


async def page(http: httpx2.AsyncClient, path: str, status: int = 200) -> Page:
    """A page of HTML."""
    answer = await http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    return Page(answer.text)


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_can_run_nothing(path: str) -> None:
    """One script of ours, none inline, no style inline, no handler; and a policy under which nothing else would run."""
    async with browsing(House(), everything()) as http:
        answer = await http.get(path)
    policy = dict(part.split(maxsplit=1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "form-action")} == {"'self'"}
    assert "unsafe" not in answer.headers["content-security-policy"]
    found = Page(answer.text)
    assert [script.attributes["src"].partition("?")[0] for script in found.all("script")] == ["/static/live.js"]
    assert not found.all("style")
    assert not found.all("img")
    for element in found.elements:
        assert not {name for name in element.attributes if name == "style" or name.startswith("on")}, element


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_is_sound(path: str) -> None:
    """A language, a title, one heading of the first rank, one main part, a label for every field, names for what is drawn, no id twice."""
    async with browsing(House(), everything()) as http:
        found = Page((await http.get(path)).text)
    assert found.one("html").attributes["lang"] == "en"
    assert found.all("title")[0].text.strip() != "· Longcall"
    assert found.one("h1").text.strip()
    assert found.one("main").attributes["tabindex"] == "-1"
    ids = [element.attributes["id"] for element in found.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    labelled = {label.attributes["for"] for label in found.all("label")}
    for each in (*found.all("input"), *found.all("select")):
        assert each.attributes.get("type") == "hidden" or each.attributes["id"] in labelled
    for svg in found.all("svg"):
        assert svg.attributes.get("aria-label") or svg.attributes["aria-hidden"] == "true"
    for link in (*found.all("a"), *found.all("button")):
        assert link.text.strip(), link
    for table in found.all("table"):
        assert table.text.strip()
    for named in (element.attributes["aria-labelledby"] for element in found.elements if "aria-labelledby" in element.attributes):
        assert named in ids


async def test_what_strangers_wrote_is_text() -> None:
    """HTML in a label, a header, a body, an error, a runner's name and a URL is shown letter by letter, on every page that shows it."""
    async with browsing(House(), [scenes.nasty(NOON)]) as http:
        shown = await page(http, NASTY)
        listed = await page(http, "/tasks")
    assert shown.text.count(scenes.HOSTILE) >= 5
    assert "<script>alert(4)</script>" in shown.text
    assert "<b>hook</b>" in shown.text
    assert scenes.HOSTILE in listed.text
    assert not [each for each in (*shown.elements, *listed.elements) if each.tag in {"img", "b"}]


async def test_text_that_turns_others_around_is_made_visible() -> None:
    """A URL that a browser would show backwards is shown as it is sent."""
    async with browsing(House(), [scenes.nasty(NOON)]) as http:
        answer = await http.get(NASTY)
    assert "\u202e" not in answer.text
    assert "x=\\u202eevil" in answer.text
    assert "العربية" in answer.text


async def test_credentials_are_never_shown() -> None:
    """Not in a page, not in what was no valid task."""
    raw = b'{"httpRequest": {"headers": {"Authorization": "Bearer s3cret"}}, "x": 1}'
    async with browsing(House(), [*scenes.three(NOON), scenes.invalid(NOON, raw)]) as http:
        shown = {path: (await http.get(path)).text for path in ("/", "/tasks", "/tasks/train-1", "/tasks/by-hand-17")}
        assert not [path for path, text in shown.items() if "s3cret" in text]
        assert [path for path, text in shown.items() if "REDACTED" in text] == ["/tasks/train-1", "/tasks/by-hand-17"]
        assert (await http.get("/tasks/by-hand-17/request")).status_code == 404


async def test_nothing_yet_is_told_how_to_begin() -> None:
    """On the overview: commands with this server's own address, that can be pasted as they are."""
    async with browsing(House()) as http:
        found = await page(http, "/")
        listed = await page(http, "/tasks")
    assert "make a first call" in found.text
    assert f"longcall submit {URL}/healthz --method GET --wait --url {URL}" in found.text
    assert not found.all("ul", **{"class": "counts"})
    assert "There are no tasks yet" in listed.text


async def test_the_overview_says_what_there_is_to_know() -> None:
    """Counts that lead to their tasks, what runs, what failed and why, who is there to run it."""
    house = House()
    async with browsing(house, scenes.three(NOON, runner="r-1")) as http:
        found = await page(http, "/")
    assert "1 RUNNING" in found.text
    assert {"/tasks?state=RUNNING", "/tasks?state=FAILED", "/tasks?overdue=true", "/tasks/train-2", "/tasks/train-3/retry"} <= {
        *found.links
    }
    assert "attempt 1, for 3m 05s" in found.text
    assert "disconnected: the connection was reset; its only attempt is used" in found.text
    assert "r-1 good, beat 0ms ago" in found.text
    assert "silent" not in found.text
    assert "Of all 3 tasks that changed in the last 24 hours" in found.text
    assert "No runner" not in found.text


async def test_what_is_overdue_comes_with_the_command_that_helps() -> None:
    """On the overview, in the list and on the task itself."""
    late = scenes.made("late", NOON - timedelta(minutes=6))
    async with browsing(House(), [late]) as http:
        overview, listed, shown = [await page(http, path) for path in ("/", "/tasks?overdue=true", "/tasks/late")]
    assert "1 overdue." in overview.text
    assert "longcall requeue" in overview.text
    assert "overdue, attempt 1 was due 6m 00s ago" in listed.text
    assert "longcall requeue" in shown.text


async def test_nobody_there_to_call_is_said() -> None:
    """A silent runner is named, those that ended are counted, and the way to start one is shown."""
    house = House()
    async with browsing(house, [running("t", runner="r-1")]) as http:
        await house.clock.advance(40)
        found = await page(http, "/")
    assert "No runner has a good lease" in found.text
    assert "longcall runner" in found.text
    assert "its runner is silent" in found.text
    assert "silent, last heard of 40s ago" in found.text


@pytest.mark.parametrize("away", ["/", "/tasks", "/tasks/train"])
async def test_a_store_that_is_away_is_said_in_a_page(away: str) -> None:
    """503, with what is out of reach, and a way on."""
    house = House()
    async with browsing(house) as http:
        house.store.away = True
        house.store.page = house.store.counts = house.store.get  # type: ignore[method-assign,assignment] # away like everything else
        answer = await http.get(away)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "the store does not answer" in Page(answer.text).text


async def test_a_list_keeps_its_filter() -> None:
    """In its form, its chips, its pages and its actions; and shows only what fits it."""
    asked = "kind=call&state=FAILED&label=team:web&host=render.example.com&createdAfter=2026-11-01T00:00"
    async with browsing(House(), everything()) as http:
        found = await page(http, f"/tasks?{asked}")
    rows = [element.attributes["id"] for element in found.all("tr") if "id" in element.attributes]
    expected = [
        task for task in everything() if task.state is State.FAILED and "render.example.com" in str(task.spec) and "'web'" in str(task.spec)
    ]
    assert sorted(rows) == sorted(f"row-{task.id}" for task in expected) != []
    kept = "label=team%3Aweb&host=render.example.com&createdAfter=2026-11-01T00%3A00%3A00.000000Z"
    assert f"/tasks?state=WAITING&state=FAILED&{kept}" in found.links
    assert f"/tasks?{kept}" in found.links
    assert f"/tasks:retry?state=FAILED&{kept}" in found.links
    assert not [link for link in found.links if link.startswith("/tasks:cancel")]
    assert (found.fields("label"), found.fields("host"), found.fields("state")) == (["team:web"], ["render.example.com"], ["FAILED"])
    assert found.fields("createdAfter") == ["2026-11-01T00:00:00"]


async def test_a_list_has_pages() -> None:
    """Every task once, under the same filter."""
    seen: list[str] = []
    path = "/tasks?label=team:ml"
    async with browsing(House(), scenes.many(NOON, 160)) as http:
        while path:
            found = await page(http, path)
            seen += [element.attributes["id"] for element in found.all("tr") if "id" in element.attributes]
            path = next((link.attributes["href"] for link in found.all("a", rel="next")), "")
            assert not path or "label=team%3Aml" in path
    assert len(seen) == len(set(seen)) == 80


@pytest.mark.parametrize("query", ["state=DONE", "createdBefore=soon", "label=ml"])
async def test_a_filter_that_cannot_be_read_shows_nothing(query: str) -> None:
    """And nothing can be done to all that it would have shown."""
    async with browsing(House(), scenes.three(NOON)) as http:
        listed, bulk = await page(http, f"/tasks?{query}"), await page(http, f"/tasks:retry?{query}")
    for found in (listed, bulk):
        assert found.one("p", role="alert").text.strip().startswith(query.partition("=")[0])
        assert "train-" not in found.text
        assert not found.all("form", method="post")


async def test_a_token_of_no_page_is_said() -> None:
    """400, in a page."""
    async with browsing(House()) as http:
        assert "400" in (await page(http, "/tasks?pageToken=nonsense", 400)).text


async def test_a_task_tells_its_story() -> None:
    """Each attempt with its outcome, what it looks like, and whether the target may have run."""
    async with browsing(House(), [scenes.twelve(NOON)], project="my-project") as http:
        found = await page(http, "/tasks/nightly-import")
    assert len(found.all("svg", **{"class": "bars"})) == 12
    assert "disconnected after 4m 00s" in found.text
    assert "this looks like Azure's idle limit on the way" in found.text
    assert "The target was never reached" in found.text
    assert "idle, shown shorter than 5h 00m and 2h 55m" in found.text
    assert len(found.all("line", **{"class": "cut"})) == 3
    logs, trace = (next(link for link in found.links if part in link) for part in ("/logs/query", "/traces/explorer"))
    assert "operation.id%3D%22nightly-import%22" in logs
    assert "project=my-project" in logs
    assert "traceId=4bf92f3577b34da6a3ce929d0e0e4736?project=my-project" in trace


async def test_off_google_cloud_there_are_no_links_to_it() -> None:
    """The trace is text."""
    async with browsing(House(), scenes.three(NOON)) as http:
        found = await page(http, "/tasks/train-1")
    assert not [link for link in found.links if "google" in link]
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in found.text


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        (scenes.three(NOON)[2], "The target may have run: attempt 1 may have reached it"),
        (scenes.run(scenes.made("t", NOON), NOON, scenes.unreachable(NOON)), "Safe to run: no attempt has reached the target"),
        (scenes.invalid(NOON), "What came was no valid task"),
    ],
)
async def test_whether_it_can_be_run_again_is_answered(task: Task, answer: str) -> None:
    """Before anybody asks."""
    failed = replace(task, state=State.FAILED, failure=task.failure or scenes.three(NOON)[2].failure)
    async with browsing(House(), [failed]) as http:
        assert answer in (await page(http, f"/tasks/{task.id}")).text


async def test_bodies_are_pretty_raw_and_downloads() -> None:
    """JSON both ways, other text as it is, bytes as base64; a large one is only a download."""
    page_of = {"json": b'{"a":[1]}', "text": b"<b>busy</b>", "bytes": b"\xff\xfe"}
    tasks = [scenes.run(scenes.made(name, NOON), NOON, scenes.answered(NOON, body=body)) for name, body in page_of.items()]
    large = Response(200, {"content-type": "text/html"}, 5_000_000, "ab" * 32, location="responses/x")
    tasks.append(replace(tasks[0], id="large", response=large))
    async with browsing(House(), tasks) as http:
        found = {name: await page(http, f"/tasks/{name}") for name in (*page_of, "large")}
    assert found["json"].one("pre", id="response-pretty").text == '{\n  "a": [\n    1\n  ]\n}'
    assert '{"a":[1]}' in found["json"].one("details", id="response-raw").text
    assert found["text"].one("pre", id="response-text").text == "<b>busy</b>"
    assert found["bytes"].one("pre", id="response-text").text == "//4="
    assert "4.8 MiB lie in the body store" in found["large"].text
    for name, each in found.items():
        assert {f"/v1/tasks/{name}/response", f"/tasks/{name}/request"} <= {*each.links}


@pytest.mark.parametrize("stored", [False, True])
async def test_a_request_s_body_is_a_harmless_download(*, stored: bool) -> None:
    """From the record or from the store of bodies: an attachment that runs nowhere."""
    bodies = FakeBodies()
    house = House(bodies=bodies)
    task = scenes.made("t", NOON)
    if stored:
        spec = scenes.spec_of(task)
        task = replace(task, spec=replace(spec, request=replace(spec.request, body=StoredBody(13, "ab" * 32))))
        from longcall.engine.calls import body_key

        bodies.kept[body_key(task)] = b'{"epochs":40}'
    async with browsing(house, [task]) as http:
        answer = await http.get("/tasks/t/request")
        missing = await http.get("/tasks/none/request")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b'{"epochs":40}', "application/json")
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert missing.status_code == 404


async def test_a_callback_is_a_task_of_its_own() -> None:
    """The task leads to it, and it leads back; a list shows callbacks when asked."""
    house = House()
    async with browsing(house) as http:
        await house.submit("train", replace(scenes.spec_of(scenes.made("x", NOON)), callback=house.hook))
        runner = await house.runner()
        await house.deliver(runner, 1)
        (told,) = (put for put in house.queue.puts if put.name.endswith("-callback"))
        await runner.dispatcher.dispatch(house.visit_of(told.message))
        shown, callback = await page(http, "/tasks/train"), await page(http, "/tasks/train.callback-3")
        listed = await page(http, "/tasks?kind=callback")
    assert "/tasks/train.callback-3" in shown.links
    assert "/tasks/train" in callback.links
    assert listed.one("h1").text == "Callbacks"
    assert "/tasks/train.callback-3" in listed.links


async def test_an_open_page_asks_for_its_main_part_alone() -> None:
    """The same main part as the whole page has, and nothing around it."""
    async with browsing(House(), everything()) as http:
        for path in ("/", "/tasks?state=FAILED", "/tasks/nightly-import"):
            whole, part = (await http.get(path)).text, (await http.get(path, headers={"Longcall-Live": "1"})).text
            assert part.strip().startswith("<main")
            assert part.strip() in whole


async def test_pages_are_fetched_anew_as_long_as_something_can_change() -> None:
    """Every two seconds, of what has ended every ten; a page that asks before a change stays as it is."""
    async with browsing(House(), scenes.three(NOON)) as http:
        every = {
            path: (await page(http, path)).one("main").attributes["data-live"]
            for path in ("/", "/tasks", "/tasks/train-1", "/tasks/train-2", "/tasks/train-2/cancel")
        }
    assert every == {"/": "2", "/tasks": "2", "/tasks/train-1": "10", "/tasks/train-2": "2", "/tasks/train-2/cancel": "0"}


async def test_static_files_are_kept_for_ever_under_their_mark() -> None:
    """A URL with the mark never asks again, one without it gets 304 while nothing changed; there are no others. Nobody needs a token."""
    async with browsing(House(), tokens=True) as http:
        found = Page((await http.get("/", headers={"Authorization": f"Bearer {READ}"})).text)
        marked = await http.get(found.one("script").attributes["src"])
        plain = await http.get("/static/style.css")
        again = await http.get("/static/style.css", headers={"If-None-Match": plain.headers["etag"]})
        other = await http.get("/static/../login.html")
    assert (marked.status_code, marked.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert marked.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (plain.headers["cache-control"], plain.headers["content-type"]) == ("public, no-cache", "text/css; charset=utf-8")
    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code in {401, 404}


async def posted(http: httpx2.AsyncClient, path: str, **sent: str | Sequence[str]) -> httpx2.Response:
    """Send a form."""
    return await http.post(path, data=sent)


async def test_cancel_and_retry_are_asked_before_they_are_done() -> None:
    """The page says what will happen; its form does it and leads back to the task."""
    house = House()
    waiting = scenes.made("waiting", NOON, schedule_time=NOON + timedelta(hours=1))
    async with browsing(house, [*scenes.three(NOON), waiting]) as http:
        ask = await page(http, "/tasks/train-2/cancel")
        assert "The target may go on working" in ask.text
        done = await posted(http, "/tasks/train-2/cancel", task=ask.fields("task")[0])
        assert (done.status_code, done.headers["location"]) == (303, "/tasks/train-2?said=cancel")
        assert "Its runner was asked to close the call" in (await page(http, done.headers["location"])).text
        ask = await page(http, "/tasks/train-3/retry")
        assert "attempt 1 may have reached it" in ask.text
        done = await posted(http, "/tasks/train-3/retry", task=ask.fields("task")[0])
        assert "It was queued to run" in (await page(http, done.headers["location"])).text
    assert (await house.task("train-2")).cancel_request_time is not None
    assert (await house.task("train-3")).state is State.WAITING
    assert [put.message.task for put in house.queue.puts] == ["train-3"]  # type: ignore[union-attr] # it is a task's message


@pytest.mark.parametrize(("path", "says"), [("/tasks/train-1/cancel", "nothing to cancel"), ("/tasks/train-1/retry", "It has succeeded")])
async def test_what_cannot_be_done_is_not_offered(path: str, says: str) -> None:
    """The page says why; whoever sends the form all the same gets 409."""
    async with browsing(House(), scenes.three(NOON)) as http:
        ask = await page(http, path)
        refused = await posted(http, path, task="3 train-1")
    assert says in ask.text
    assert not ask.all("form", method="post")
    assert refused.status_code == 409
    assert "SUCCEEDED" in Page(refused.text).text


async def test_a_retry_is_for_what_was_seen() -> None:
    """A form sent twice runs a task once; an old page does not run again what has failed again since."""
    house = House()
    async with browsing(house, scenes.three(NOON)) as http:
        seen = (await page(http, "/tasks/train-3/retry")).fields("task")[0]
        assert (await posted(http, "/tasks/train-3/retry", task=seen)).status_code == 303
        twice = await posted(http, "/tasks/train-3/retry", task=seen)
    assert twice.status_code == 409
    assert "has changed since you looked: it is WAITING now" in Page(twice.text).text
    assert (await house.task("train-3")).version == 4


@pytest.mark.parametrize("task", ["", "train-3", "x train-3", "3 ", "3 train-1"])
async def test_a_form_that_is_not_ours_is_refused(task: str) -> None:
    """400: no version, no id, another task's."""
    async with browsing(House(), scenes.three(NOON)) as http:
        assert (await posted(http, "/tasks/train-3/retry", task=task)).status_code == 400


async def test_all_that_a_filter_shows_are_shown_before_anything_is_done() -> None:
    """How many and which; then exactly those, and what could not be done is named with its reason."""
    house = House()
    async with browsing(house, everything()) as http:
        ask = await page(http, "/tasks:retry?label=team:web")
        chosen = ask.fields("task")
        expected = [task.id for task in everything() if task.state in {State.FAILED, State.CANCELLED} and "'web'" in str(task.spec)]
        assert sorted(each.partition(" ")[2] for each in chosen) == sorted(expected)
        assert ask.one("h1").text == f"Retry {len(expected)} tasks?"
        await house.control.retry(expected[0])
        form = ask.one("form", method="post")
        done = Page((await posted(http, form.attributes["action"], task=chosen)).text)
    assert done.one("h1").text == f"{len(expected) - 1} queued to run, 1 not"
    assert f"{expected[0]}: task {expected[0]} has changed since you looked" in done.text
    assert "/tasks?label=team%3Aweb" in done.links
    assert {(await house.task(each)).state for each in expected} == {State.WAITING}


async def test_all_that_waits_can_be_cancelled() -> None:
    """And nothing else is touched."""
    house = House()
    async with browsing(house, everything()) as http:
        before = {task.id: task.version for task in everything()}
        ask = await page(http, "/tasks:cancel?state=WAITING&state=SUCCEEDED")
        await posted(http, "/tasks:cancel?state=WAITING", task=ask.fields("task"))
    for task in everything():
        now = await house.task(task.id)
        assert now.state is (State.CANCELLED if task.state is State.WAITING else task.state)
        assert now.version == before[task.id] + (task.state is State.WAITING)


async def test_what_waits_for_its_time_is_not_hurried_by_accident() -> None:
    """Retry of all means those that have ended, unless others were asked for by name."""
    async with browsing(House(), everything()) as http:
        all_of_them, named = await page(http, "/tasks:retry"), await page(http, "/tasks:retry?state=SCHEDULED")
    scheduled = {task.id for task in everything() if task.state is State.SCHEDULED}
    assert not scheduled & {each.partition(" ")[2] for each in all_of_them.fields("task")}
    assert {each.partition(" ")[2] for each in named.fields("task")} == scheduled


async def test_at_most_so_many_are_done_in_one_go() -> None:
    """The newest 500, and it is said that there are more; a longer form does no more either."""
    house = House()
    tasks = [scenes.made(f"t{number}", NOON - timedelta(seconds=number)) for number in range(510)]
    async with browsing(house, tasks) as http:
        ask = await page(http, "/tasks:cancel")
        assert "at most 500 are looked at in one go" in ask.text
        assert ask.fields("task") == [f"1 t{number}" for number in range(500)]
        done = Page((await posted(http, "/tasks:cancel", task=[f"1 t{number}" for number in range(510)])).text)
    assert done.one("h1").text == "500 cancelled"
    assert (await house.task("t509")).state is State.SCHEDULED


async def test_a_page_that_is_not_there_is_said() -> None:
    """404 and 405 as pages, with a way on."""
    async with browsing(House()) as http:
        assert "there is no task none" in (await page(http, "/tasks/none", 404)).text
        assert "There is no such page" in (await page(http, "/tasks/a/b/c", 404)).text
        answer = await http.post("/tasks/none")
    assert (answer.status_code, answer.headers["content-type"]) == (405, "text/html; charset=utf-8")


async def test_what_was_not_foreseen_tells_nothing() -> None:
    """500 with a sentence; the trouble itself goes to the log."""
    house = House()

    async def broken(_: object) -> None:
        raise RuntimeError("a secret")

    async with browsing(house) as http:
        house.store.page = broken  # type: ignore[method-assign,assignment] # a bug, as far as the page knows
        http._transport.raise_app_exceptions = False  # type: ignore[attr-defined] # noqa: SLF001 — as a server has it
        answer = await http.get("/tasks")
    assert answer.status_code == 500
    assert "a secret" not in answer.text
    assert "the log says what" in Page(answer.text).text


async def log_in(http: httpx2.AsyncClient, token: str) -> None:
    """Send the form of /login; the client keeps the session's cookies."""
    answer = await http.post("/login", data={"token": token}, headers={"Origin": URL})
    assert answer.status_code == 303


FORMS = ("/tasks/train-2/cancel", "/tasks/train-3/retry", "/tasks:cancel", "/tasks:retry")


@pytest.mark.parametrize("path", FORMS)
async def test_a_session_s_forms_carry_its_csrf_token(path: str) -> None:
    """In a field of every form; without it, with another, or from another site's page: 403, and nothing is done."""
    house = House()
    async with browsing(house, scenes.three(NOON), tokens=True) as http:
        await log_in(http, WRITE)
        ask = await page(http, path)
        (csrf, *_), task = set(ask.fields("csrf")), ask.fields("task")
        assert csrf == http.cookies["longcall-csrf"]
        before = [await house.task(f"train-{number}") for number in (1, 2, 3)]
        for sent, headers in (
            ({}, {}),
            ({"csrf": ""}, {}),
            ({"csrf": "0" * 64}, {}),
            ({"csrf": csrf}, {"Origin": "https://evil.example"}),
            ({"csrf": csrf}, {"Origin": "null"}),
        ):
            answer = await http.post(path, data={"task": task, **sent}, headers=headers)
            assert answer.status_code == 403, (sent, headers)
        assert [await house.task(f"train-{number}") for number in (1, 2, 3)] == before
        answer = await http.post(path, data={"task": task, "csrf": csrf}, headers={"Origin": URL})
        assert answer.status_code in {200, 303}
        assert [await house.task(f"train-{number}") for number in (1, 2, 3)] != before


async def test_every_form_of_the_dashboard_is_guarded() -> None:
    """Whatever takes a form looks for the token: the gate leaves that to it."""
    from longcall.web.dashboard import site  # the routes themselves, so that a new one is in this test
    from tests.web.stand import pages_of

    posts = [re.sub(r"{\w+}", "train-3", route.path) for route in site.make(pages_of(House())).routes if "POST" in (route.methods or ())]  # type: ignore[attr-defined] # they are Routes
    assert sorted(posts) == ["/tasks/train-3/cancel", "/tasks/train-3/retry", "/tasks:cancel", "/tasks:retry"]
    async with browsing(House(), scenes.three(NOON), tokens=True) as http:
        await log_in(http, WRITE)
        for path in posts:
            assert (await posted(http, path, task="3 train-3")).status_code == 403


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
async def test_where_nobody_is_asked_another_site_changes_nothing(path: str, origin: str) -> None:
    """A form on any page in a browser on this machine would reach us; it sends its own Origin."""
    house = House()
    async with browsing(house, scenes.three(NOON)) as http:
        answer = await http.post(path, data={"task": ["2 train-2", "3 train-3"]}, headers={"Origin": origin})
    assert answer.status_code == 403
    assert ((await house.task("train-2")).version, (await house.task("train-3")).version) == (2, 3)


async def test_who_may_only_read_sees_no_buttons() -> None:
    """And is refused whatever is sent all the same; the name and the right stand on the page."""
    house = House()
    async with browsing(house, scenes.three(NOON), tokens=True) as http:
        await log_in(http, READ)
        for path in ("/", "/tasks", "/tasks/train-2", "/tasks/train-3", "/tasks/train-3/retry", "/tasks:retry"):
            found = await page(http, path)
            assert "reader@example.com (may read)" in " ".join(found.one("p", **{"class": "who"}).text.split())
            assert not [link for link in found.links if "cancel" in link or "retry" in link]
            assert [form.attributes["action"] for form in found.all("form", method="post")] == ["/logout"]
        csrf = http.cookies["longcall-csrf"]
        for path in FORMS:
            assert (await posted(http, path, task="3 train-3", csrf=csrf)).status_code == 403


async def test_a_browser_logs_out_by_a_form() -> None:
    """With the token in a field; without it nothing happens."""
    async with browsing(House(), tokens=True) as http:
        await log_in(http, WRITE)
        found = await page(http, "/")
        assert (await posted(http, "/logout")).status_code == 403
        out = await posted(http, "/logout", csrf=found.fields("csrf")[0])
    assert (out.status_code, out.headers["location"]) == (303, "/login")
    assert "longcall-session" in out.headers["set-cookie"]


@pytest.mark.parametrize("path", ["/", "/tasks?state=FAILED", "/tasks/train-3"])
async def test_who_is_not_known_is_asked_to_log_in(path: str) -> None:
    """A person is sent to the form, a page that is open already is told 401."""
    async with browsing(House(), scenes.three(NOON), tokens=True) as http:
        person = await http.get(path, headers={"Accept": "text/html"})
        script = await http.get(path, headers={"Accept": "*/*", "Longcall-Live": "1"})
    assert (person.status_code, person.headers["location"]) == (303, "/login")
    assert script.status_code == 401


async def test_a_target_s_page_never_runs_here() -> None:
    """It is text on the task's page, and its download is an attachment in a sandbox."""
    async with browsing(House(), [scenes.nasty(NOON)]) as http:
        shown = await page(http, NASTY)
        download = await http.get(f"/v1{NASTY}/response")
    assert scenes.HOSTILE in shown.one("pre", id="response-text").text
    assert (download.headers["content-type"], download.headers["content-disposition"]) == ("text/html", "attachment")
    assert download.headers["content-security-policy"].startswith("sandbox;")
    assert download.headers["x-content-type-options"] == "nosniff"
