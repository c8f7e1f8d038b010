// The second tab: the runs of this machine, one of them in full with live curves, rollouts and results.
import { getJson, hasKey } from "/page/api.js";
import { Chart } from "/page/chart.js";
import { count, duration, h, icon, replace, short, when } from "/page/dom.js";
import { hasWord, t } from "/page/strings.js";

const kListMs = 4000;
const kCurveMs = 2000;
const kPage = 10;
const kMain = ["reward", "loss", "eval_loss", "eval_bits_per_byte", "rewards", "eval_loss by language", "rewards/accuracies", "rewards/margins", "eval_rewards", "logps", "lengths", "entropy", "kl", "completions/mean_length", "grad_norm", "learning_rate", "frac_reward_zero_std", "mtp_loss", "tokens_per_second", "rollout_tokens_per_second"];
const kNotCurves = new Set(["step", "num_tokens"]);

let place = null;
let shown = false;
let chosen = null; // id
let list = [];
let problem = "";
let run = null; // the chosen run, as the server has it
let curves = null; // {columns: name -> {x, y}, next, charts, group}
let look = { smooth: 0.6, log: false };
let samples = { from: 0, task: "", right: "", page: null };
let results = null;
let timers = [];
let parts = {};

const word = (key) => (hasWord(key) ? t(key) : key);

// ---- The list

const stateMark = (state) => h("span", { class: `state ${state}` }, h("i", {}), word(state));

function headline(one) {
  const { summary, kind } = one;
  if (!summary) return "";
  if (kind === "eval") return (summary.models ?? []).map((model) => `${model.name} ${model.total ? `${((100 * model.right) / model.total).toFixed(1)} %` : model.score !== undefined ? `${(100 * model.score).toFixed(1)} %` : ""}`).join(" · ");
  if (kind === "rl" && summary.reward !== undefined) return `${t("reward")} ${short(summary.reward)}`;
  return summary.loss !== undefined ? `loss ${short(summary.loss)}` : "";
}

function progress(one) {
  if (!(one.steps > 0)) return null;
  const bar = h("i", {});
  bar.style.width = `${Math.min(100, (100 * one.step) / one.steps)}%`;
  return h("span", { class: "bar", role: "progressbar", "aria-valuenow": one.step, "aria-valuemax": one.steps, "aria-label": t("stepOf", { n: count(one.step), all: count(one.steps) }) }, bar);
}

function listRow(one) {
  return h(
    "li",
    { class: one.id === chosen ? "chosen" : null },
    h(
      "a",
      { href: `#runs/${one.id}`, "aria-current": one.id === chosen ? "page" : null },
      h("span", { class: "first" }, h("b", {}, one.name), stateMark(one.state)),
      h("span", { class: "soft" }, `${word(one.kind)} · ${when(one.started)}`),
      h("span", { class: "last" }, h("span", {}, headline(one)), one.steps > 0 ? h("span", { class: "soft" }, `${count(one.step)}/${count(one.steps)}`) : null),
      one.state === "running" ? progress(one) : null,
    ),
  );
}

function drawList() {
  if (!parts.list) return;
  const empty = h("div", { class: "nothing" }, h("h2", {}, problem || t("noRuns")), problem ? null : h("p", { class: "soft" }, t("noRunsMore")));
  const focused = parts.list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  replace(parts.list, list.length ? h("ul", {}, list.map(listRow)) : empty);
  if (focused) parts.list.querySelector(`[href="${focused}"]`)?.focus({ preventScroll: true });
}

async function loadList() {
  try {
    list = (await getJson("/dure/runs")).runs;
    problem = "";
  } catch (error) {
    list = [];
    problem = error.status === 404 ? t("runsHidden") : error.message;
  }
  drawList();
  // Unless another tab was opened while the list was on its way.
  if (location.hash === "#runs" && !chosen && matchMedia("(min-width: 900px)").matches && list.length) location.replace(`#runs/${list[0].id}`);
}

// ---- Curves

function take(rows) {
  for (const row of rows) {
    for (const [name, value] of Object.entries(row)) {
      if (kNotCurves.has(name) || (typeof value !== "number" && value !== null)) continue;
      const column = (curves.columns[name] ??= { x: [], y: [] });
      column.x.push(row.step);
      column.y.push(value);
    }
  }
}

