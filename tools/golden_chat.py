"""tests/golden/chat: templates rendered with jinja2 as transformers sets it up, and model outputs built from their parts.

k1 and k2 are the templates that Dure releases (read out of src/text/released_templates.cc), so the typed format, Dure's own template
engine and jinja2 must all give the same text. The other templates use what Hugging Face templates use, a theme each.
"""
import datetime
import json
import pathlib
import random
import re
import shutil

import jinja2
import jinja2.ext
import jinja2.sandbox

NOW = datetime.datetime(2025, 11, 7, 8, 3, 9)
WEATHER = {"type": "function", "function": {"name": "weather", "description": "오늘의 날씨 <b>&\"'", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": "boolean"}, "places": {"type": "array", "items": {"type": "string"}}},
    "required": ["city"]}}}
TEMPLATES = {
    "own_loops": "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ ':' if not loop.last else '.' }}{{ m.role }}{% if loop.previtem is defined and loop.previtem.role == m.role %}!{% endif %}"
                 "{{ loop.cycle('a', 'b') }}{% else %}none{% endfor %}\n{% for k, v in {'x': 1, 'y': [2, 3]}.items() %}{{ k }}={{ v }};{% endfor %}"
                 "{% for i in range(2, 9, 3) %}{% if i == 5 %}{% continue %}{% endif %}{{ i }},{% endfor %}{% for i in [1, 2, 3] if i != 2 %}{{ i }}{{ loop.revindex }}{% endfor %}"
                 "{% for i in range(9) %}{% if i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "own_scope": "{% set ns = namespace(n=0, seen=[]) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.seen = ns.seen + [m.role] %}{% set inner = m.role %}{% endfor %}"
                 "{{ ns.n }} {{ ns.seen }} {{ inner is defined }}{% macro f(a, b=2, c='z') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f('q', 'r', 's') }}"
                 "{% set block %}caught {{ ns.n }}{% endset %}<{{ block }}>{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "own_filters": "{{ messages | map(attribute='role') | list }}|{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(' + ') }}|{{ messages[0].content | upper | trim }}"
                   "|{{ 'a-b-c' | replace('-', '+') }}|{{ [3, 1, 2] | sort | first }}|{{ [3, 1, 2] | sort(reverse=true) | last }}|{{ 'abc' | length }}|{{ none | default('d') }}|{{ '' | default('e', true) }}"
                   "|{{ 3.7 | int }}|{{ '12' | int + 1 }}|{{ 2 | float }}|{{ -3 | abs }}|{{ 'a b' | title }}|{{ [1, 2] | sum }}|{{ 'x' ~ 1 ~ none ~ true }}|{{ 7 // 2 }} {{ 7 % 4 }} {{ 2 ** 5 }} {{ 7 / 2 }}|{{ 'k' in {'k': 1} }}",
    "own_tests": "{% for x in [none, 0, 1, '', 'a', [], [1], {}, {'a': 1}, 2.5, true] %}{{ x is none }}{{ x is string }}{{ x is number }}{{ x is mapping }}{{ x is sequence }}{{ x is iterable }}{{ x is boolean }}"
                 "{{ x is true }}{{ 'T' if x else 'F' }};{% endfor %}{{ missing is defined }}{{ messages is undefined }}{{ 3 is odd }}{{ 4 is divisibleby(2) }}{{ 'a' is in ['a'] }}{{ 1 == 1.0 }}{{ not (1 < 2 <= 2) }}",
    "own_json": "{{ tools | tojson }}\n{{ tools | tojson(indent=2) }}\n{{ {'b': [1, 2.0, 1e30, -0.5, true, none], 'a': '한\\u00e9\\n\\t\\\\/<>&'} | tojson }}\n{{ {} | tojson }}{{ [] | tojson(indent=1) }}",
    "own_strings": "{{ 'a,b,,c'.split(',') }}{{ ' x '.strip() }}{{ 'abc'[1:] }}{{ 'abc'[::-1] }}{{ 'abc'[-1] }}{{ 'AbC'.lower() }}{{ 'a'.startswith('a') }}{{ 'xyx'.rstrip('x') }}{{ 'a' * 3 }}{{ 'on\\n' }}"
                   "{{ '%s=%d' | format('k', 3) }}{{ messages[-1]['content'].split('</think>')[-1].lstrip('\\n') }}",
    "own_space": "  {%- if true %}\n    kept\n    {%- endif %}\n  {% if false %}\n gone\n  {% endif %}\n{#- a comment -#}\n  end {{- ' tight ' -}} !\n\n",
    "own_dates": "{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%d %B %Y %H:%M:%S, %a') }}",
    "own_raise": "{% if messages[0].role != 'system' %}{{ raise_exception('a system message comes first, not ' + messages[0].role) }}{% endif %}{{ messages[0].content }}",
    "own_bad_end": "line one\n{% if true %}\nnever closed",
    "own_bad_filter": "one\ntwo {{ 'x' | no_such_filter }}",
    "own_bad_type": "one\n\n{{ 1 + 'a' }}",
}
CONVERSATIONS = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": " 시스템\n"}, {"role": "user", "content": "안녕? <|user|>"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "because"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d", "reasoning_content": " e "}],
    [{"role": "user", "content": "two calls"}, {"role": "assistant", "content": "Looking.", "tool_calls": [
        {"type": "function", "function": {"name": "weather", "arguments": {"city": "München", "days": 2, "exact": True, "places": ["x", "y"]}}}, {"type": "function", "function": {"name": "weather", "arguments": {"city": "서울"}}}]},
     {"role": "tool", "content": "5 °C"}, {"role": "tool", "content": "{\"t\": 7}"}],
    [{"role": "user", "content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]}, {"role": "assistant", "content": "fine </think>"}],
    [{"role": "wizard", "content": "?"}],
]


def released_templates():
    text = (pathlib.Path(__file__).parent.parent / "src/text/released_templates.cc").read_text(encoding="utf-8")
    parts = dict(re.findall(r'constexpr const char\* (k\w+)\s*=\s*R"jinja\((.*?)\)jinja"', text, re.S))
    return {name: parts["kHead"] + parts[call] + parts["kTail"] for name, call in (("k1", "kK1Call"), ("k2", "kK2Call"))}


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = tojson
    env.globals.update(raise_exception=raise_exception, strftime_now=lambda form: NOW.strftime(form))
    return env


def render(env, text, messages, options):
    variables = {"tools": None, "add_generation_prompt": False, **options}
    try:
        return {"text": env.from_string(text).render(messages=messages, **variables)}
    except Exception as error:
        raised = type(error) is jinja2.exceptions.TemplateError
        return {"error": str(error), **({"raised": True} if raised else {})}


def render_cases(env, templates):
    cases = []
    for name, text in templates.items():
        typed = name in ("k1", "k2")
        for messages in CONVERSATIONS if typed else CONVERSATIONS[:4]:
            choices = [{}, {"add_generation_prompt": True}, {"add_generation_prompt": True, "enable_thinking": False, "tools": [WEATHER]}] if typed else [{"tools": [WEATHER]}]
            cases += [{"template": name, "messages": messages, "options": options, **render(env, text, messages, options)} for options in choices]
    return cases


def call_text(form, name, arguments):
    if form == "k1":
        return "<tool_call>" + json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False) + "</tool_call>"
    inner = "".join(f"<parameter={k}>\n{v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)}\n</parameter>\n" for k, v in arguments.items())
    return f"<tool_call>\n<function={name}>\n{inner}</function>\n</tool_call>"


