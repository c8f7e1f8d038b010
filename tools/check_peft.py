#!/usr/bin/env python3
"""An adapter that Dure wrote, beside its model: Dure's logits against PEFT's on transformers, and against llama.cpp's of the GGUF adapter.

Usage: check_peft.py --dure build/release/dure [--llama llama_peer] MODEL ADAPTER [--bound 2e-5] [--no-llama]

Everything in float32. Also compared: the model with the adapter merged (`dure convert --adapter`) in transformers alone. Warnings that a user of
PEFT would see are errors here. Exit code 1 where anything differs by more than --bound of the largest logit.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy
import peft
import torch
import transformers

transformers.utils.logging.disable_progress_bar()


def run(*command, stdin=None):
    done = subprocess.run(list(map(str, command)), input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def open_model(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager")
    return model.eval()


def logits_of(model, rows):
    with torch.no_grad():
        return numpy.concatenate([model(torch.tensor([row])).logits[0].numpy() for row in rows])


def dure_logits(args, rows, scratch, *extra):
    run(args.dure, "score", args.model, "--ids", "-", "--logits", scratch / "ours", "--force", "--quiet", *extra, stdin=json.dumps(rows))
    return numpy.fromfile(scratch / "ours", dtype=numpy.float32)


def llama_logits(args, rows, scratch):
    run(args.dure, "convert", args.model, scratch / "base.gguf", "--type", "f32", "--quiet")
    run(args.dure, "convert", args.adapter, scratch / "lora.gguf", "--base", args.model, "--quiet")
    (scratch / "tokens.txt").write_text("\n".join(" ".join(map(str, row)) for row in rows) + "\n")
    run(args.llama, "logits", scratch / "base.gguf", scratch / "tokens.txt", scratch / "theirs", 1, scratch / "lora.gguf")
    return numpy.fromfile(scratch / "theirs", dtype=numpy.float32)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("adapter", type=pathlib.Path)
    parser.add_argument("--dure", default="build/release/dure")
    parser.add_argument("--llama", default="")
    parser.add_argument("--bound", type=float, default=2e-5)
    parser.add_argument("--no-llama", action="store_true")
    args = parser.parse_args()
    rng = random.Random(4)
    base = open_model(args.model)
    vocab = base.config.vocab_size
    rows = [[rng.randrange(vocab) for _ in range(n)] for n in (1, 9, 40)]
    plain = logits_of(base, rows)
    problems = []

    def compare(what, got, want):
        worst = float(numpy.abs(got.reshape(-1) - want.reshape(-1)).max() / numpy.abs(want).max())
        print(f"{what:44} largest difference {worst:.3g} of the largest logit")
        if not worst <= args.bound:
            problems.append(what)

    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        ours = dure_logits(args, rows, scratch, "--adapter", args.adapter)
        compare("without the adapter: transformers", dure_logits(args, rows, scratch), plain)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            adapted = peft.PeftModel.from_pretrained(base, args.adapter).eval()
        for warning in seen:
            if "deprecated" in str(warning.message):  # PEFT's own use of transformers
                continue
            print("warning:", warning.message)
            problems.append("a warning of PEFT")
        theirs = logits_of(adapted, rows)
        print(f"{'what the adapter changes':44} {float(numpy.abs(theirs - plain).max() / numpy.abs(plain).max()):.3g} of the largest logit")
        compare("with it: PEFT on transformers", ours, theirs)
        run(args.dure, "convert", args.model, scratch / "merged", "--adapter", args.adapter, "--type", "f32", "--quiet")
        compare("merged: transformers alone", ours, logits_of(open_model(scratch / "merged"), rows))
        if args.llama and not args.no_llama:
            compare("as GGUF: llama.cpp", ours, llama_logits(args, rows, scratch))
    print("the same" if not problems else "DIFFERENT: " + ", ".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
