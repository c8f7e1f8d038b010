// Markdown of a model, which nobody vouches for, as elements: marked's lexer finds the blocks, this file makes the elements, KaTeX
// the formulas. HTML in the text is shown as text; links lead to http, https and mailto alone; images are links.
import { coloured } from "/page/code.js";
import { copyText, h, icon } from "/page/dom.js";
import { t } from "/page/strings.js";

// Longer texts, and texts with longer lines, are shown as they are.
const kTextMax = 100000;
const kLineMax = 8000;
const kParagraphMax = 5000;
const kInlineMs = 500;
const kDepthMax = 40;

const kEntities = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", hellip: "…", mdash: "—", ndash: "–", times: "×", minus: "−", middot: "·", copy: "©" };

function plain(text) {
  return text.replace(/&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|(\w{2,8}));/g, (whole, decimal, hex, name) => {
    if (name) return kEntities[name] ?? whole;
    const code = decimal ? Number(decimal) : parseInt(hex, 16);
    return code > 0 && code < 0x110000 && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : "\ufffd";
  });
}

// ---- Formulas: $…$, $$…$$, \(…\), \[…\]
//
// Each is bounded in length, so that unclosed ones cost little however many there are.

const kMathBlock = /^(?:\$\$((?:[^$\\]|\\[^]|\$(?!\$)){1,4000}?)\$\$|\\\[((?:[^\\]|\\(?!\])[^]){1,4000}?)\\\])[ \t]*(?:\n|$)/;
const kMathInline = /^(?:\$\$((?:[^$\\]|\\[^]){1,2000}?)\$\$|\\\(((?:[^\\]|\\(?!\))[^]){1,2000}?)\\\)|\\\[((?:[^\\]|\\(?!\])[^]){1,2000}?)\\\]|\$(?![\s$])((?:[^$\\\n]|\\[^]){0,1000}?[^\s$\\]|[^\s$\\])\$(?![\d$]))/;

