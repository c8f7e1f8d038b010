// A line chart as SVG: one or several series over steps or seconds, values under the pointer (or the arrow keys), log scale,
// smoothing. Charts of one group show the same step.
import { h, replace, s, short } from "/page/dom.js";
import { t } from "/page/strings.js";

const kLeft = 46;
const kRight = 10;
const kTop = 10;
const kBottom = 24;
const kPointsMax = 500;

// Round numbers that cover [low, high]: at most six.
function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const out = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) out.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return out;
}

function logTicks(low, high) {
  const out = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); ++power) {
    for (const factor of high / low > 1000 ? [1] : [1, 2, 5]) {
      const value = factor * 10 ** power;
      if (value >= low && value <= high) out.push(value);
    }
  }
  return out.length > 1 ? out : [low, high];
}

// Exponential moving average without the pull of its start.
export function smoothed(values, share) {
  if (!(share > 0)) return values;
  let sum = 0;
  let weight = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = share * sum + (1 - share) * value;
    weight = share * weight + (1 - share);
    return sum / weight;
  });
}

function range(series, log) {
  let low = Infinity;
  let high = -Infinity;
  for (const { y } of series) {
    for (const value of y) {
      if (value === null || (log && value <= 0)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) return log ? [0.1, 1] : [0, 1];
  if (low === 0 && high === 0) return [0, 1];
  if (low === high) return log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
  const room = (high - low) * 0.04;
  return log ? [low, high] : [low >= 0 && low < (high - low) * 0.35 ? 0 : low - room, high + room];
}

// Every point, or the lowest and highest of each of many spans.
function thinned(x, y) {
  if (x.length <= kPointsMax) return x.map((_, i) => i);
  const out = [];
  const span = (x.length / kPointsMax) * 2;
  for (let from = 0; from < x.length; from += span) {
    const until = Math.min(x.length, Math.floor(from + span));
    let low = Math.floor(from);
    let high = low;
    for (let i = low; i < until; ++i) {
      if (y[i] === null) continue;
      if (y[low] === null || y[i] < y[low]) low = i;
      if (y[high] === null || y[i] > y[high]) high = i;
    }
    out.push(...(low < high ? [low, high] : low > high ? [high, low] : [low]));
  }
  return out;
}

export class Chart {
  // options: {title, unit, group: a Set of charts, format: of x}
  constructor(options) {
    this.options = options;
    this.value = h("span", { class: "value" });
    this.legend = h("div", { class: "legend" });
    this.svg = s("svg", { role: "img", tabindex: "0" });
    this.resize(340);
    this.element = h("figure", { class: "chart" }, h("figcaption", {}, h("b", {}, options.title), options.unit ? h("span", { class: "soft" }, options.unit) : null, this.value), this.svg, this.legend);
    this.series = [];
    options.group?.add(this);
    // Drawn anew at every width, so that its text is always as large as the page's.
    new ResizeObserver(() => {
      const width = Math.round(this.svg.getBoundingClientRect().width);
      if (width < 100 || width === this.width) return;
      this.resize(width);
      if (this.look) this.draw();
    }).observe(this.element);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.pointAll(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.svg.addEventListener("blur", () => this.pointAll(null));
  }

  resize(width) {
    this.width = width;
    this.height = Math.round(Math.min(210, Math.max(150, width * 0.52)));
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
  }

  // series: [{name, x, y, tone}]; look: {log, smooth}
  show(series, look = {}) {
    this.series = series.filter((one) => one.x.length > 0);
    this.look = look;
    this.draw();
  }

  draw() {
    const { series, look } = this;
    const lines = series.map((one) => ({ ...one, line: smoothed(one.y, look.smooth) }));
    const log = look.log && lines.some(({ y }) => y.some((value) => value > 0));
    const [low, high] = range(series, log);
    const from = Math.min(...series.map(({ x }) => x[0]));
    const until = Math.max(...series.map(({ x }) => x.at(-1)));
    this.xOf = (x) => kLeft + ((x - from) / (until - from || 1)) * (this.width - kLeft - kRight);
    const scale = log ? Math.log : (value) => value;
    this.yOf = (y) => kTop + (1 - (scale(Math.max(y, log ? low : -Infinity)) - scale(low)) / (scale(high) - scale(low))) * (this.height - kTop - kBottom);
    this.marks = s("g", {});
    const axis = log ? logTicks(low, high) : ticks(low, high);
    replace(this.svg, this.grid(axis), series.length ? this.steps(from, until) : null, lines.map((one) => this.line(one, look.smooth > 0 && lines.length === 1)), this.marks);
    this.svg.setAttribute("aria-label", this.summary());
    replace(this.legend, series.length > 1 ? series.map((one, i) => h("span", { class: `s${one.tone ?? (i % 7) + 1}` }, h("i", {}), one.name)) : []);
    this.mark(this.pointed ?? null);
  }

  grid(axis) {
    return axis.map((value) => {
      const y = this.yOf(value);
      return [s("line", { class: "grid", x1: kLeft, x2: this.width - kRight, y1: y, y2: y }), s("text", { x: kLeft - 6, y: y + 4, "text-anchor": "end" }, short(value))];
    });
  }

  steps(from, until) {
    const format = this.options.format ?? short;
    const between = until > from ? ticks(from, until).filter((x) => Math.min(x - from, until - x) > (until - from) * 0.18) : [];
    const ends = [format(from), format(until)];
    const label = (x, anchor) => s("text", { x: this.xOf(x), y: this.height - 6, "text-anchor": anchor }, format(x));
    return [label(from, "start"), between.filter((x) => !ends.includes(format(x))).map((x) => label(x, "middle")), ends[0] !== ends[1] ? label(until, "end") : null].flat();
  }

  line({ x, y, line, tone }, soft) {
    const kind = `s${tone ?? 1}`;
    const path = (values) => {
      let out = "";
      let pen = "M";
      for (const i of thinned(x, values)) {
        if (values[i] === null || values[i] === undefined) pen = "M";
        else {
          out += `${pen}${this.xOf(x[i]).toFixed(1)} ${this.yOf(values[i]).toFixed(1)}`;
          pen = "L";
        }
      }
      return out;
    };
    const lone = x.length === 1 && y[0] !== null ? s("circle", { class: kind, cx: this.xOf(x[0]), cy: this.yOf(y[0]), r: 3 }) : null;
    return s("g", { class: kind }, soft ? s("path", { class: "raw", d: path(y) }) : null, s("path", { class: "line", d: path(line) }), lone);
  }

  summary() {
    const { title } = this.options;
    const parts = this.series.map(({ name, x, y }) => {
      const values = y.filter((value) => value !== null);
      const span = `${t("lowest")} ${short(Math.min(...values))}, ${t("highest")} ${short(Math.max(...values))}, ${t("last")} ${short(values.at(-1))}`;
      return this.series.length > 1 ? `${name}: ${span}` : span;
    });
    return `${title}: ${parts.join("; ")}`;
  }

  point(event) {
    if (!this.series.length) return;
    const box = this.svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * this.width;
    const { x } = this.series[0];
    let best = 0;
    for (let i = 1; i < x.length; ++i) if (Math.abs(this.xOf(x[i]) - at) < Math.abs(this.xOf(x[best]) - at)) best = i;
    this.pointAll(x[best]);
  }

  key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !this.series.length) return;
    event.preventDefault();
    const { x } = this.series[0];
    const at = this.pointed === undefined || this.pointed === null ? x.length - 1 : x.indexOf(this.pointed) + by;
    this.pointAll(x[Math.max(0, Math.min(x.length - 1, at))]);
  }

  pointAll(x) {
    for (const chart of this.options.group ?? [this]) chart.mark(x);
  }

  mark(x) {
    this.pointed = x;
    const format = this.options.format ?? ((value) => `${t("step")} ${short(value)}`);
    if (x === null || !this.series.length) {
      replace(this.marks, []);
      const last = this.series.length === 1 ? this.series[0].y.findLast((value) => value !== null) : undefined;
      this.value.textContent = last === undefined ? "" : short(last);
      return;
    }
    const found = this.series.map((one, i) => ({ ...one, i, at: one.x.indexOf(x) })).filter(({ at, y }) => at >= 0 && y[at] !== null);
    const left = this.xOf(x);
    replace(this.marks, s("line", { class: "here", x1: left, x2: left, y1: kTop, y2: this.height - kBottom }), found.map(({ y, at, tone, i }) => s("circle", { class: `s${tone ?? (i % 7) + 1}`, cx: left, cy: this.yOf(y[at]), r: 3.5 })));
    const values = found.map(({ name, y, at }) => (this.series.length > 1 ? `${name} ${short(y[at])}` : short(y[at])));
    this.value.textContent = `${format(x)}: ${values.join(", ")}`;
  }
}
