// The conversation on screen: its list, its messages, the composer; asking for answers and showing them as they come.
import { ask, events } from "/page/api.js";
import { button, copyText, count, download, duration, h, icon, iconButton, replace, say } from "/page/dom.js";
import { showMarkdown } from "/page/markdown.js";
import { lastSettings, requestOf, settingsPanel } from "/page/settings.js";
import * as store from "/page/store.js";
import { t } from "/page/strings.js";

const kRedrawMs = 50;
const kSaveMs = 1500;

let place;
let state = () => ({}); // what main.js knows of the server
let all = [];
let current = null;
let answering = null; // {controller, node, conversation}
let editing = null; // id of the message that is being changed
let settingsShown = false;
let parts = {};
let draft = "";

// ---- Which conversation

function begin() {
  const settings = current?.settings ?? lastSettings();
  current = store.fresh(settings, current?.nodes && Object.keys(current.nodes).length ? "" : (current?.system ?? ""));
  editing = null;
}

export async function mountChat(element, serverState) {
  place = element;
  state = serverState;
  all = await store.list();
  begin();
  draw();
}

export function relabelChat() {
  if (!place) return;
  draft = parts.input?.value ?? draft;
  draw();
}

// The server's state changed: what may be sent, what the defaults are.
export function updateChat() {
  if (!parts.send) return;
  drawSend();
  if (!Object.keys(current.nodes).length) drawMessages();
}

function choose(conversation) {
  if (conversation === current) return closeList();
  stop();
  current = conversation;
  editing = null;
  draw();
  closeList();
  parts.scroll.scrollTop = parts.scroll.scrollHeight;
}

async function saved(conversation) {
  if (!conversation.title) {
    const first = store.path(conversation)[0];
    conversation.title = (first?.content ?? "").trim().split("\n")[0].slice(0, 60);
  }
  if (!all.includes(conversation)) all.unshift(conversation);
  all.sort((a, b) => b.updated - a.updated);
  drawList();
  await store.put(conversation);
}

// ---- The list

function closeList() {
  place.classList.remove("list-open");
}

export function toggleList() {
  const open = place.classList.toggle("list-open");
  if (open) place.querySelector(".list button")?.focus();
}

function startNew() {
  stop();
  begin();
  draw();
  closeList();
  parts.input.focus();
}

function renameInPlace(conversation, row) {
  const input = h("input", { value: conversation.title, "aria-label": t("title") });
  const done = async (keep) => {
    if (keep && input.value.trim()) conversation.title = input.value.trim();
    await saved(conversation);
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) done(true);
    if (event.key === "Escape") done(false);
  });
  input.addEventListener("blur", () => done(true), { once: true });
  replace(row, input);
  input.select();
}

async function removeConversation(conversation) {
  if (!confirm(t("removeSure"))) return;
  if (conversation === current) stop();
  await store.remove(conversation.id);
  all = all.filter((other) => other !== conversation);
  if (conversation === current) startNew();
  drawList();
}

function listRow(conversation) {
  const chosen = conversation === current;
  const row = h("li", { class: chosen ? "chosen" : null });
  const name = h("button", { type: "button", class: "name", "aria-current": chosen ? "true" : null, onclick: () => choose(conversation) }, conversation.title || t("newChat"));
  const more = chosen && [
    iconButton("edit", "rename", () => renameInPlace(conversation, row)),
    iconButton("save", "save", () => download(`${conversation.title.replace(/[^\p{L}\p{N} _-]/gu, "").slice(0, 40) || "chat"}.md`, store.asMarkdown(conversation), "text/markdown")),
    iconButton("trash", "remove", () => removeConversation(conversation)),
  ];
  return replace(row, name, more || null), row;
}

function drawList() {
  if (!parts.list) return;
  const rows = all.length ? h("ul", {}, all.map(listRow)) : h("p", { class: "soft" }, t("noChats"));
  replace(parts.list, h("button", { type: "button", class: "new", onclick: startNew }, icon("plus"), t("newChat")), rows);
}

// ---- Messages