// Which chart a column is drawn in, and as what.
function chartOf(name) {
  let match;
  if ((match = /^rewards\/(.+)\/mean$/.exec(name))) return ["rewards", match[1]];
  if ((match = /^((?:eval_)?(?:rewards|logps|lengths))\/(chosen|rejected)$/.exec(name))) return [match[1], match[2]];
  if ((match = /^(eval_)?(rewards\/(?:accuracies|margins))$/.exec(name))) return [match[2], match[1] ? "eval" : "train"];
  if ((match = /^(.+)\/(\d+)$/.exec(name))) return [match[1], match[2]];
  if ((match = /^eval_loss_(.+)$/.exec(name))) return ["eval_loss by language", match[1]];
  return [name, name];
}

function grouped() {
  const out = new Map();
  for (const [name, column] of Object.entries(curves.columns)) {
    if (!column.y.some((value) => value !== null)) continue;
    const [chart, series] = chartOf(name);
    if (!out.has(chart)) out.set(chart, []);
    out.get(chart).push({ name: series, ...column });
  }
  return out;
}

function drawCurves() {
  for (const [title, series] of grouped()) {
    let chart = curves.charts.get(title);
    if (!chart) {
      chart = new Chart({ title, group: curves.group });
      curves.charts.set(title, chart);
      placeChart(title, chart);
    }
    const toned = series.map((one, i) => ({ ...one, tone: series.length > 1 ? (i % 7) + 1 : 1 }));
    const few = series[0].x.length < 8;
    chart.show(toned, { log: look.log, smooth: few ? 0 : look.smooth });
  }
  parts.more.hidden = parts.moreCharts.childElementCount === 0;
}

// In the order of kMain; the rest behind a fold.
function placeChart(title, chart) {
  const rank = kMain.indexOf(title);
  if (rank < 0) return parts.moreCharts.append(chart.element);
  chart.element.dataset.rank = rank;
  const after = [...parts.charts.children].find((element) => Number(element.dataset.rank) > rank);
  parts.charts.insertBefore(chart.element, after ?? null);
}

async function loadCurves() {
  const mine = curves;
  for (;;) {
    const answer = await getJson(`/dure/runs/${run.id}/metrics?offset=${curves.next}`);
    if (mine !== curves) return;
    if (answer.restarted) curves.columns = {};
    take(answer.rows);
    curves.next = answer.next;
    if (!answer.more) break;
  }
  drawCurves();
}

function curveTools() {
  const range = h("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: look.smooth, id: "smooth" });
  range.addEventListener("input", () => {
    look.smooth = Number(range.value);
    drawCurves();
  });
  const log = h("input", { type: "checkbox", checked: look.log, id: "log" });
  log.addEventListener("change", () => {
    look.log = log.checked;
    drawCurves();
  });
  return h("div", { class: "head" }, h("h2", {}, t("curves")), h("span", { class: "row" }, h("label", { for: "smooth" }, t("smooth")), range, h("label", { class: "check" }, log, t("logScale"))));
}

// ---- Rollouts

function turnsOf(sample) {
  return (sample.earlier ?? []).map((turn) => h("p", { class: "soft text" }, `${turn.prompt}\n→ ${turn.answer}`));
}

function sampleCard(sample) {
  const right = sample.reward >= 0.5;
  return h(
    "article",
    { class: right ? "sample" : "sample wrong" },
    h("header", {}, h("span", { class: "badge" }, icon(right ? "check" : "close"), `${t("reward")} ${short(sample.reward)}`), h("span", { class: "soft" }, `${t("step")} ${count(sample.step)} · ${sample.task} · ${sample.language}`)),
    turnsOf(sample),
    h("p", { class: "ask text" }, sample.prompt),
    sample.thinking ? h("details", { class: "think" }, h("summary", {}, t("thoughts")), h("div", { class: "text" }, sample.thinking)) : null,
    h("p", { class: "text said" }, sample.content || "∅"),
    right ? null : h("p", { class: "soft" }, `${t("expected")}: ${sample.expected}`),
  );
}

async function loadSamples() {
  const mine = run;
  const query = new URLSearchParams({ from: samples.from, count: kPage, task: samples.task, right: samples.right });
  const page = await getJson(`/dure/runs/${run.id}/samples?${query}`);
  if (mine !== run) return;
  const before = JSON.stringify(samples.page);
  samples.page = page;
  if (JSON.stringify(page) !== before) drawSamples();
}

const change = (values) => () => {
  Object.assign(samples, { from: 0 }, values());
  loadSamples();
};

function select(label, choices, value, onchange) {
  const out = h("select", { "aria-label": label }, choices.map(([name, text]) => h("option", { value: name, selected: name === value }, text)));
  out.addEventListener("change", onchange(out));
  return out;
}

function drawSamples() {
  const { page } = samples;
  if (!page || !parts.samples) return;
  parts.samples.hidden = !page.tasks.length;
  const task = select(t("allTasks"), [["", t("allTasks")], ...page.tasks.map((name) => [name, name])], samples.task, (box) => change(() => ({ task: box.value })));
  const right = select(t("anyReward"), [["", t("anyReward")], ["1", t("right")], ["0", t("wrong")]], samples.right, (box) => change(() => ({ right: box.value })));
  const go = (from) => () => {
    samples.from = from;
    loadSamples();
  };
  const last = Math.min(page.total, page.from + kPage);
  replace(
    parts.samples,
    h("div", { class: "head" }, h("h2", {}, t("rollouts"), " ", h("small", { class: "soft" }, t("answers", { n: count(page.total) }))), h("span", { class: "row" }, task, right)),
    h("div", { class: "samples" }, page.rows.map(sampleCard)),
    h(
      "div",
      { class: "row pages" },
      h("button", { type: "button", disabled: page.from === 0, onclick: go(Math.max(0, page.from - kPage)) }, t("newer")),
      h("span", { class: "soft" }, `${count(page.total ? page.from + 1 : 0)}–${count(last)} / ${count(page.total)}`),
      h("button", { type: "button", disabled: last >= page.total, onclick: go(page.from + kPage) }, t("older")),
    ),
  );
}

// ---- Results of an evaluation

const share = (right, total) => {
  const cell = h("td", { class: "share", title: `${right}/${total}` }, total ? ((100 * right) / total).toFixed(1) : "–");
  cell.style.setProperty("--share", total ? right / total : 0);
  return cell;
};

function table(head, rows) {
  return h("div", { class: "wide", tabindex: "0" }, h("table", {}, h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, rows.map(([name, ...cells]) => h("tr", {}, h("th", { scope: "row" }, name), cells)))));
}

