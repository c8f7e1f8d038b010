#!/usr/bin/env python3
"""Small goldens of the project's own. make_golden.sh makes the environment and calls this.

Usage: make_golden.py OUT [--only hf|chat|gguf|quant|tokenizer] [--seed 1]

OUT/hf:   models with a float64 forward of the architecture's equations (golden_hf.py), its autograd gradients, and transformers' logits
          (golden_exaone4.py and golden_rivals.py add EXAONE 4.0, Qwen3-MoE and GPT-OSS, of transformers' own making)
OUT/chat: templates rendered by jinja2 as transformers sets it up, model outputs built from their parts (golden_chat.py)
OUT/gguf: files written and blocks decoded by the `gguf` package, logits from the same float64 forward (golden_gguf.py)
OUT/quant: rows encoded and decoded by ggml (golden_quant.py; needs llama.cpp, which tools/peer_llama.sh builds)
OUT/tokenizer: tokenizers, vectors and a training corpus by the `tokenizers` library (make_tokenizer_golden.py)
"""
import argparse
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

KINDS = ["hf", "chat", "gguf", "quant", "tokenizer"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for kind in KINDS:
        if args.only not in (None, kind):
            continue
        if kind == "tokenizer":
            script = pathlib.Path(__file__).parent / "make_tokenizer_golden.py"
            subprocess.run([sys.executable, script, args.out / kind, "--seed", str(args.seed)], check=True)
        else:
            __import__("golden_" + kind).make(args.out / kind, args.seed)
    if args.only in (None, "hf"):
        for family in ("exaone4", "rivals"):
            __import__("golden_" + family).make(args.out / "hf", args.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