function versionSwitch(node) {
  const group = store.versions(current, node);
  if (group.length < 2) return null;
  const at = group.indexOf(node);
  const go = (to) => () => {
    if (answering) return;
    current.chosen[node.parent] = group[to].id;
    drawMessages();
    store.put(current);
  };
  return h(
    "span",
    { class: "versions" },
    iconButton("left", "earlier", go(at - 1), { disabled: at === 0 }),
    h("span", { "aria-label": t("version", { n: at + 1, all: group.length }) }, `${at + 1}/${group.length}`),
    iconButton("right", "later", go(at + 1), { disabled: at === group.length - 1 }),
  );
}

function statsOf(node) {
  if (!node.stats) return null;
  const { tokens, rate, first, prompt } = node.stats;
  const context = state().engine?.context_tokens;
  const used = context ? t("used", { n: count(prompt + tokens), all: count(context) }) : "";
  return h("span", { class: "stats", title: used }, t("stats", { n: count(tokens), rate: rate >= 100 ? count(Math.round(rate)) : rate.toFixed(1), first: duration(first) }));
}

function endOf(node) {
  if (node.finish === "stopped") return h("span", { class: "mark" }, t("stopped"));
  if (node.finish === "length") return h("span", { class: "mark" }, t("cutLength"));
  return null;
}

function actions(node) {
  const busy = answering?.node === node;
  if (busy) return h("div", { class: "actions" });
  return h(
    "div",
    { class: "actions" },
    versionSwitch(node),
    node.content ? iconButton("copy", "copy", () => copyText(node.content)) : null,
    node.role === "user" ? iconButton("edit", "edit", () => startEdit(node)) : null,
    node.role === "assistant" ? iconButton("again", "again", () => regenerate(node)) : null,
    endOf(node),
    statsOf(node),
  );
}

function thoughts(node) {
  const summary = h("summary", {}, thoughtsTitle(node));
  return h("details", { class: "think" }, summary, h("div", { class: "text" }, node.reasoning));
}

function thoughtsTitle(node) {
  if (answering?.node === node && !node.content && !node.calls?.length) return t("thinking");
  return node.thoughtFor !== undefined ? t("thought", { time: duration(node.thoughtFor) }) : t("thoughts");
}