const settingName = ({ turns, thinking }) => `${t("turns", { n: turns })}, ${t(thinking ? "thinkingOn" : "thinkingOff")}`;

function taskTable() {
  const first = results.find(({ settings }) => settings?.length)?.settings[0];
  if (!first) return null;
  const sums = results.map(({ exact_match: cells }) => {
    const out = {};
    for (const cell of cells ?? []) {
      if (cell.turns !== first.turns || cell.thinking !== first.thinking) continue;
      out[cell.task] ??= [0, 0];
      out[cell.task][0] += cell.right;
      out[cell.task][1] += cell.total;
    }
    return out;
  });
  const tasks = [...new Set(sums.flatMap((one) => Object.keys(one)))];
  if (!tasks.length) return null;
  return table([settingName(first), ...results.map(({ name }) => name)], tasks.map((task) => [task, ...sums.map((one) => (one[task] ? share(...one[task]) : h("td", {}, "–")))]));
}

// Of a suite of tasks: a row a task, a column a model.
function suiteTable() {
  const rows = new Map();
  for (const { tasks } of results) for (const { task, title } of tasks ?? []) rows.set(task, title ?? task);
  if (!rows.size) return null;
  const cell = ({ tasks }, name) => {
    const task = tasks?.find((one) => one.task === name);
    if (!task?.score) return h("td", {}, "–");
    const { value, low, high } = task.score;
    const out = h("td", { class: "share", title: `${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)} %` }, (100 * value).toFixed(1));
    out.style.setProperty("--share", value);
    return out;
  };
  return table(["%", ...results.map(({ name }) => name)], [...rows].map(([name, title]) => [title, ...results.map((one) => cell(one, name))]));
}

async function openReport(event) {
  if (!hasKey()) return;
  event.preventDefault();
  const path = `/dure/runs/${run.id}/report`;
  const { ticket } = await getJson(`${path}-ticket`);
  window.open(`${path}?ticket=${ticket}`, "_blank", "noopener,noreferrer");
}

const reportLink = () => h("p", {}, h("a", { href: `/dure/runs/${run.id}/report`, target: "_blank", rel: "noopener noreferrer", onclick: openReport }, t("report")));

function drawResults() {
  if (!results || !parts.results) return;
  const settings = results.find(({ settings }) => settings?.length)?.settings ?? [];
  const bits = results.find(({ bits_per_byte: list }) => list?.length)?.bits_per_byte ?? [];
  const ofLanguage = (one, language) => one.bits_per_byte?.find((cell) => cell.language === language)?.bits_per_byte;
  replace(
    parts.results,
    h("h2", {}, t("results")),
    reportLink(),
    suiteTable(),
    settings.length ? table([t("modelColumn"), ...settings.map(settingName)], results.map((one) => [one.name, ...settings.map((_, i) => share(one.settings?.[i]?.right ?? 0, one.settings?.[i]?.total ?? 0))])) : null,
    taskTable(),
    bits.length ? table([t("bitsPerByte"), ...bits.map(({ language }) => language)], results.map((one) => [one.name, ...bits.map(({ language }) => h("td", {}, short(ofLanguage(one, language))))])) : null,
  );
}