def parse_cases(rng):
    """What the model said is put together from what it meant: the parser has to find that again."""
    words = ["sum", "is", "4", "서울", "é", "<b>", "</thin", "<tool", "{\"a\": 1}", "naïve", "\n\n", "👩‍👧", "ok."]
    arguments = [{"city": "서울"}, {"city": "a \"b\"\nc", "days": 3}, {"city": "x", "exact": False, "places": ["p", "q,r"]}, {}]
    cases = []
    for form in ("k1", "k2"):
        for i in range(14):
            thinking = i % 3 != 2
            say = lambda n: " ".join(rng.choice(words) for _ in range(n)).strip()
            reasoning, content = (say(rng.randrange(0, 6)) if thinking else ""), say(rng.randrange(0, 6) if i % 2 else 4)
            calls = [("weather", rng.choice(arguments)) for _ in range(i % 4)]
            tail = "\n".join(([content] if content else []) + [call_text(form, *call) for call in calls])
            cases.append({"format": form, "thinking": thinking, "text": (reasoning + "\n</think>\n\n" if thinking else "") + tail, "reasoning": reasoning, "content": content,
                          "tool_calls": [{"name": n, "arguments": a} for n, a in calls], "note": f"{len(calls)} calls, thinking {'on' if thinking else 'off'}"})
    return cases


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0, separators=(",", ": ")) + "\n", encoding="utf-8")


def make(out, seed):
    shutil.rmtree(out, ignore_errors=True)
    (out / "templates").mkdir(parents=True)
    templates = {**released_templates(), **TEMPLATES}
    for name, text in templates.items():
        (out / "templates" / (name + ".jinja")).write_text(text, encoding="utf-8")
    cases = render_cases(environment(), templates)
    dump(out / "render.json", {"now": NOW.isoformat(), "tools": [WEATHER], "cases": cases})
    parsed = parse_cases(random.Random(seed))
    dump(out / "parse.json", {"tools": [WEATHER], "cases": parsed})
    print(f"chat: {len(cases)} renderings with jinja2 {jinja2.__version__}, {sum('error' in c for c in cases)} of them errors; {len(parsed)} outputs to parse")
