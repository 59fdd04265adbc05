// What a page gains by a script: the reader's own time zone, ages that tick, and the page as it is now without loading it again.
// Without it every page is whole.

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const GIVE_UP_AFTER = 30; // seconds between looks, at most, while the server is away

const main = document.getElementById("main");
const status = document.getElementById("live");
const zone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" }).formatToParts(new Date()).find((part) => part.type === "timeZoneName").value;
const today = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const anyDay = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

let ahead = 0; // milliseconds by which the server's clock is ahead of this one

function serverNow() {
  return Date.now() + ahead;
}

// As the server writes it: 80ms, 1.4s, 12s, 1m 05s, 2h 03m, 3d 04h. What ticks is never shorter than a second.
function span(seconds) {
  const whole = Math.max(Math.floor(seconds), 0);
  const two = (number) => String(number).padStart(2, "0");
  if (whole < MINUTE) return `${whole}s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)}m ${two(whole % MINUTE)}s`;
  if (whole < DAY) return `${Math.floor(whole / HOUR)}h ${two(Math.floor((whole % HOUR) / MINUTE))}m`;
  return `${Math.floor(whole / DAY)}d ${two(Math.floor((whole % DAY) / HOUR))}h`;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function tick(root) {
  const now = serverNow();
  for (const time of root.querySelectorAll("time[data-age], time[data-away]")) {
    const away = (now - Date.parse(time.dateTime)) / 1000;
    if ("age" in time.dataset) say(time, span(away));
    else say(time, away >= 0 ? `${span(away)} ago` : `in ${span(-away)}`);
  }
}

function localise(root) {
  const day = new Date(serverNow()).toDateString();
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    time.title = `${exact.format(at)}\n${time.dateTime}`;
    if ("moment" in time.dataset) say(time, (at.toDateString() === day ? today : anyDay).format(at));
  }
  for (const each of root.querySelectorAll("[data-zone]")) say(each, zone);
  tick(root);
}

// Fields of a date and a time: shown in the reader's zone, sent in UTC.
function localiseField(field) {
  if (field.dataset.utc === "done") return;
  field.dataset.utc = "done";
  if (field.value) {
    const at = new Date(`${field.value}Z`);
    field.value = new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
  }
}

document.addEventListener("formdata", (event) => {
  for (const field of event.target.querySelectorAll("input[data-utc]")) {
    if (field.value) event.formData.set(field.name, new Date(field.value).toISOString());
  }
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

// Make one tree like another, touching only what differs: focus, selection, scrolling and what was opened stay.
function become(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) if (!kept(old, name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (!kept(old, name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old.tagName !== "FORM") becomeChildren(old, fresh);
}

function kept(element, name) {
  return name === "open" && element.tagName === "DETAILS";
}

function becomeChildren(old, fresh) {
  const wanted = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    while (at && at.id && !wanted.has(at.id)) at = dropped(at);
    const match = next.id ? known.get(next.id) : at && !at.id && alike(at, next) ? at : undefined;
    if (!match) {
      old.insertBefore(next, at);
    } else if (match === at) {
      at = at.nextSibling;
      become(match, next);
    } else {
      old.insertBefore(match, at);
      become(match, next);
    }
  }
  while (at) at = dropped(at);
}

function dropped(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName;
}

function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
  if (!fresh) throw new Error("no page");
  ahead = Date.parse(fresh.dataset.now) - Date.now();
  localise(fresh);
  const focused = document.activeElement;
  become(main, fresh);
  document.title = main.dataset.title;
  if (focused && focused !== document.activeElement) (focused.isConnected ? focused : main).focus({ preventScroll: true });
}

let paused = false;
let failures = 0;
let timer;

async function look() {
  const asked = location.href;
  try {
    const answer = await fetch(asked, { headers: { "Longcall-Live": "1" }, redirect: "manual", cache: "no-store" });
    if (answer.type === "opaqueredirect" || answer.status === 401) return over("Logged out: load the page again", true);
    const text = await answer.text();
    if (paused || asked !== location.href) return;
    if (answer.status === 404) return over("This is not there any more", true);
    if (!answer.ok) throw new Error(String(answer.status));
    show(text);
    failures = 0;
    over("live", false);
  } catch {
    failures += 1;
    over("Out of reach, trying again; this is how it was", true);
  }
  wait();
}

function over(text, bad) {
  say(said, text);
  status.classList.toggle("bad", bad);
}

function wait() {
  clearTimeout(timer);
  const every = Number(main.dataset.live);
  if (every && !paused && !document.hidden) timer = setTimeout(look, 1000 * Math.min(every * 2 ** failures, Math.max(GIVE_UP_AFTER, every)));
}

const said = document.createElement("span");
const button = document.createElement("button");

function start() {
  ahead = Date.parse(main.dataset.now) - Date.now();
  localise(document);
  document.querySelectorAll("input[data-utc]").forEach(localiseField);
  setInterval(() => tick(document), 1000);
  if (!Number(main.dataset.live)) return;
  button.type = "button";
  button.className = "plain";
  say(button, "Pause");
  status.append(said, " ", button);
  over("live", false);
  button.addEventListener("click", () => {
    paused = !paused;
    say(button, paused ? "Go on" : "Pause");
    over(paused ? "paused" : "live", false);
    if (paused) clearTimeout(timer);
    else look();
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : paused || look()));
  wait();
}

start();
