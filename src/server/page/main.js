// The frame: tabs, theme, language, the key, and what the server says of itself every now and then.
import { getJson, onKeyWanted } from "/page/api.js";
import { mountChat, relabelChat, toggleList, updateChat } from "/page/chat.js";
import { h, iconButton, replace } from "/page/dom.js";
import { hideEngine, relabelEngine, showEngine, takeEngine } from "/page/engine.js";
import { hideRuns, relabelRuns, showRuns } from "/page/runs.js";
import { language, setLanguage, t } from "/page/strings.js";

const kTabs = ["chat", "runs", "engine"];
const kPollMs = { chat: 10000, runs: 10000, engine: 1000, waiting: 1500 };

const known = { engine: null, defaults: null, offline: false };
const $ = (id) => document.getElementById(id);

// ---- Tabs, by the address behind '#'

const where = () => {
  const [tab, ...rest] = location.hash.slice(1).split("/");
  return { tab: kTabs.includes(tab) ? tab : "chat", rest: rest.map(decodeURIComponent) };
};

function drawTabs() {
  const { tab } = where();
  const make = (name) =>
    h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-selected": String(name === tab), "aria-controls": name, tabindex: name === tab ? "0" : "-1", onclick: () => (location.hash = name) }, t(name));
  replace($("tabs"), kTabs.map(make));
  $("tabs").setAttribute("aria-label", t("sections"));
}

$("tabs").addEventListener("keydown", (event) => {
  const at = kTabs.indexOf(where().tab);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: kTabs.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  location.hash = kTabs[(to + kTabs.length) % kTabs.length];
  requestAnimationFrame(() => $(`tab-${where().tab}`).focus());
});

function show() {
  const { tab, rest } = where();
  const focused = document.activeElement?.getAttribute("role") === "tab";
  drawTabs();
  for (const name of kTabs) $(name).hidden = name !== tab;
  document.body.dataset.tab = tab;
  hideRuns();
  hideEngine();
  if (tab === "runs") showRuns($("runs"), rest[0]);
  if (tab === "engine") showEngine($("engine"));
  if (focused) $(`tab-${tab}`).focus();
  drawTools();
  poll();
}

// ---- Theme and language

const kThemes = ["system", "light", "dark"];
const theme = () => document.documentElement.dataset.theme ?? "system";

function nextTheme() {
  const name = kThemes[(kThemes.indexOf(theme()) + 1) % kThemes.length];
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try {
    if (name === "system") localStorage.removeItem("dure.theme");
    else localStorage.setItem("dure.theme", name);
  } catch {
    // Storage is off: for this visit alone.
  }
  drawTools();
  $("theme").focus();
}

function nextLanguage() {
  setLanguage(language() === "ko" ? "en" : "ko");
  relabel();
  $("language").focus();
}

function drawTools() {
  const look = { system: ["system", "themeSystem"], light: ["sun", "themeLight"], dark: ["moon", "themeDark"] }[theme()];
  const list = iconButton("menu", "showList", toggleList, { id: "menu" });
  replace(
    $("tools"),
    iconButton(look[0], look[1], nextTheme, { id: "theme" }),
    h("button", { type: "button", class: "plain word", id: "language", lang: language() === "ko" ? "en" : "ko", "aria-label": t("language"), title: t("language"), onclick: nextLanguage }, language() === "ko" ? "EN" : "한"),
  );
  $("menu")?.remove();
  if (where().tab === "chat") $("top").prepend(list);
}

function relabel() {
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  drawTabs();
  drawTools();
  drawNotice();
  relabelChat();
  relabelRuns();
  relabelEngine();
}

// ---- The key

onKeyWanted(
  (refused) =>
    new Promise((resolve) => {
      const input = h("input", { type: "password", autocomplete: "off", id: "key-input", required: true });
      const dialog = h(
        "dialog",
        { class: "key", "aria-labelledby": "key-title" },
        h("form", { method: "dialog" }, h("h2", { id: "key-title" }, t("keyTitle")), refused ? h("p", { class: "wrong", role: "alert" }, t("keyWrong")) : null, h("label", { for: "key-input" }, t("key")), input, h("p", { class: "soft" }, t("keyHint")), h("button", { class: "main" }, t("keySend"))),
      );
      dialog.addEventListener("close", () => {
        dialog.remove();
        resolve(input.value);
      });
      dialog.addEventListener("cancel", (event) => event.preventDefault());
      document.body.append(dialog);
      dialog.showModal();
    }),
);

// ---- The server's state

function drawNotice() {
  const { engine, offline } = known;
  const text = offline ? t("offline") : engine?.draining ? t("draining") : engine && !engine.ready ? t("loading") : "";
  if ($("notice").textContent !== text) $("notice").textContent = text;
  $("notice").hidden = !text;
  replace($("model"), engine?.model ? [engine.model] : []);
  $("model").title = engine?.model ?? "";
}

let timer = 0;

async function look() {
  try {
    const was = known.engine?.ready;
    known.engine = await getJson("/dure/engine");
    known.offline = false;
    takeEngine(known.engine);
    if (known.engine.ready && !known.defaults) known.defaults = (await getJson("/props")).default_generation_settings.params;
    if (was !== known.engine.ready) updateChat();
  } catch (error) {
    known.offline = !error.status;
  }
  drawNotice();
}

async function poll() {
  clearTimeout(timer);
  await look();
  clearTimeout(timer);
  const pause = known.offline || !known.engine?.ready ? kPollMs.waiting : kPollMs[where().tab];
  timer = setTimeout(() => (document.hidden ? poll.later() : poll()), pause);
}
poll.later = () => document.addEventListener("visibilitychange", poll, { once: true });

addEventListener("hashchange", show);
await mountChat($("chat"), () => known);
relabel();
show();
if (where().tab === "chat" && matchMedia("(min-width: 760px)").matches) document.querySelector(".composer textarea")?.focus();