// Where a formula of its own begins behind a line break: the lexer cuts paragraphs there, and only there.
function blockStart(src) {
  const end = src.indexOf("\n\n");
  const text = end < 0 ? src : src.slice(0, end + 4100);
  for (const { index } of text.matchAll(/\n(?=\$\$|\\\[)/g)) {
    if (end >= 0 && index > end) return;
    if (kMathBlock.test(text.slice(index + 1, index + 4100))) return index + 1;
  }
}

const kMath = [
  {
    name: "mathBlock",
    level: "block",
    start: blockStart,
    tokenizer(text) {
      const match = kMathBlock.exec(text);
      if (match) return { type: "mathBlock", raw: match[0], formula: match[1] ?? match[2], display: true };
    },
  },
  {
    name: "mathInline",
    level: "inline",
    start: (text) => text.match(/\$|\\\(|\\\[/)?.index,
    tokenizer(text) {
      const match = kMathInline.exec(text);
      const lone = match ? null : /^\$+/.exec(text);
      if (lone) return { type: "text", raw: lone[0], text: lone[0] };
      if (!match) return;
      const display = match[1] ?? match[3];
      return { type: "mathInline", raw: match[0], formula: display ?? match[2] ?? match[4], display: display !== undefined };
    },
  },
];

let ready = false;

// Blocks first, then what is in them, as marked's own Lexer.lex() does; but a paragraph that is very long, and all that comes once
// time is up, stays plain: the lexer's time grows with the square of a paragraph's length where somebody wants it to.
function lexed(text) {
  if (!ready) marked.use({ extensions: kMath, gfm: true, breaks: true, mangle: false });
  ready = true;
  const lexer = new marked.Lexer();
  lexer.blockTokens(text.replace(/\r\n|\r/g, "\n"), lexer.tokens);
  const end = performance.now() + kInlineMs;
  for (let next; (next = lexer.inlineQueue.shift()); ) {
    if (next.src.length > kParagraphMax || performance.now() > end) next.tokens.push({ type: "text", raw: next.src });
    else lexer.inlineTokens(next.src, next.tokens);
  }
  return lexer.tokens;
}

function formula({ formula: tex, display, raw }) {
  const out = h("span", { class: display ? "math display" : "math" });
  try {
    katex.render(tex.trim(), out, { displayMode: display, throwOnError: true, strict: "ignore", trust: false, maxSize: 20, maxExpand: 300 });
    if (display) out.setAttribute("tabindex", "0");
  } catch {
    out.replaceChildren(h("code", {}, raw.trim()));
  }
  return out;
}

// ---- Inline

function safeAddress(address) {
  try {
    const url = new URL(address);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function link(token, children) {
  const address = safeAddress(plain(token.href));
  if (!address) return h("span", { title: token.href }, children);
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow", title: address }, children);
}

function codeSpan({ raw }) {
  const fence = /^`+/.exec(raw)[0].length;
  const inner = raw.slice(fence, -fence).replace(/\n/g, " ");
  return /^ .* $/.test(inner) && inner.trim() ? inner.slice(1, -1) : inner;
}

function inlineOne(token, depth) {
  switch (token.type) {
    case "text":
      return token.tokens ? inline(token.tokens, depth + 1) : plain(token.raw);
    case "escape":
      return token.raw.slice(1);
    case "strong":
    case "em":
    case "del":
      return h(token.type, {}, inline(token.tokens, depth + 1));
    case "codespan":
      return h("code", {}, codeSpan(token));
    case "br":
      return h("br", {});
    case "link":
      return link(token, inline(token.tokens, depth + 1));
    case "image":
      return link(token, `${t("image")}: ${plain(token.text || token.href)}`);
    case "mathInline":
      return formula(token);
    case "html":
      return /^<br\s*\/?>$/i.test(token.raw) ? h("br", {}) : token.raw;
    default:
      return token.raw;
  }
}

const inline = (tokens, depth) => (depth > kDepthMax ? tokens.map((token) => token.raw) : tokens.map((token) => inlineOne(token, depth)));

// ---- Blocks

function codeBlock({ text, lang }) {
  const language = (lang || "").trim().split(/\s/)[0].slice(0, 20);
  const copy = h("button", { type: "button", class: "plain", "aria-label": t("copy"), title: t("copy"), onclick: () => copyText(text) }, icon("copy"));
  return h("figure", { class: "code" }, h("figcaption", {}, h("span", {}, language), copy), h("pre", { tabindex: "0" }, coloured(text, language.toLowerCase())));
}

function table({ header, rows, align }, depth) {
  const cell = (tag) => (one, i) => h(tag, { class: align[i] ? `to-${align[i]}` : null, scope: tag === "th" ? "col" : null }, inline(one.tokens, depth + 1));
  return h(
    "div",
    { class: "wide", tabindex: "0" },
    h("table", {}, h("thead", {}, h("tr", {}, header.map(cell("th")))), h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell("td")))))),
  );
}

function item(one, depth) {
  const box = one.task ? h("input", { type: "checkbox", disabled: true, checked: one.checked }) : null;
  return h("li", { class: one.task ? "task" : null }, box, blocks(one.tokens, depth + 1));
}

function block(token, depth) {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return h(`h${Math.min(6, token.depth + 2)}`, {}, inline(token.tokens, depth + 1));
    case "paragraph":
      return h("p", {}, inline(token.tokens, depth + 1));
    case "text":
      return h("span", {}, token.tokens ? inline(token.tokens, depth + 1) : plain(token.raw));
    case "code":
      return codeBlock(token);
    case "blockquote":
      return h("blockquote", {}, blocks(token.tokens, depth + 1));
    case "list":
      return h(token.ordered ? "ol" : "ul", { start: token.ordered && token.start !== 1 ? token.start : null }, token.items.map((one) => item(one, depth)));
    case "table":
      return table(token, depth);
    case "hr":
      return h("hr", {});
    case "mathBlock":
      return h("p", {}, formula(token));
    default:
      return h("p", {}, token.raw.trim());
  }
}

const blocks = (tokens, depth) => (depth > kDepthMax ? [h("p", {}, tokens.map((token) => token.raw).join(""))] : tokens.map((token) => block(token, depth)));

const asItIs = (text) => [{ raw: text, element: h("p", { class: "raw" }, text) }];

// Shows `text` in `place`; blocks that have not changed since the last time keep their elements, so that a selection and an open
// scroll bar survive while an answer grows.
export function showMarkdown(place, text) {
  let made;
  const old = place.shown ?? [];
  try {
    if (text.length > kTextMax || text.split("\n").some((line) => line.length > kLineMax)) throw new RangeError("long");
    const tokens = lexed(text);
    made = tokens.map((token, i) => (old[i]?.raw === token.raw && old[i].type === token.type && i < tokens.length - 1 ? old[i] : { raw: token.raw, type: token.type, element: block(token, 0) }));
  } catch {
    made = asItIs(text);
  }
  const elements = made.map((one) => one.element).filter((element) => element !== null);
  let at = 0;
  while (at < elements.length && place.childNodes[at] === elements[at]) ++at;
  while (place.childNodes.length > at) place.lastChild.remove();
  place.append(...elements.slice(at));
  place.shown = made;
}
