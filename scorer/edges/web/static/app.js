// The page: which kinds there are, the live feed, its figures, and looking one up.
import { follow } from "./events.js";
import { element, explainBy, number, row, spark } from "./show.js";

const ROWS_MAX = 60;
const SECONDS = 120;
const SECONDS_MIN = 20;
const SHOW_EVERY_MS = 250;
const by = (id) => document.getElementById(id);
const store = { get: () => sessionStorage.getItem("token") ?? "", set: (value) => sessionStorage.setItem("token", value) };

let kinds = [];
let kind = null;
let following = null;
let paused = false;
let held = [];
let seconds = [];
let announced = 0;

const headers = () => (store.get() ? { Authorization: `Bearer ${store.get()}` } : {});

function say(state, text) {
  by("connection").dataset.state = state;
  if (by("connection-text").textContent !== text) by("connection-text").textContent = text;
}

async function begin() {
  following?.abort();
  let answer;
  try {
    answer = await fetch("/v1", { headers: headers(), cache: "no-store" });
  } catch {
    say("wait", "The gateway does not answer");
    setTimeout(begin, 3000);
    return;
  }
  by("access").hidden = answer.status !== 401;
  by("inside").hidden = answer.status === 401;
  by("forget").hidden = !store.get() || answer.status === 401;
  if (answer.status === 401) {
    say("bad", store.get() ? "The token is not valid" : "A token is needed");
    by("token").focus();
    return;
  }
  if (!answer.ok) {
    say("wait", `The gateway answers ${answer.status}`);
    setTimeout(begin, 3000);
    return;
  }
  const allowed = await answer.json();
  explainBy(allowed.explain ? account : null);
  kinds = allowed.kinds.filter((each) => each.one || each.all);
  if (!kinds.length) {
    say("bad", "This token may read nothing");
    return;
  }
  showKinds();
  choose(kinds.find((each) => each.name === location.hash.slice(1)) ?? kinds[0]);
}

async function account(id) {
  const answer = await fetch(`/v1/explain?as=text&id=${encodeURIComponent(id)}`, { headers: headers(), cache: "no-store" })
    .catch(() => { throw new Error("The gateway does not answer."); });
  if (!answer.ok) throw new Error(`${(await answer.json()).detail}.`);
  return answer.text();
}

function showKinds() {
  by("kinds").replaceChildren(...kinds.map((each) => {
    const tab = element("button", { type: "button", role: "tab", id: `tab-${each.name}`, "aria-controls": "feed" },
      each.name.replaceAll("-", " ").replace(/^./, (first) => first.toUpperCase()));
    tab.addEventListener("click", () => choose(each));
    return tab;
  }));
}

function choose(chosen) {
  kind = chosen;
  history.replaceState(null, "", `#${chosen.name}`);
  for (const tab of by("kinds").children) {
    const own = tab.id === `tab-${chosen.name}`;
    tab.setAttribute("aria-selected", own);
    tab.tabIndex = own ? 0 : -1;
  }
  by("entity-label").textContent = `Look up one ${chosen.entity.replaceAll("_", " ")}`;
  by("entity").value = "";
  by("found").replaceChildren();
  by("feed").replaceChildren();
  by("empty").hidden = false;
  held = [];
  seconds = [];
  following?.abort();
  if (!chosen.all) {
    say("bad", "This token reads single ids only");
    return;
  }
  following = new AbortController();
  const { signal } = following;
  follow(`/v1/${chosen.name}/stream?last=25`, headers(), { state: say, event: (name, data) => took(name, data, signal) },
    signal).then((status) => { if (status === 401) begin(); });
}

function took(name, data, signal) {
  if (signal.aborted) return;
  if (name === "gap") {
    held.push(element("li", { class: "hint" }, `Some are missing here: ${data.reason}.`));
  } else if (name === "erased") {
    const gone = String(data[kind.entity]);
    held = held.filter((each) => each.dataset.entity !== gone);
    for (const each of [...by("feed").children]) if (each.dataset.entity === gone) each.remove();
  } else {
    count(data);
    const item = element("li", { "data-entity": data[kind.entity], class: "fresh" }, row(data, kind.entity));
    held.push(item);
  }
  if (held.length > ROWS_MAX) held = held.slice(-ROWS_MAX);
}

