#!/usr/bin/env python3
"""Token ids, logits and greedy tokens of GGUF files, Dure beside llama.cpp. check_llama.sh builds what it needs and calls this.

Usage: check_llama.py --dure build/release/dure --llama PROGRAM MODEL [MODEL ...] [--tokens 32] [--bound 2e-5] [--text FILE]

Where a file holds other types than F32, llama.cpp rounds activations too (to 8 bits for blocks): its logits then differ by some per cent in norm.
For such files the same weights are decoded to F32 first (`dure convert` to a folder and back): llama.cpp's logits of that must agree to --bound,
and those of the file itself to 5 % in norm. What the rounding costs is said for both: the mean Kullback-Leibler divergence, in nats, of the
next token's distribution from that of exact arithmetic on the same weights, over the rows (with --text: over the file's first 1,024 tokens).
Exit code 1 where anything differs.
"""
import argparse
import array
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile

TEXTS = ["The installation system, don't panic: it's v1.2!", "한국어 설치 안내서의 두 번째 장", "El instalador de Debian", "Der Rechner startet   (neu)", "インストールを開始する。", "Trình cài đặt",
         "47+85=132 // 0x1F", "\tfor (int i = 0; i < n; ++i) {  ", "<|user|> x <|endofturn|><think>", "😀 👩‍👧 ½ ² Ⅷ", "a" * 300, "word " * 60, "...!!!///"]


def run(*command, stdin=None):
    done = subprocess.run(list(map(str, command)), input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def floats(path):
    values = array.array("f")
    values.frombytes(pathlib.Path(path).read_bytes())
    return values


def difference(got, want):
    largest, scale = max(abs(a - b) for a, b in zip(got, want)), max(map(abs, want))
    norm = math.sqrt(sum((a - b) ** 2 for a, b in zip(got, want)) / sum(b * b for b in want))
    return (largest / scale, norm) if len(got) == len(want) and not math.isnan(norm) else (math.inf, math.inf)


def llama(args, model, rows, tokens, scratch):
    """(logits, greedy ids of each row, distances of the two best)"""
    (scratch / "tokens.txt").write_text("\n".join(" ".join(map(str, row)) for row in rows) + "\n")
    lines = run(args.llama, "logits", model, scratch / "tokens.txt", scratch / "theirs", tokens).splitlines()
    parts = [line.split("|") for line in lines]
    return floats(scratch / "theirs"), [list(map(int, p[0].split())) for p in parts], [list(map(float, p[1].split())) for p in parts]


def ours(args, model, rows, scratch, arithmetic="exact"):
    run(args.dure, "score", model, "--ids", "-", "--logits", scratch / "ours", "--arithmetic", arithmetic, "--force", "--quiet", stdin=json.dumps(rows))
    return floats(scratch / "ours")


def log_probabilities(logits, start, vocab):
    row = logits[start : start + vocab]
    top = max(row)
    total = top + math.log(math.fsum(math.exp(x - top) for x in row))
    return [x - total for x in row]


def divergence(exact, rounded, vocab):
    """Mean over the rows of sum p (log p - log q), p of the exact logits."""
    sums = []
    for start in range(0, len(exact), vocab):
        p, q = log_probabilities(exact, start, vocab), log_probabilities(rounded, start, vocab)
        sums.append(math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q)))
    return math.fsum(sums) / len(sums)


def text_rows(args, model):
    """The first 1,024 tokens of --text in rows of 256."""
    ids = run(args.dure, "tokenizer", "encode", model, args.text, "--json")
    flat = [i for line in ids.splitlines() for i in json.loads(line)][:1024]
    return [flat[i : i + 256] for i in range(0, len(flat), 256)]


def greedy_problems(args, model, rows, ids, margins, vocab, bound, scratch):
    """llama.cpp's continuation is teacher-forced here: every one of its choices must be ours too, unless it was nearer than the bound."""
    whole = [row + new for row, new in zip(rows, ids)]
    logits, at, problems, agreed = ours(args, model, whole, scratch), 0, [], 0
    for row, new, near in zip(rows, ids, margins):
        for i, token in enumerate(new):
            start = (at + len(row) - 1 + i) * vocab
            best = max(range(vocab), key=lambda v: (logits[start + v], -v))
            agreed += best == token
            if best != token and near[i] > bound:
                problems.append(f"token {i} after {len(row)} ids: {best} here, {token} there, by {near[i]:.2g}")
        at += len(row) + len(new)
    return problems, agreed


def encode_problems(args, gguf, facts, scratch):
    """Ids of the same texts, where the file has a tokenizer. llama.cpp does no NFC: the texts are in it already."""
    if not facts.get("tokenizer"):
        return [], 0
    (scratch / "text.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    theirs = [list(map(int, line.split())) for line in run(args.llama, "encode", gguf, scratch / "text.txt").splitlines()]
    got = [json.loads(line) for line in run(args.dure, "tokenizer", "encode", gguf, scratch / "text.txt", "--json").splitlines()]
    return [f"ids of {text!r}: {a[:12]} here, {b[:12]} there" for text, a, b in zip(TEXTS, got, theirs) if a != b], len(TEXTS)


def check(args, model, scratch):
    facts = json.loads(run(args.dure, "inspect", model, "--json"))
    vocab = facts["config"]["vocab_size"]
    rng = random.Random(3)
    rows = [[rng.randrange(vocab) for _ in range(n)] for n in (1, 7, 40, 150)]
    mixed = pathlib.Path(model).is_file() and set(facts["types"]) != {"F32"}
    gguf = model
    if not pathlib.Path(model).is_file() or mixed:
        run(args.dure, "convert", model, scratch / "folder", "--type", "f32", "--force", "--quiet")
        gguf = scratch / "plain.gguf"
        run(args.dure, "convert", scratch / "folder", gguf, "--force", "--quiet")
    theirs, ids, margins = llama(args, gguf, rows, args.tokens, scratch)
    got = ours(args, model, rows, scratch)
    largest, norm = difference(got, theirs)
    scale = max(map(abs, theirs))
    problems, agreed = greedy_problems(args, model, rows, ids, margins, vocab, 2 * largest * scale, scratch)
    if largest > args.bound:
        problems.append(f"logits differ by {largest:.2g} of the largest")
    wrong, texts = encode_problems(args, gguf, facts, scratch)
    problems += wrong
    text = f"{model}: {texts} texts encoded, logits within {largest:.2g} of the largest ({norm:.2g} in norm), {agreed} of {sum(map(len, ids))} greedy tokens equal"
    if mixed:
        native, _, _ = llama(args, model, rows, 1, scratch)
        _, native_norm = difference(got, native)
        text += f"; with llama.cpp's rounded activations {100 * native_norm:.2g} % in norm"
        said = text_rows(args, model) if args.text else rows
        exact, here, there = ours(args, model, said, scratch), ours(args, model, said, scratch, "integer8"), llama(args, model, said, 1, scratch)[0]
        text += f"; divergence from exact arithmetic over {len(exact) // vocab} tokens {divergence(exact, here, vocab):.2g} nats here (integer8), {divergence(exact, there, vocab):.2g} there"
        if native_norm > 0.05:
            problems.append("native logits differ too much")
    print(f"{text}; {len(problems)} problems", flush=True)
    for problem in problems[:10]:
        print("  differs:", problem)
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--dure", default="build/release/dure")
    parser.add_argument("--llama", required=True)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--bound", type=float, default=2e-5)
    parser.add_argument("--text")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results = [check(args, model, pathlib.Path(scratch)) for model in args.models]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