function prettyArguments(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const callCard = (call) => h("div", { class: "call" }, h("div", { class: "head" }, icon("tool"), h("span", {}, t("call")), h("b", {}, call.name)), h("pre", { tabindex: "0" }, prettyArguments(call.arguments)));

// The last answer's calls wait for what the tools return.
function callAnswers(node) {
  const path = store.path(current);
  if (answering || path.at(-1) !== node || !node.calls?.length) return null;
  const areas = node.calls.map((call) => h("textarea", { rows: 2, "aria-label": `${t("callAnswer")}: ${call.name}`, placeholder: `${call.name}: ${t("callAnswer")}` }));
  const send = () => {
    let parent = node.id;
    node.calls.forEach((call, i) => (parent = store.add(current, parent, { role: "tool", content: areas[i].value, callId: call.id, name: call.name }).id));
    answer(parent);
  };
  return h("form", { class: "call-answers", onsubmit: (event) => (event.preventDefault(), send()) }, areas, h("button", { class: "main" }, t("callSend")));
}

function errorCard(node) {
  if (!node.error) return null;
  return h("div", { class: "failure", role: "alert" }, h("p", {}, node.error), button("retry", () => regenerate(node, true)));
}

function messageBody(node) {
  if (node.role !== "assistant") return h("div", { class: "text" }, node.content);
  const body = h("div", { class: "answer" });
  showMarkdown(body, node.content);
  return body;
}

function messageElement(node) {
  const who = node.role === "user" ? t("you") : node.role === "tool" ? `${t("toolResult")}: ${node.name}` : t("assistant");
  const element = h("article", { class: `message ${node.role}`, "aria-label": who, "data-id": node.id });
  if (editing === node.id) return replace(element, editForm(node));
  if (node.role === "tool") element.append(h("div", { class: "who" }, who));
  if (node.reasoning) element.append(thoughts(node));
  const pending = answering?.node === node && !node.content && !node.reasoning && !node.calls?.length;
  if (pending) element.append(h("div", { class: "dots", "aria-hidden": "true" }, h("i", {}), h("i", {}), h("i", {})));
  if (node.content) element.append(messageBody(node));
  for (const call of node.calls ?? []) element.append(callCard(call));
  element.append(...[callAnswers(node), errorCard(node)].filter(Boolean));
  if (node.role !== "tool") element.append(actions(node));
  return element;
}

function hello() {
  const model = state().engine?.model ?? "…";
  const tries = document.documentElement.lang === "ko" ? ["3과 4를 더하면?", "자기소개를 해 주세요.", "7 3 9 1을 작은 수부터 정렬해 줘."] : ["What is 17 + 25?", "Tell me about yourself.", "Sort 7 3 9 1, smallest first."];
  return h(
    "div",
    { class: "hello" },
    h("h1", {}, t("hello")),
    h("p", { class: "soft" }, t("helloMore", { model })),
    h("div", { class: "tries" }, tries.map((text) => h("button", { type: "button", onclick: () => send(text) }, text))),
  );
}

function drawMessages() {
  const nodes = store.path(current);
  parts.messages.setAttribute("aria-busy", answering ? "true" : "false");
  place.classList.toggle("empty", nodes.length === 0);
  replace(parts.messages, nodes.length ? nodes.map(messageElement) : hello());
}

// One message anew; thoughts that were unfolded stay so.
function redraw(node) {
  const old = parts.messages.querySelector(`[data-id="${node.id}"]`);
  if (!old) return drawMessages();
  const made = messageElement(node);
  if (old.querySelector(".think")?.open) made.querySelector(".think").open = true;
  old.replaceWith(made);
  parts.messages.setAttribute("aria-busy", "false");
}

// ---- Changing a message

function startEdit(node) {
  if (answering) return;
  editing = node.id;
  drawMessages();
  const area = parts.messages.querySelector(".edit textarea");
  fit(area);
  area.focus();
  area.setSelectionRange(area.value.length, area.value.length);
}

function editForm(node) {
  const area = h("textarea", { value: node.content, "aria-label": t("edit"), oninput: () => fit(area) });
  const cancel = () => {
    editing = null;
    drawMessages();
    parts.input.focus();
  };
  const done = () => {
    const text = area.value.trim();
    if (!text) return;
    editing = null;
    answer(store.add(current, node.parent, { role: "user", content: text }).id);
  };
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") cancel();
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      done();
    }
  });
  return h("form", { class: "edit", onsubmit: (event) => (event.preventDefault(), done()) }, area, h("div", { class: "row" }, button("cancel", cancel), h("button", { class: "main" }, t("sendEdit"))));
}

function regenerate(node, replaceIt) {
  if (answering) return;
  if (replaceIt) delete current.nodes[node.id];
  answer(node.parent);
}

// ---- Asking

function send(text) {
  if (answering || !text.trim()) return;
  const last = store.path(current).at(-1);
  draft = "";
  parts.input.value = "";
  fit(parts.input);
  answer(store.add(current, last?.id ?? store.kRoot, { role: "user", content: text.trim() }).id);
}

function stop() {
  answering?.controller.abort();
}

const atBottom = () => parts.scroll.scrollHeight - parts.scroll.scrollTop - parts.scroll.clientHeight < 60;
const toBottom = () => (parts.scroll.scrollTop = parts.scroll.scrollHeight);

// Draws what came since, at most every so many milliseconds, and more rarely where drawing takes long.
function painter(conversation, node) {
  let timer = 0;
  let pause = kRedrawMs;
  let spoken = 0;
  const speak = (whole) => {
    const end = whole ? node.content.length : Math.max(node.content.lastIndexOf(". "), node.content.lastIndexOf("\n"), node.content.lastIndexOf("。"));
    if (end > spoken) say(node.content.slice(spoken, end + 1));
    spoken = Math.max(spoken, end + 1);
  };
  const paint = () => {
    timer = 0;
    if (conversation !== current) return;
    const began = performance.now();
    const follow = atBottom();
    const element = parts.messages.querySelector(`[data-id="${node.id}"]`);
    if (element) update(element, node);
    if (follow) toBottom();
    speak(false);
    pause = Math.max(kRedrawMs, 4 * (performance.now() - began));
  };
  return {
    later: () => (timer ||= setTimeout(paint, pause)),
    end: () => {
      clearTimeout(timer);
      if (conversation === current) speak(true);
    },
  };
}

