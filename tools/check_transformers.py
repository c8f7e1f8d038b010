#!/usr/bin/env python3
"""Opens Hugging Face folders that Dure wrote with transformers and compares: warnings (none), token ids, logits, greedy tokens,
the chat template. check_transformers.sh makes the environment.

Usage: check_transformers.py --dure build/release/dure FOLDER [FOLDER ...] [--tokens 64] [--prompts FILE.json]

FILE.json: a list of texts. A folder of any float type is read into float32 on both sides. Exit code 1 where anything differs. Greedy
tokens may part only where transformers' own two best logits are nearer than twice the largest difference of logits seen; such a
place is shown.
"""
import argparse
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import numpy
import torch
import transformers

transformers.utils.logging.disable_progress_bar()
PROMPTS = [
    "The installation system", "한국어 설치 안내서의", "El instalador de Debian", "Der Rechner startet", "インストールを開始する", "Trình cài đặt",
    "47+85=", "for (int i = 0; i < n; ++i) {", "<|user|>\n12 + 30 = ?<|endofturn|>\n<|assistant|>\n<think>\n", "a", "\n\n\n", "e\u0301\U0001F600 \u200b½",
    "Choose the partition on which the boot loader is to be installed, then confirm. " * 8,
]
TOOLS = [{"type": "function", "function": {"name": "add", "description": "adds two numbers", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}}}]
CALL = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "id": "c1", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}]}
CONVERSATIONS = [
    dict(messages=[{"role": "user", "content": "12 + 30 = ?"}], add_generation_prompt=True),
    dict(messages=[{"role": "user", "content": "12 + 30 = ?"}], add_generation_prompt=True, enable_thinking=False),
    dict(messages=[{"role": "user", "content": "12 + 30 = ?"}], add_generation_prompt=True, enable_thinking=True),
    dict(messages=[{"role": "system", "content": " 짧게 답해. "}, {"role": "user", "content": "안녕?"}, {"role": "assistant", "content": "네."}]),
    dict(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "why"}, {"role": "user", "content": "c"}],
         add_generation_prompt=True),
    dict(messages=[{"role": "user", "content": "1 + 2"}], tools=TOOLS, add_generation_prompt=True),
    dict(messages=[{"role": "user", "content": "1 + 2"}, CALL, {"role": "tool", "content": "3", "tool_call_id": "c1"}], tools=TOOLS, add_generation_prompt=True),
]


