// Predictions as elements. Everything is set as text: nothing of a prediction is ever read as HTML.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Asks for a prediction's explanation, as text; null where that is not allowed. */
let explain = null;
export const explainBy = (ask) => { explain = ask; };

const OWN = new Set(["age_ms", "stale", "fallback", "event_id", "provenance"]);
const TIMES = new Set(["occurred_at", "scored_at", "source_timestamp"]);
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const date = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });

const fields = (prediction, entity) => Object.entries(prediction).filter(([key]) => !OWN.has(key) && key !== entity);
const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isRecords = (value) => Array.isArray(value) && value.length > 0 && value.every(isRecord);
const words = (name) => name.replaceAll("_", " ");

export function number(value) {
  if (!Number.isFinite(value)) return "–";
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) < 10 ? 3 : 1);
}

function plain(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return number(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The few marks that stand in a row: a meter for a share, chips for the rest. */
function marks(prediction, entity) {
  const shown = [];
  for (const [key, value] of fields(prediction, entity)) {
    if (isRecords(value)) {
      for (const item of value.slice(0, 4)) {
        const text = Object.values(item).find((each) => typeof each === "string") ?? plain(Object.values(item)[0]);
        shown.push(element("span", { class: "chip" }, text));
      }
      if (value.length > 4) shown.push(element("span", { class: "hint" }, `+${value.length - 4}`));
    } else if (typeof value === "number" && value >= 0 && value <= 1) {
      shown.push(element("meter", { min: 0, max: 1, value, "aria-label": words(key) }));
      shown.push(element("span", { class: "chip" }, element("b", {}, number(value))));
    } else {
      const text = String(value).length > 3 && typeof value !== "number";
      shown.push(element("span", { class: text ? "chip" : "chip mark", title: words(key) }, plain(value)));
    }
  }
  if (prediction.stale) shown.push(element("span", { class: "chip note" }, "stale"));
  if (prediction.fallback) shown.push(element("span", { class: "chip note" }, "popular, no prediction"));
  return shown;
}

function list(pairs) {
  return element("dl", {}, ...pairs.flatMap(([key, value]) => [element("dt", {}, words(key)), element("dd", {}, value)]));
}

function table(key, items) {
  const columns = Object.keys(items[0]);
  const numeric = (column) => (typeof items[0][column] === "number" ? "number" : null);
  return element("section", {}, element("h3", {}, words(key)), element("table", {},
    element("thead", {}, element("tr", {},
      ...columns.map((column) => element("th", { scope: "col", class: numeric(column) }, words(column))))),
    element("tbody", {}, ...items.map((item) => element("tr", {},
      ...columns.map((column) => element("td", { class: numeric(column) }, plain(item[column]))))))));
}

/** What opens below a row: the prediction's fields, and where it comes from. */
function more(prediction, entity) {
  const own = fields(prediction, entity);
  const single = own.filter(([, value]) => !isRecords(value)).map(([key, value]) => [key, plain(value)]);
  const origin = Object.entries(prediction.provenance ?? {}).map(([key, value]) => [
    key, TIMES.has(key) ? `${date.format(value)} (${value})` : plain(value),
  ]);
  if (prediction.event_id) origin.unshift(["event_id", prediction.event_id]);
  return element("div", { class: "more" },
    single.length ? element("section", {}, element("h3", {}, "prediction"), list(single)) : null,
    ...own.filter(([, value]) => isRecords(value)).map(([key, value]) => table(key, value)),
    origin.length ? element("section", {}, element("h3", {}, "provenance"), list(origin)) : null,
    account(prediction));
}

/** A button that asks where a prediction comes from, and shows the answer in its place. */
function account(prediction) {
  const id = prediction.provenance?.prediction_id ?? prediction.prediction_id;
  if (!explain || !id) return null;
  const button = element("button", { type: "button", class: "quiet" }, "Where does it come from?");
  const shown = element("section", { class: "account", "aria-live": "polite" }, button);
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Reading the event, scoring it again …";
    try {
      shown.replaceChildren(element("pre", { tabindex: 0 }, await explain(id)));
      shown.firstElementChild.focus();
    } catch (error) {
      button.disabled = false;
      button.textContent = `${error.message} Ask again?`;
    }
  });
  return shown;
}

/** A prediction as a row that opens; its details are made when it is opened first. */
export function row(prediction, entity, open = false) {
  const at = prediction.provenance?.scored_at;
  const made = element("details", { open },
    element("summary", {},
      element("span", { class: "who", title: prediction[entity] }, prediction[entity]),
      element("span", { class: "what" }, ...marks(prediction, entity)),
      element("time", { class: "when", datetime: at ? new Date(at).toISOString() : null }, at ? clock.format(at) : "")));
  const fill = () => made.childElementCount < 2 && made.append(more(prediction, entity));
  if (open) fill();
  made.addEventListener("toggle", fill);
  return made;
}

/** A line with its area below, over a viewBox of 120 x 36. */
export function spark(svg, values) {
  const top = Math.max(...values.filter(Number.isFinite), 0) || 1;
  const points = values
    .map((value, at) => [(at / (values.length - 1)) * 120, Number.isFinite(value) ? 34 - (value / top) * 31 : null])
    .filter(([, y]) => y !== null);
  const line = points.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  const [area, path] = svg.querySelectorAll("path");
  path.setAttribute("d", line);
  area.setAttribute("d", points.length > 1 ? `${line}L${points.at(-1)[0].toFixed(1)} 36L${points[0][0].toFixed(1)} 36Z` : "");
}
