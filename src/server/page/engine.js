// The third tab: what the engine does now, the last minutes, latency, memory.
import { Chart } from "/page/chart.js";
import { bytes, count, duration, h, replace, short, when } from "/page/dom.js";
import { hasWord, t } from "/page/strings.js";

const kSeconds = 300;

let place = null;
let parts = {};
let latest = null;
let before = null; // {time, state}
let history = []; // {time, writing, reading, running, waiting}
let rates = { writing: 0, reading: 0, steps: 0, rows: 0 };

function measure(state) {
  const time = performance.now() / 1000;
  if (before && before.state.generator && time > before.time + 0.2) {
    const seconds = time - before.time;
    const of = (name) => Math.max(0, state.generator[name] - before.state.generator[name]);
    rates = { writing: of("new_tokens") / seconds, reading: of("prompt_tokens") / seconds, steps: of("steps") / seconds, rows: of("steps") ? of("rows") / of("steps") : 0 };
  }
  before = { time, state };
  history.push({ time, ...rates, running: state.generator.running, waiting: state.waiting });
  history = history.filter((one) => one.time > time - kSeconds);
}

// Every answer of the server about its engine comes here, whichever tab is open.
export function takeEngine(state) {
  latest = state;
  if (state.generator) measure(state);
  if (place && !place.hidden) draw();
}

function tile(name, value, more, share) {
  const bar = h("i", {});
  if (share !== undefined) bar.style.width = `${Math.max(0, Math.min(100, 100 * share))}%`;
  return h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, value), h("span", { class: "soft" }, more), share === undefined ? null : h("span", { class: "bar" }, bar));
}

const ratio = (part, whole) => (whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : "–");

function tiles() {
  const { generator: g } = latest;
  const drafting = latest.draft_tokens > 0;
  return [
    tile(t("batch"), count(g.running), t("sequences", { n: count(g.sequences_max) }), g.running / g.sequences_max),
    tile(t("queue"), count(latest.waiting), t("of", { n: count(latest.waiting_max) }), latest.waiting / Math.max(1, latest.waiting_max)),
    g.page_count ? tile(t("kv"), ratio(g.pages_used, g.page_count), t("kvShare", { n: count(g.pages_used), all: count(g.page_count) }), g.pages_used / g.page_count) : tile(t("kv"), "–", t("noPages")),
    tile(t("writing"), short(Math.round(rates.writing)), t("perSecond")),
    tile(t("reading"), short(Math.round(rates.reading)), t("perSecond")),
    tile(t("drafts"), drafting ? ratio(g.accepted, g.drafted) : "–", drafting ? t("kvShare", { n: count(g.accepted), all: count(g.drafted) }) : t("draftsOff")),
    tile(t("prefixes"), ratio(g.prefix_tokens, g.prefix_tokens + g.prompt_tokens), t("kvShare", { n: count(g.prefix_tokens), all: count(g.prefix_tokens + g.prompt_tokens) })),
    tile(t("steps"), `${short(Number(rates.steps.toFixed(1)))}/s`, t("rowsPerStep", { n: short(Number(rates.rows.toFixed(1))) })),
  ];
}

function drawCharts() {
  const now = history.at(-1).time;
  const x = history.map(({ time }) => Math.round((time - now) * 10) / 10);
  const column = (name) => history.map((one) => one[name]);
  parts.speed.show([
    { name: t("writing"), x, y: column("writing"), tone: 1 },
    { name: t("reading"), x, y: column("reading"), tone: 2 },
  ]);
  parts.load.show([
    { name: t("batch"), x, y: column("running"), tone: 1 },
    { name: t("queue"), x, y: column("waiting"), tone: 2 },
  ]);
}

function rows(head, body) {
  return h("div", { class: "wide" }, h("table", {}, head ? h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))) : null, h("tbody", {}, body.map(([name, ...cells]) => h("tr", {}, h("th", { scope: "row" }, name), cells.map((cell) => h("td", {}, cell)))))));
}

function latencyTable() {
  const of = (name) => {
    const one = latest.latency[name];
    const time = (value) => (one.count ? duration(value) : "–");
    return [t(name), time(one.p50), time(one.p90), time(one.p99), count(one.count)];
  };
  return rows(["", "p50", "p90", "p99", t("requests")], ["first_token", "between_tokens", "whole"].map(of));
}

function memoryTable() {
  const words = { copied: "copied_bytes" };
  const { memory } = latest;
  const list = Object.entries(memory ?? {}).filter(([, value]) => value > 0);
  const cell = ([name, value]) => {
    const bar = h("i", {});
    bar.style.width = `${(100 * value) / Math.max(memory.total, 1)}%`;
    return [t(words[name] ?? name), name === "machine" || name === "total" ? "" : h("span", { class: "bar" }, bar), bytes(value)];
  };
  return rows(null, list.map(cell));
}

function factTable() {
  const { facts, generator: g } = latest;
  const value = (one) => (typeof one === "number" ? count(one) : one);
  const list = [[t("modelColumn"), latest.model], [t("context"), count(latest.context_tokens)]];
  for (const [name, one] of Object.entries(facts ?? {})) list.push([hasWord(name) ? t(name) : name, value(one)]);
  for (const [name, one] of Object.entries(g.drafters ?? {})) {
    if (one.rounds) list.push([t(`${name}Drafts`), `${ratio(one.accepted, one.drafted)} (${t("kvShare", { n: count(one.accepted), all: count(one.drafted) })})`]);
  }
  list.push([t("preemptions"), count(g.preemptions)], [t("faults"), count(g.faults)], [t("refused"), count(latest.refused)], [t("connections"), count(latest.connections ?? 0)], [t("uptime"), when(latest.loaded)], ["Dure", latest.version]);
  return rows(null, list);
}

function draw() {
  if (!latest?.generator) {
    parts = {};
    return replace(place, h("p", { class: "nothing soft" }, t("noEngine")));
  }
  if (!parts.tiles) {
    const ago = (seconds) => (seconds === 0 ? t("now") : `${Math.round(seconds)} s`);
    parts = { tiles: h("dl", { class: "tiles" }), latency: h("div", {}), memory: h("div", {}), facts: h("div", {}) };
    const group = new Set();
    parts.speed = new Chart({ title: t("perSecond"), group, format: ago });
    parts.load = new Chart({ title: `${t("batch")}, ${t("queue")}`, group, format: ago });
    const card = (title, element) => h("section", { class: "card" }, h("h2", {}, title), element);
    replace(
      place,
      h("div", { class: "inner" }, h("h1", {}, t("engine")), parts.tiles, h("h2", {}, t("lastMinutes")), h("div", { class: "charts" }, parts.speed.element, parts.load.element), h("div", { class: "cards" }, card(t("latency"), parts.latency), card(t("memory"), parts.memory), card(t("facts"), parts.facts))),
    );
  }
  replace(parts.tiles, tiles());
  drawCharts();
  replace(parts.latency, latencyTable());
  replace(parts.memory, memoryTable());
  replace(parts.facts, factTable());
}

export function showEngine(element) {
  place = element;
  draw();
}

export function hideEngine() {}

export function relabelEngine() {
  parts = {};
  if (place) draw();
}