// A message that grows: its parts are kept, so that folded thoughts stay as they are.
function update(element, node) {
  element.querySelector(".dots")?.remove();
  if (node.reasoning) {
    if (!element.querySelector(".think")) element.prepend(thoughts(node));
    element.querySelector(".think summary").textContent = thoughtsTitle(node);
    element.querySelector(".think .text").textContent = node.reasoning;
  }
  if (node.content) {
    if (!element.querySelector(".answer")) element.insertBefore(h("div", { class: "answer" }), element.querySelector(".call, .actions"));
    showMarkdown(element.querySelector(".answer"), node.content);
  }
  const cards = (node.calls ?? []).map(callCard);
  element.querySelectorAll(".call").forEach((card) => card.remove());
  for (const card of cards) element.insertBefore(card, element.querySelector(".actions"));
}

function addCalls(node, deltas) {
  node.calls ??= [];
  for (const delta of deltas) {
    const call = (node.calls[delta.index ?? 0] ??= { id: "", name: "", arguments: "" });
    if (delta.id) call.id = delta.id;
    if (delta.function?.name) call.name += delta.function.name;
    if (delta.function?.arguments) call.arguments += delta.function.arguments;
  }
}

function addEvent(node, event, began) {
  const choice = event.choices?.[0];
  const delta = choice?.delta ?? {};
  const now = performance.now();
  const reasoning = delta.reasoning_content || delta.reasoning; // --reasoning-field
  if (reasoning) {
    node.thinkingSince ??= now;
    node.reasoning = (node.reasoning ?? "") + reasoning;
  }
  const settled = delta.content || delta.tool_calls;
  if (settled && node.thinkingSince !== undefined && node.thoughtFor === undefined) node.thoughtFor = (now - node.thinkingSince) / 1000;
  if (delta.content) node.content += delta.content;
  if (delta.tool_calls) addCalls(node, delta.tool_calls);
  if ((delta.content || reasoning || delta.tool_calls) && node.firstAfter === undefined) node.firstAfter = (now - began) / 1000;
  if (choice?.finish_reason) node.finish = choice.finish_reason;
  if (event.usage) addStats(node, event, (now - began) / 1000);
}

function addStats(node, { usage, timings }, seconds) {
  const tokens = usage.completion_tokens;
  const first = node.firstAfter ?? seconds;
  const rate = timings?.predicted_per_second ?? (tokens > 1 ? (tokens - 1) / Math.max(1e-6, seconds - first) : 0);
  node.stats = { tokens, prompt: usage.prompt_tokens, rate: Number.isFinite(rate) ? rate : 0, first };
}

