#!/usr/bin/env python3
"""The tokenizer beside the `tokenizers` library, in one run, on one thread: encoding, training, and that both agree. Times are
processor time of each process, so that a busy machine disturbs the comparison less.

Usage: bench_tokenizer_peer.py --build build/release CORPUS.txt [--vocab-size 8192 --words-size 6554] [--rounds 2]

Makes a venv of its own (--venv, default ~/.cache/dure/venv-tokenizers) with the pinned library, builds nothing: the targets
`bench_tokenizer` and `dure` must be there. CORPUS.txt: a sequence a line. Prints a table and, last, one JSON line.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

PINNED = "tokenizers==0.23.3"

PEER = r"""
import json, sys, time
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
path, corpus, pattern, special, words_size, vocab_size, rounds, out = json.loads(sys.argv[1])
lines = open(corpus, encoding="utf-8", newline="\n").read().split("\n")
lines = lines[:-1] if lines[-1] == "" else lines
megabytes = sum(len(line.encode()) + 1 for line in lines) / 1e6
tokenizer = Tokenizer.from_file(path)
best = 1e9
for _ in range(rounds):
    start = time.process_time()
    ids = [tokenizer.encode(line).ids for line in lines]
    best = min(best, time.process_time() - start)
json.dump(ids, open(out, "w"))
def train(size):
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    start = time.process_time()
    t.train_from_iterator(lines, trainer)
    seconds = time.process_time() - start
    return seconds, json.loads(t.to_str())["model"]["merges"]
seconds, merges = train(words_size)
print(json.dumps({"encode_mb_s": megabytes / best, "train_words_s": seconds, "merges": [m if isinstance(m, list) else m.split(" ") for m in merges]}))
"""

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"


def venv_python(folder):
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", PINNED], check=True)
    return python


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--venv", type=pathlib.Path, default=pathlib.Path.home() / ".cache/dure/venv-tokenizers")
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--words-size", type=int, default=6554)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    python = venv_python(args.venv)
    one_thread = dict(os.environ, DURE_THREADS="1", RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", DURE_PROGRESS="off")
    with tempfile.TemporaryDirectory() as scratch:
        sizes = ["--vocab-size", str(args.vocab_size), "--words-size", str(args.words_size)]
        dure = str(args.build / "dure")
        subprocess.run([dure, "tokenizer", "train", str(args.corpus), *sizes, "-o", scratch + "/super"], check=True, env=one_thread, stdout=subprocess.DEVNULL)
        words = ["--vocab-size", str(args.words_size), "--words-size", str(args.words_size)]
        subprocess.run([dure, "tokenizer", "train", str(args.corpus), *words, "-o", scratch + "/words"], check=True, env=one_thread, stdout=subprocess.DEVNULL)
        path = scratch + "/super/tokenizer.json"
        tokenizer = json.load(open(path))
        special = [token["content"] for token in tokenizer["added_tokens"]]
        ours = json.loads(subprocess.run([str(args.build / "bench_tokenizer"), path, str(args.corpus), str(args.vocab_size), str(args.words_size)],
                                         check=True, env=one_thread, capture_output=True, text=True).stdout)
        question = [path, str(args.corpus), WORDS, special, args.words_size, args.vocab_size, args.rounds, scratch + "/ids.json"]
        peer = json.loads(subprocess.run([str(python), "-c", PEER, json.dumps(question)], check=True, env=one_thread, capture_output=True, text=True).stdout)
        encoded = subprocess.run([dure, "tokenizer", "encode", path, str(args.corpus), "--json"], check=True, env=one_thread, capture_output=True, text=True).stdout
        same_ids = [json.loads(line) for line in encoded.splitlines()] == json.load(open(scratch + "/ids.json"))
        same_merges = json.load(open(scratch + "/words/tokenizer.json"))["model"]["merges"] == peer["merges"]
    result = {"corpus_bytes": args.corpus.stat().st_size, "encode_mb_s": ours["encode_mb_s"], "encode_cold_mb_s": ours["encode_cold_mb_s"],
              "peer_encode_mb_s": round(peer["encode_mb_s"], 3), "train_words_s": ours["train_words_s"], "train_super_s": ours["train_super_s"],
              "peer_train_words_s": round(peer["train_words_s"], 3), "same_ids": same_ids, "same_merges": same_merges}
    print(f"encode: {ours['encode_mb_s']:.1f} MB/s (first pass {ours['encode_cold_mb_s']:.1f}), {PINNED}: {peer['encode_mb_s']:.2f} MB/s, "
          f"{ours['encode_mb_s'] / peer['encode_mb_s']:.1f} times; same ids: {same_ids}")
    print(f"train, words: {ours['train_words_s']:.2f} s, {PINNED}: {peer['train_words_s']:.2f} s, "
          f"{peer['train_words_s'] / ours['train_words_s']:.1f} times; same merges: {same_merges}; both stages here: {ours['train_super_s']:.2f} s")
    print(json.dumps(result))
    return 0 if same_ids and same_merges else 1


if __name__ == "__main__":
    sys.exit(main())