class Collector(logging.Handler):
    """What a user would have seen as a warning."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def run(dure, *arguments, stdin=None):
    done = subprocess.run([dure, *map(str, arguments), "--quiet"], input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"dure {' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def open_model(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager", output_loading_info=True)
    missing = sorted(loading["missing_keys"]) + sorted(map(str, loading["mismatched_keys"]))
    extra = [k for k in sorted(loading["unexpected_keys"]) if not k.startswith("mtp.")]
    transformers.GenerationConfig.from_pretrained(folder)
    return tokenizer, model.eval(), [f"missing tensor {k}" for k in missing] + [f"extra tensor {k}" for k in extra]


def greedy(model, ids, tokens):
    """Tokens, and for each the distance of the two best logits."""
    plain = transformers.GenerationConfig(do_sample=False, max_new_tokens=tokens, eos_token_id=model.generation_config.eos_token_id,
                                          pad_token_id=model.generation_config.pad_token_id, bos_token_id=model.generation_config.bos_token_id,
                                          output_logits=True, return_dict_in_generate=True)
    kept, model.generation_config = model.generation_config, plain  # else its sampling settings are mixed in, with a warning
    out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    model.generation_config = kept
    margins = [float(best[0] - best[1]) for best in (step[0].topk(2).values for step in out.logits)]
    return out.sequences[0, len(ids):].tolist(), margins


def check_text(dure, folder, tokenizer, prompts, problems):
    """Token ids of every prompt, from both."""
    rows = []
    for prompt in prompts:
        ids = tokenizer(prompt)["input_ids"]
        if "\n" not in prompt:  # a line of the input is a sequence there
            ours = json.loads(run(dure, "tokenizer", "encode", folder, "-", "--json", stdin=prompt + "\n"))
            if ours != ids:
                problems.append(f"ids of {prompt!r}: {ours[:20]} for {ids[:20]}")
        rows.append(ids)
        text = tokenizer.decode(ids, skip_special_tokens=False)
        if text != prompt and text != __import__("unicodedata").normalize("NFC", prompt):
            problems.append(f"decoding {prompt!r} gives {text!r}")
    return rows


def check_logits(dure, folder, model, rows, problems):
    """Largest difference of any logit, and the largest logit."""
    rows = [row for row in rows if len(row) > 1]
    with tempfile.TemporaryDirectory() as scratch:
        run(dure, "score", folder, "--ids", "-", "--logits", scratch + "/logits", "--force", stdin=json.dumps(rows))
        ours = numpy.fromfile(scratch + "/logits", dtype=numpy.float32).reshape(sum(map(len, rows)), -1)
    with torch.no_grad():
        theirs = numpy.concatenate([model(torch.tensor([row])).logits[0].numpy() for row in rows])
    difference, largest = float(abs(ours - theirs).max()), float(abs(theirs).max())
    if difference > 1e-5 * largest:
        problems.append(f"logits differ by {difference / largest:.2g} of the largest")
    return difference, largest


def check_greedy(dure, folder, model, prompts, rows, args, difference, problems):
    """Number of tokens that agree, and of continuations that part at a near tie."""
    agreed = ties = 0
    for prompt, ids in zip(prompts, rows):
        ours = json.loads(run(dure, "generate", folder, "-p", prompt, "-n", args.tokens, "--temperature", 0, "--json"))["tokens"]
        theirs, margins = greedy(model, ids, args.tokens)
        stops = model.generation_config.eos_token_id
        stops = stops if isinstance(stops, list) else [stops]
        ours, theirs = ([t for t in x if t not in stops] for x in (ours, theirs))
        same = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
        agreed += same
        if ours == theirs:
            continue
        if margins[same] <= 2 * difference:
            ties += 1
            print(f"  near tie after {same} tokens of {prompt[:30]!r}: {margins[same]:.2g}")
        else:
            problems.append(f"greedy from {prompt[:30]!r} parts after {same} tokens (margin {margins[same]:.2g}): {ours[same:same + 5]} for {theirs[same:same + 5]}")
    return agreed, ties


def check_chat(dure, folder, tokenizer, problems):
    """Renderings compared."""
    if not (pathlib.Path(folder) / "chat_template.jinja").exists():
        problems.append("no chat_template.jinja")
        return 0
    for options in CONVERSATIONS:
        rest = {k: v for k, v in options.items() if k not in ("messages", "tools")}
        want = tokenizer.apply_chat_template(options["messages"], tools=options.get("tools"), tokenize=False, **rest)
        got = run(dure, "render", folder, "-", stdin=json.dumps(options))
        if got != want:
            problems.append(f"chat {rest}, {len(options['messages'])} messages: {got!r} for {want!r}")
        ids = tokenizer.apply_chat_template(options["messages"], tools=options.get("tools"), tokenize=True, return_dict=True, **rest)["input_ids"]
        if ids != tokenizer(want, add_special_tokens=False)["input_ids"]:
            problems.append("apply_chat_template adds ids of its own")
    return len(CONVERSATIONS)


def check(dure, folder, prompts, args):
    collector = Collector()
    logging.getLogger("transformers").addHandler(collector)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenizer, model, problems = open_model(folder)
    problems += [f"warning: {line}" for line in collector.lines]
    problems += [f"warning: {w.message}" for w in caught if issubclass(w.category, (UserWarning, FutureWarning))]
    logging.getLogger("transformers").removeHandler(collector)
    rows = check_text(dure, folder, tokenizer, prompts, problems)
    difference, largest = check_logits(dure, folder, model, rows, problems)
    agreed, ties = check_greedy(dure, folder, model, prompts, rows, args, difference, problems)
    chats = check_chat(dure, folder, tokenizer, problems)
    print(f"{folder}: {len(prompts)} prompts, logits within {difference / largest:.2g} of the largest, {agreed} greedy tokens equal, {ties} near ties, "
          f"{chats} conversations rendered; {len(problems)} problems")
    for problem in problems:
        print("  differs:", problem)
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--dure", default="build/release/dure")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompts", type=pathlib.Path)
    args = parser.parse_args()
    prompts = json.loads(args.prompts.read_text()) if args.prompts else PROMPTS
    torch.set_num_threads(1)  # small models: more threads only wait for each other
    results = [check(args.dure, folder, prompts, args) for folder in args.folders]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