async function stream(node, conversation, controller, show) {
  const body = { ...requestOf(conversation), messages: store.messages(conversation, node.parent), stream: true, stream_options: { include_usage: true } };
  const began = performance.now();
  let savedAt = began;
  const response = await ask("/v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal: controller.signal });
  for await (const event of events(response)) {
    addEvent(node, event, began);
    show();
    if (performance.now() - savedAt > kSaveMs) {
      savedAt = performance.now();
      store.put(conversation);
    }
  }
}

async function answer(parent) {
  const conversation = current;
  const node = store.add(conversation, parent, { role: "assistant" });
  const controller = new AbortController();
  answering = { controller, node, conversation };
  drawMessages();
  drawSend();
  toBottom();
  say(t("answering"));
  await saved(conversation);
  const paint = painter(conversation, node);
  try {
    await stream(node, conversation, controller, paint.later);
    if (!node.finish) node.error = t("broken");
  } catch (error) {
    if (controller.signal.aborted) node.finish = "stopped";
    else node.error = error.message || t("error");
  }
  paint.end();
  delete node.thinkingSince;
  delete node.firstAfter;
  answering = null;
  await saved(conversation);
  drawSend();
  if (conversation !== current) return;
  const follow = atBottom();
  redraw(node);
  if (follow) toBottom();
  say(t("answered"));
}

// ---- The composer

function fit(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight, window.innerHeight * 0.4)}px`;
}

function drawSend() {
  const ready = state().engine?.ready;
  const make = answering ? h("button", { type: "button", class: "round", "aria-label": t("stop"), title: t("stop"), onclick: stop }, icon("stop")) : h("button", { class: "round", "aria-label": t("send"), title: t("send"), disabled: !ready || !parts.input.value.trim() }, icon("send"));
  const focused = parts.send.contains(document.activeElement);
  replace(parts.send, make);
  if (focused) (make.disabled ? parts.input : make).focus();
}

function onKey(event) {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (state().engine?.ready) send(parts.input.value);
  }
  const last = store.path(current).findLast((node) => node.role === "user");
  if (event.key === "ArrowUp" && !parts.input.value && last) {
    event.preventDefault();
    startEdit(last);
  }
}

function thinkButton() {
  const next = { default: "on", on: "off", off: "default" };
  const word = () => `${t("think")}: ${t({ default: "thinkDefault", on: "thinkOn", off: "thinkOff" }[current.settings.thinking ?? "default"])}`;
  const out = h("button", { type: "button", class: "chip" }, word());
  out.addEventListener("click", () => {
    current.settings.thinking = next[current.settings.thinking ?? "default"];
    out.textContent = word();
    out.classList.toggle("on", current.settings.thinking === "on");
    settingsChanged();
    if (settingsShown) drawSettings();
  });
  out.classList.toggle("on", current.settings.thinking === "on");
  return out;
}

function composer() {
  parts.input = h("textarea", { rows: 1, placeholder: t("write"), "aria-label": t("write"), "aria-describedby": "write-hint", onkeydown: onKey, value: draft, oninput: () => (fit(parts.input), drawSend()) });
  parts.send = h("span", { class: "send" });
  parts.settingsButton = iconButton("sliders", "settings", () => showSettings(!settingsShown), { "aria-expanded": String(settingsShown) });
  return h(
    "form",
    { class: "composer", onsubmit: (event) => (event.preventDefault(), send(parts.input.value)) },
    h("div", { class: "box" }, parts.input, h("div", { class: "row" }, parts.settingsButton, thinkButton(), h("span", { class: "grow" }), parts.send)),
    h("p", { class: "hint", id: "write-hint" }, t("writeHint")),
  );
}

// ---- Settings

function settingsChanged() {
  lastSettings(current.settings);
  if (all.includes(current)) store.put(current);
}

function drawSettings() {
  place.classList.toggle("settings-open", settingsShown);
  parts.settingsButton.setAttribute("aria-expanded", String(settingsShown));
  if (!settingsShown) return replace(parts.settings);
  const changed = () => {
    settingsChanged();
    parts.settingsButton.nextSibling.replaceWith(thinkButton());
  };
  replace(parts.settings, settingsPanel(current, state().defaults, changed, () => showSettings(false)));
}

function showSettings(shown) {
  settingsShown = shown;
  drawSettings();
  (shown ? parts.settings.querySelector("textarea") : parts.settingsButton).focus();
}

// ---- All of it

function draw() {
  parts = {};
  parts.list = h("aside", { class: "list", "aria-label": t("conversations") });
  parts.messages = h("div", { class: "messages", role: "log", "aria-live": "off" });
  parts.scroll = h("div", { class: "scroll" }, parts.messages);
  parts.settings = h("aside", { class: "settings", "aria-label": t("settings") });
  const scrim = h("div", { class: "scrim", onclick: closeList });
  replace(place, parts.list, scrim, h("div", { class: "talk" }, parts.scroll, composer()), parts.settings);
  drawList();
  drawMessages();
  drawSend();
  drawSettings();
  fit(parts.input);
}

document.addEventListener("keydown", (event) => {
  if (!place || place.hidden) return;
  if (event.key === "Escape" && place.classList.contains("list-open")) return closeList();
  if (event.key === "Escape" && answering) stop();
  else if (event.key === "Escape" && settingsShown) showSettings(false);
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    parts.input.focus();
  }
});
