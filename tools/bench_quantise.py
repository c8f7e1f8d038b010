#!/usr/bin/env python3
"""Relative RMSE of the weights and KL of the next-token distributions, per block type: Dure's encoder beside llama.cpp's.

Usage: bench_quantise.py --dure DURE --llama PROGRAM MODEL.gguf TEXT.txt [--types Q8_0,Q6_K,...] [--rows 24]

Both quantise the same F32 file with every matrix but the router at the type (llama.cpp with --pure; Dure the same). Weights: the `gguf`
package decodes both; RMSE over all tensors that both hold at the type, relative to the RMS of the weights. Logits: `dure score` runs
either file on the first --rows lines of the text with 32 tokens or more, cut at 128; KL(F32 || quantised), mean per token, in nats.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy

TYPES = "Q8_0,Q6_K,Q5_K,Q4_K,IQ4_XS,IQ4_NL,Q4_0,Q3_K,Q2_K"
FILE_TYPES = {"Q5_K": "Q5_K_S", "Q4_K": "Q4_K_S", "Q3_K": "Q3_K_S"}  # what a file of such blocks is called


def run(*command, stdin=None):
    done = subprocess.run(list(map(str, command)), input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def weights(path):
    """name -> (type, decoded)"""
    return {t.name: (t.tensor_type.name, gguf.dequantize(t.data, t.tensor_type).astype(numpy.float64).ravel()) for t in gguf.GGUFReader(path).tensors}


def relative_rmse(truth, coded, kept):
    error = sum(((truth[n][1] - coded[n][1]) ** 2).sum() for n in kept)
    return (error / sum((truth[n][1] ** 2).sum() for n in kept)) ** 0.5


def log_probabilities(args, model, rows, scratch):
    run(args.dure, "score", model, "--ids", "-", "--logits", scratch / "logits", "--force", "--quiet", stdin=json.dumps(rows))
    logits = numpy.fromfile(scratch / "logits", dtype=numpy.float32).reshape(sum(map(len, rows)), -1).astype(numpy.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True))


def quantised(args, kind, scratch):
    """{who: file}, or a reason why not."""
    files = {}
    for who, command in (("dure", (args.dure, "quantize", args.model, scratch / "dure.gguf", FILE_TYPES.get(kind, kind), "--pure", "--force", "--quiet")),
                         ("llama.cpp", (args.llama, "quantize", args.model, scratch / "llama.gguf", kind))):
        try:
            run(*command)
            files[who] = scratch / ("dure.gguf" if who == "dure" else "llama.gguf")
        except RuntimeError as error:
            print(f"  {kind}: {error}", file=sys.stderr)
    return files


def text_rows(args):
    ids = [json.loads(line) for line in run(args.dure, "tokenizer", "encode", args.model, args.text, "--json").splitlines()]
    return [row[:128] for row in ids if len(row) >= 32][: args.rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--dure", required=True)
    parser.add_argument("--llama", required=True)
    parser.add_argument("--types", default=TYPES)
    parser.add_argument("--rows", type=int, default=24)
    args = parser.parse_args()
    truth, rows, results = weights(args.model), text_rows(args), []
    print(f"{args.model}: {sum(map(len, rows))} tokens of text\n| type | relative RMSE, Dure | llama.cpp | KL in nats, Dure | llama.cpp |\n|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        p = log_probabilities(args, args.model, rows, scratch)
        for kind in args.types.split(","):
            files = quantised(args, kind, scratch)
            coded = {who: weights(path) for who, path in files.items()}
            kept = [n for n in truth if all(c[n][0] == kind for c in coded.values())]
            line = {"type": kind, "tensors": len(kept)}
            for who, path in files.items():
                q = log_probabilities(args, path, rows, scratch)
                line[who] = {"rmse": relative_rmse(truth, coded[who], kept) if kept else None, "kl": float((numpy.exp(p) * (p - q)).sum(-1).mean())}
            show = lambda who, key: f"{line[who][key]:.3g}" if who in line and line[who][key] is not None else "-"
            print(f"| {kind} | {show('dure', 'rmse')} | {show('llama.cpp', 'rmse')} | {show('dure', 'kl')} | {show('llama.cpp', 'kl')} |", flush=True)
            results.append(line)
    print(json.dumps({"results": results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
