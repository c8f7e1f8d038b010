"""Public chat templates rendered by jinja2, as transformers sets it up, and by `dure render`: equal, or refused by both."""
import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import sys

import jinja2.ext
import jinja2.nodes

import golden_chat


class Generation(jinja2.ext.Extension):
    """{% generation %}: transformers marks what the assistant wrote; the text is the same."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


def tool(name, description, properties, required):
    return {"type": "function", "function": {"name": name, "description": description,
                                             "parameters": {"type": "object", "properties": properties, "required": required}}}


TOOLS = [
    tool("get_weather", "Today's weather \"here\" & <there>, 날씨", {
        "city": {"type": "string", "description": "A city"}, "days": {"type": "integer", "description": "How many", "default": 1},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}}, ["city"]),
    tool("search", "Searches.", {
        "queries": {"type": "array", "items": {"type": "string"}, "description": "What for"}, "exact": {"type": "boolean"},
        "filter": {"type": "object", "description": "Bounds", "properties": {"after": {"type": "string"}, "score": {"type": ["number", "null"]}}}}, []),
]
SYSTEM = {"role": "system", "content": "  You are brief.\n"}
HELLO = {"role": "user", "content": "Hello, <b>wörld</b>!"}


def call(name, arguments, number):
    return {"id": f"call{number:05d}", "type": "function", "function": {"name": name, "arguments": arguments}}


def conversation_with_calls(dump=lambda arguments: arguments):
    weather = call("get_weather", dump({"city": "서울", "days": 2}), 1)
    search = call("search", dump({"queries": ["a \"b\"", "c\nd"], "exact": True, "filter": {"after": "2025", "score": -0.5}}), 2)
    return [HELLO, {"role": "assistant", "content": "", "tool_calls": [weather]},
            {"role": "tool", "name": "get_weather", "tool_call_id": "call00001", "content": "{\"degrees\": 7}"},
            {"role": "assistant", "content": "Seven degrees. More:", "reasoning_content": "look it up", "tool_calls": [search]},
            {"role": "tool", "name": "search", "tool_call_id": "call00002", "content": "nothing"},
            {"role": "assistant", "content": "Nothing."}, {"role": "user", "content": "Thanks"}]


TURNS = [SYSTEM, HELLO, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": " And\n\nnow? "},
         {"role": "assistant", "content": "Now this.\n"}, {"role": "user", "content": "안녕 👩‍👧 \"quoted\" \\ \t"}]
REASONED = [HELLO, {"role": "assistant", "content": "Four.", "reasoning_content": "2 + 2\n= 4", "thinking": "2 + 2\n= 4"}, {"role": "user", "content": "Why?"},
            {"role": "assistant", "content": "<think>\nbecause\n</think>\n\nSo.", "reasoning_content": ""}, {"role": "user", "content": "Go on"}]
PARTS = [{"role": "system", "content": [{"type": "text", "text": "Short."}]},
         {"role": "user", "content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]},
         {"role": "assistant", "content": [{"type": "text", "text": "fine"}]}, HELLO]
PROMPT = {"add_generation_prompt": True}
# (messages, options): twelve for each template.
CASES = {
    "one turn": ([HELLO], {}),
    "one turn, prompt": ([HELLO], PROMPT),
    "system, prompt, no thinking": ([SYSTEM, HELLO], {**PROMPT, "enable_thinking": False, "thinking": False}),
    "turns": (TURNS, {}),
    "turns, prompt, thinking": (TURNS, {**PROMPT, "enable_thinking": True, "thinking": True, "reasoning_effort": "high"}),
    "tools, prompt": ([HELLO], {**PROMPT, "tools": TOOLS}),
    "system, tools, prompt, no thinking": ([SYSTEM, HELLO], {**PROMPT, "tools": TOOLS, "enable_thinking": False, "thinking": False}),
    "calls": ([SYSTEM] + conversation_with_calls(), {"tools": TOOLS}),
    "calls as text, prompt": (conversation_with_calls(json.dumps), {**PROMPT, "tools": TOOLS}),
    "reasoning, prompt": (REASONED, PROMPT),
    "parts, prompt": (PARTS, PROMPT),
    "role unknown": ([{"role": "wizard", "content": "?"}, HELLO], PROMPT),
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def render_there(template, variables):
    """The text, or None where jinja2 refuses."""
    try:
        return template.render(**variables)
    except Exception:  # Python's own errors too: whatever a template may run into.
        return None


def render_here(dure, path, variables):
    """The text, or None where it is refused, and what was said. A crash is an error of this check."""
    done = subprocess.run([dure, "render", "--template", path, "--now", golden_chat.NOW.isoformat(), "-"], input=json.dumps(variables).encode(), capture_output=True)
    if done.returncode < 0:
        raise SystemExit(f"{path}: {dure} ended with signal {-done.returncode}")
    return (done.stdout.decode() if done.returncode == 0 else None), done.stderr.decode().strip()


def check(dure, path):
    """[(name of the case, "equal" | "refused by both" | "different", what differs)]"""
    env = golden_chat.environment()
    env.add_extension(Generation)
    template, out = env.from_string(path.read_text(encoding="utf-8")), []
    for name, (messages, options) in CASES.items():
        variables = {"tools": None, "documents": None, "add_generation_prompt": False, **TOKENS, **options, "messages": messages}
        there = render_there(template, variables)
        here, said = render_here(dure, path, variables)
        if here == there:
            out.append((name, "equal" if here is not None else "refused by both", ""))
        else:
            out.append((name, "different", f"jinja2: {there!r}\n    dure: {here if here is None else repr(here)} {said}"))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--dure", default="build/release/dure")
    parser.add_argument("--show", type=int, default=10, help="so many differences are shown")
    args = parser.parse_args()
    paths = sorted(args.folder.glob("*.jinja"))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda path: check(args.dure, path), paths))
    counts = {"equal": 0, "refused by both": 0, "different": 0}
    for path, cases in zip(paths, results):
        for name, outcome, difference in cases:
            counts[outcome] += 1
            if outcome == "different" and counts[outcome] <= args.show:
                print(f"{path.name}, {name}:\n    {difference}")
    print(f"{len(paths)} templates, {sum(counts.values())} renderings: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    return 1 if counts["different"] or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
