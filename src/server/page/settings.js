// What is asked of the model beside the messages: system prompt, thinking, sampling, tools, form of the answer.
import { button, h, iconButton } from "/page/dom.js";
import { t } from "/page/strings.js";

// name, lowest, highest, step, of /props; an empty field leaves the choice to the server.
const kNumbers = [
  ["temperature", 0, 2, 0.1],
  ["top_p", 0.01, 1, 0.01],
  ["top_k", 0, 1000, 1],
  ["min_p", 0, 1, 0.01],
  ["repetition_penalty", 0.1, 2, 0.05],
  ["presence_penalty", -2, 2, 0.1],
  ["frequency_penalty", -2, 2, 0.1],
  ["max_tokens", 1, null, 1],
  ["thinking_token_budget", 0, null, 1],
  ["seed", 0, null, 1],
];
const kDefaults = { repetition_penalty: "repeat_penalty" };

let kept = null;

// Those of the last conversation, for the next one.
export function lastSettings(settings) {
  try {
    if (settings) localStorage.setItem("dure.settings", JSON.stringify(settings));
    else return JSON.parse(localStorage.getItem("dure.settings")) ?? {};
  } catch {
    if (settings) kept = { ...settings };
    else return kept ?? {};
  }
  return settings;
}

function parsed(text) {
  try {
    return text?.trim() ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

// The fields of a request.
export function requestOf({ settings }) {
  const more = parsed(settings.more);
  const out = more && typeof more === "object" && !Array.isArray(more) ? { ...more } : {};
  for (const [name] of kNumbers) {
    if (Number.isFinite(settings[name])) out[name] = settings[name];
  }
  const stops = (settings.stop ?? "").split("\n").filter((line) => line !== "");
  if (stops.length) out.stop = stops.slice(0, 4);
  if (settings.thinking === "on" || settings.thinking === "off") out.chat_template_kwargs = { enable_thinking: settings.thinking === "on" };
  const tools = parsed(settings.tools);
  if (Array.isArray(tools) && tools.length) out.tools = tools;
  const schema = parsed(settings.schema);
  if (schema) out.response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
  return out;
}

let next = 0;

function field(key, input, more) {
  const id = `setting-${++next}`;
  input.id = id;
  return h("div", { class: "field" }, h("label", { for: id }, t(key)), input, more);
}

function numberField([name, low, high, step], settings, defaults, changed) {
  const own = defaults?.[kDefaults[name] ?? name];
  const placeholder = own === undefined ? "" : String(Number(own.toPrecision(6)));
  const input = h("input", { type: "number", inputmode: "decimal", min: low, max: high, step, placeholder, value: settings[name] ?? "" });
  input.addEventListener("input", () => {
    const value = input.value === "" ? undefined : Number(input.value);
    const wrong = value !== undefined && (value < low || (high !== null && value > high) || (step === 1 && !Number.isInteger(value)));
    input.setAttribute("aria-invalid", String(wrong));
    if (wrong) return;
    if (value === undefined) delete settings[name];
    else settings[name] = value;
    changed();
  });
  return field(name, input);
}

function jsonField(key, name, settings, changed) {
  const wrong = h("p", { class: "wrong", role: "status" });
  const area = h("textarea", { rows: 4, spellcheck: "false", class: "mono", value: settings[name] ?? "" });
  const check = () => {
    wrong.textContent = "";
    try {
      if (area.value.trim()) JSON.parse(area.value);
    } catch (error) {
      wrong.textContent = t("badJson", { what: error.message });
    }
    area.setAttribute("aria-invalid", String(wrong.textContent !== ""));
  };
  area.addEventListener("input", () => {
    settings[name] = area.value;
    check();
    changed();
  });
  check();
  return field(key, area, wrong);
}

function thinkField(settings, changed) {
  const names = { default: "thinkDefault", on: "thinkOn", off: "thinkOff" };
  const chosen = settings.thinking ?? "default";
  const one = (name) =>
    h(
      "label",
      {},
      h("input", { type: "radio", name: "thinking", value: name, checked: chosen === name, onchange: () => ((settings.thinking = name), changed()) }),
      h("span", {}, t(names[name])),
    );
  return h("fieldset", { class: "choice" }, h("legend", {}, t("think")), Object.keys(names).map(one));
}

export function settingsPanel(conversation, defaults, changed, close) {
  const { settings } = conversation;
  const system = h("textarea", { rows: 4, value: conversation.system, placeholder: t("systemHint") });
  system.addEventListener("input", () => {
    conversation.system = system.value;
    changed();
  });
  const stops = h("textarea", { rows: 2, class: "mono", value: settings.stop ?? "" });
  stops.addEventListener("input", () => {
    settings.stop = stops.value;
    changed();
  });
  const panel = h("div", { class: "inner" });
  const fillPanel = () =>
    panel.replaceChildren(
      h("div", { class: "head" }, h("h2", {}, t("settings")), iconButton("close", "closeSettings", close)),
      field("system", system),
      thinkField(settings, changed),
      h("h3", {}, t("sampling")),
      h("div", { class: "numbers" }, kNumbers.map((one) => numberField(one, settings, defaults, changed))),
      field("stopStrings", stops),
      h("details", { open: Boolean(settings.tools || settings.schema || settings.more) }, h("summary", {}, t("advanced")), jsonField("tools", "tools", settings, changed), jsonField("schema", "schema", settings, changed), jsonField("more", "more", settings, changed)),
      button("reset", () => {
        for (const [name] of kNumbers) delete settings[name];
        changed();
        fillPanel();
      }),
    );
  fillPanel();
  return panel;
}