async function loadResults() {
  const mine = run;
  const answer = await getJson(`/dure/runs/${run.id}/results`);
  if (mine !== run) return;
  results = answer.results ?? [];
  drawResults();
}

// ---- One run

function fact(name, value) {
  return value ? h("div", {}, h("dt", {}, name), h("dd", {}, value)) : null;
}

function drawHead() {
  const ended = run.ended ?? Date.now() / 1000;
  replace(
    parts.head,
    h("a", { class: "back", href: "#runs" }, icon("left"), t("back")),
    h("div", { class: "head" }, h("h1", {}, run.name), stateMark(run.state)),
    progress(run),
    run.message ? h("p", { class: "failure" }, run.message) : null,
    h(
      "dl",
      { class: "facts" },
      fact(t("kind"), word(run.kind)),
      run.steps > 0 ? fact(t("step"), `${count(run.step)} / ${count(run.steps)}`) : null,
      fact(t("begun"), when(run.started)),
      ended > run.started ? fact(t("took"), duration(ended - run.started)) : null,
      fact(t("folder"), run.path),
      fact(t("host"), run.host),
    ),
  );
}

function drawRun() {
  if (!run) return replace(parts.detail, h("p", { class: "nothing soft" }, t("pickRun")));
  parts.head = h("div", {});
  parts.charts = h("div", { class: "charts" });
  parts.moreCharts = h("div", { class: "charts" });
  parts.more = h("details", { class: "more", hidden: true }, h("summary", {}, t("moreCurves")), parts.moreCharts);
  parts.samples = h("section", { hidden: true });
  parts.results = h("section", {});
  const isEval = run.kind === "eval";
  replace(parts.detail, parts.head, isEval ? parts.results : [curveTools(), parts.charts, parts.more, parts.samples], h("details", { class: "more" }, h("summary", {}, t("config")), h("pre", { tabindex: "0" }, JSON.stringify(run.config, null, 2))));
  drawHead();
  if (isEval) drawResults();
  else {
    curves.charts = new Map();
    curves.group = new Set();
    drawCurves();
    drawSamples();
  }
}

async function loadRun(again) {
  const id = chosen;
  try {
    const answer = await getJson(`/dure/runs/${id}`);
    if (id !== chosen) return;
    run = answer;
  } catch (error) {
    run = null;
    return replace(parts.detail, h("p", { class: "nothing" }, error.message));
  }
  if (again) drawHead();
  else {
    curves = { columns: {}, next: 0, charts: new Map(), group: new Set() };
    samples = { from: 0, task: "", right: "", page: null };
    results = null;
    drawRun();
    parts.detail.scrollTop = 0;
  }
  if (run.kind === "eval") return results ? null : loadResults();
  await loadCurves();
  if (run.kind === "rl") await loadSamples();
}

// ---- The tab

function every(ms, act) {
  const go = async () => {
    if (!document.hidden) await act().catch(() => {});
    if (shown && timers.includes(handle)) handle.id = setTimeout(go, ms);
  };
  const handle = { id: setTimeout(go, ms) };
  timers.push(handle);
}

function draw() {
  parts = { list: h("nav", { class: "run-list", "aria-label": t("runs") }), detail: h("div", { class: "run", tabindex: "-1" }) };
  replace(place, parts.list, parts.detail);
  place.classList.toggle("one", Boolean(chosen));
  drawList();
  drawRun();
}

export function showRuns(element, id) {
  place = element;
  shown = true;
  const changed = chosen !== (id ?? null);
  chosen = id ?? null;
  if (changed) run = null;
  if (!parts.list) draw();
  place.classList.toggle("one", Boolean(chosen));
  drawList();
  if (!chosen) drawRun();
  loadList();
  every(kListMs, loadList);
  if (!chosen) return;
  loadRun(!changed && run !== null);
  every(kCurveMs, async () => {
    if (run?.state === "running") await loadRun(true);
  });
}

export function hideRuns() {
  shown = false;
  for (const handle of timers) clearTimeout(handle.id);
  timers = [];
}

export function relabelRuns() {
  if (place && parts.list) draw();
}