function count(data) {
  const now = Math.floor(Date.now() / 1000);
  const from = data.provenance ?? {};
  const made = Math.min(now, Math.floor(from.scored_at / 1000)); // what is replayed at the start belongs to its own second
  if (!(made > now - SECONDS)) return;
  let second = seconds.find((each) => each.at === made);
  if (!second) {
    second = { at: made, count: 0, delays: [] };
    seconds.push(second);
  }
  second.count += 1;
  second.delays.push(Math.max(0, from.scored_at - from.source_timestamp));
  seconds = seconds.filter((each) => each.at > now - SECONDS);
}

function median(values) {
  if (!values.length) return NaN;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function showFigures() {
  const now = Math.floor(Date.now() / 1000);
  const lately = seconds.filter((each) => each.at >= now - 5 && each.at < now);
  const rate = lately.reduce((sum, each) => sum + each.count, 0) / 5;
  by("rate").textContent = rate ? rate.toFixed(rate < 10 ? 1 : 0) : "0";
  const places = new Map(seconds.map((each) => [each.at, each]));
  const known = now - Math.min(now, ...seconds.map((each) => each.at));
  const shown = Math.min(SECONDS, Math.max(SECONDS_MIN, known)); // a young page shows the little it knows, large
  const line = Array.from({ length: shown }, (_, at) => places.get(now - shown + at));
  spark(by("rate-line"), line.map((each) => each?.count ?? 0));
  spark(by("delay-line"), line.map((each) => (each ? median(each.delays) : NaN)));
  const delays = seconds.flatMap((each) => each.delays);
  by("delay").textContent = number(median(delays));
  const slow = [...delays].sort((a, b) => a - b)[Math.floor(delays.length * 0.99)];
  by("delay-note").textContent = delays.length ? `99 % within ${number(slow)} ms` : "nothing has come lately";
  const peak = Math.max(0, ...seconds.map((each) => each.count));
  by("rate-note").textContent = peak ? `at most ${peak}` : "nothing has come lately";
}

function showHeld() {
  if (paused || !held.length) return;
  const feed = by("feed");
  const busy = feed.querySelector("details[open], :focus-within");
  const first = feed.firstElementChild;
  const before = first?.getBoundingClientRect().top;
  feed.prepend(...held.reverse());
  held = [];
  while (feed.childElementCount > ROWS_MAX && feed.lastElementChild !== busy?.closest("li")) feed.lastElementChild.remove();
  by("empty").hidden = true;
  // What is being read stays where it is.
  if (busy && first && scrollY > 0) scrollBy(0, first.getBoundingClientRect().top - before);
  if (Date.now() - announced > 15_000) {
    announced = Date.now();
    by("said").textContent = `${feed.childElementCount} predictions shown, newest first`;
  }
}

by("access").addEventListener("submit", (event) => {
  event.preventDefault();
  store.set(by("token").value.trim());
  by("token").value = "";
  begin();
});

by("forget").addEventListener("click", () => {
  sessionStorage.removeItem("token");
  following?.abort();
  by("feed").replaceChildren();
  begin();
});

by("pause").addEventListener("click", () => {
  paused = !paused;
  by("pause").setAttribute("aria-pressed", paused);
  by("pause").textContent = paused ? "Paused – go on" : "Pause";
});

by("kinds").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step || kinds.length < 2) return;
  const next = kinds[(kinds.indexOf(kind) + step + kinds.length) % kinds.length];
  choose(next);
  by(`tab-${next.name}`).focus();
});

by("search").addEventListener("submit", async (event) => {
  event.preventDefault();
  const id = by("entity").value;
  const found = by("found");
  if (!id || !kind) return;
  try {
    const answer = await fetch(`/v1/${kind.name}/${encodeURIComponent(id)}`, { headers: headers(), cache: "no-store" });
    const body = await answer.json();
    found.replaceChildren(answer.ok
      ? row(body, kind.entity, true)
      : element("p", { class: "card problem" }, `${body.title}: ${body.detail}.`));
  } catch {
    found.replaceChildren(element("p", { class: "card problem" }, "The gateway does not answer."));
  }
});

setInterval(() => { showHeld(); showFigures(); }, SHOW_EVERY_MS);
begin();
