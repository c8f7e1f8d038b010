// Conversations, kept in this browser (IndexedDB; in memory where that is off).
//
// A conversation is a tree: node = {id, parent, role, content, ...}; chosen[parent] names the child that is shown, so that an
// edited question and a regenerated answer keep their earlier versions.
let database = null;
const memory = new Map();

const wait = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

async function open() {
  if (database) return database;
  const request = indexedDB.open("dure", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("conversations", { keyPath: "id" });
  database = await wait(request);
  return database;
}

async function inStore(mode, act, otherwise) {
  try {
    const store = (await open()).transaction("conversations", mode).objectStore("conversations");
    return await wait(act(store));
  } catch {
    return otherwise();
  }
}

export async function list() {
  const all = await inStore("readonly", (store) => store.getAll(), () => [...memory.values()]);
  return all.sort((a, b) => b.updated - a.updated);
}

export const put = (conversation) =>
  inStore("readwrite", (store) => store.put(structuredClone(conversation)), () => memory.set(conversation.id, conversation));

export const remove = (id) => inStore("readwrite", (store) => store.delete(id), () => memory.delete(id));

export const kRoot = "root";

export function fresh(settings, system) {
  const now = Date.now();
  return { id: crypto.randomUUID?.() ?? `c${now}${Math.random()}`, title: "", created: now, updated: now, system, settings: { ...settings }, nodes: {}, chosen: {}, last: 0 };
}

export function add(conversation, parent, fields) {
  const id = `n${++conversation.last}`;
  const node = { id, parent, content: "", ...fields };
  conversation.nodes[id] = node;
  conversation.chosen[parent] = id;
  conversation.updated = Date.now();
  return node;
}

export function path(conversation) {
  const out = [];
  for (let id = conversation.chosen[kRoot]; id && conversation.nodes[id]; id = conversation.chosen[id]) out.push(conversation.nodes[id]);
  return out;
}

export const versions = (conversation, node) =>
  Object.values(conversation.nodes).filter((other) => other.parent === node.parent).sort((a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1)));

// As the API has it, up to `parent` (with it).
export function messages(conversation, parent) {
  const out = [];
  for (let id = parent; id !== kRoot; id = conversation.nodes[id].parent) {
    const { role, content, reasoning, calls, callId } = conversation.nodes[id];
    const message = { role, content: content || "" };
    if (reasoning) message.reasoning_content = reasoning;
    if (calls?.length) message.tool_calls = calls.map(({ id: call, name, arguments: text }) => ({ id: call, type: "function", function: { name, arguments: text || "{}" } }));
    if (callId) message.tool_call_id = callId;
    out.unshift(message);
  }
  if (conversation.system.trim()) out.unshift({ role: "system", content: conversation.system });
  return out;
}

export function asMarkdown(conversation) {
  const parts = [`# ${conversation.title}`];
  if (conversation.system.trim()) parts.push(`**system**\n\n${conversation.system}`);
  for (const node of path(conversation)) parts.push(`**${node.role}**\n\n${node.content}`);
  return `${parts.join("\n\n")}\n`;
}
