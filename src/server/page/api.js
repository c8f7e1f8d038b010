// Requests to the server: the key, errors as one kind, streams of events.
let key = "";
try {
  key = sessionStorage.getItem("dure.key") || "";
} catch {
  // Storage is off: the key lives as long as the page.
}
let askForKey = null;

// `ask(refused)` gives a key, by and by; one question for all requests that wait for it.
export function onKeyWanted(ask) {
  askForKey = ask;
}

export class ApiError extends Error {
  constructor(status, message, code, param) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = param;
  }
}

let asking = null;

async function wantKey(refused) {
  asking ??= askForKey(refused).then((given) => {
    key = given;
    try {
      sessionStorage.setItem("dure.key", given);
    } catch {
      // As above.
    }
    asking = null;
  });
  return asking;
}

async function errorOf(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return new ApiError(response.status, error.message, error.code, error.param);
  } catch {
    return new ApiError(response.status, text.slice(0, 300) || response.statusText, "", "");
  }
}

export async function ask(path, options = {}) {
  for (;;) {
    const used = key;
    const headers = { ...options.headers };
    if (used) headers.Authorization = `Bearer ${used}`;
    if (options.body) headers["Content-Type"] = "application/json";
    const response = await fetch(path, { ...options, headers, cache: "no-store" });
    if (response.ok) return response;
    const error = await errorOf(response);
    if (error.status !== 401 || !askForKey) throw error;
    if (used === key) await wantKey(used !== "");
  }
}

// A link sends no key: what it opens is asked for by a ticket, where there is a key.
export const hasKey = () => Boolean(key);

export const getJson = async (path, signal) => (await ask(path, { signal })).json();

// The data of a stream's events, each parsed; ends at [DONE]. Comments are signs of life.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const data = line.slice(6).trim();
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new ApiError(event.error.code || 500, event.error.message, event.error.type, "");
      yield event;
    }
  }
}
