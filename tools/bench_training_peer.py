#!/usr/bin/env python3
"""Tokens a second of a whole float32 training step, Dure beside transformers, and the share of the machine's measured f32 peak.

Usage: bench_training_peer.py --bench build/release/bench_training [a] [b] [c] [--rounds 5] [--seconds 2] [--threads N] [--lora RANK]

With --lora an adapter of attention and routed experts is trained on both sides, by PEFT there (target_parameters); the operations then
count the whole step as without it.
Both sides train the same architecture (no MTP layer: transformers has none) on rows of random tokens: forward, loss, backward, clipping,
AdamW. The peer uses `experts_implementation="grouped_mm"`, its fastest. The two take turns of about --seconds each, --rounds times;
the peak is measured before every round. Medians over all steps; wall time decides on a quiet machine, processor time (of all threads) is
shown beside it for a busy one. 6 x active: six operations a token for every parameter that it meets, the embedding table left out; counted:
every matrix product and the visible part of attention. Prints a table and, last, one JSON line.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

LAYERS = {"rms_norm_eps": 1e-5, "tie_word_embeddings": False, "hidden_act": "silu", "initializer_range": 0.02, "attention_dropout": 0.0, "norm_topk_prob": True,
          "routed_scaling_factor": 2.5, "n_group": 1, "topk_group": 1, "scoring_func": "sigmoid", "num_shared_experts": 1, "first_k_dense_replace": 1,
          "num_nextn_predict_layers": 0, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
          "max_position_embeddings": 1024, "architectures": ["ExaoneMoeForCausalLM"], "model_type": "exaone_moe", "dtype": "float32"}
SHAPES = {
    "a": (16, 256, dict(vocab_size=2048, hidden_size=192, intermediate_size=576, num_hidden_layers=8, num_attention_heads=6, num_key_value_heads=2, head_dim=32,
                        moe_intermediate_size=96, num_experts=16, num_experts_per_tok=4, sliding_window=64)),
    "b": (8, 256, dict(vocab_size=2048, hidden_size=128, intermediate_size=384, num_hidden_layers=8, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
                       moe_intermediate_size=64, num_experts=16, num_experts_per_tok=4, sliding_window=32)),
    "c": (4, 512, dict(vocab_size=8192, hidden_size=512, intermediate_size=1536, num_hidden_layers=12, num_attention_heads=8, num_key_value_heads=2, head_dim=64,
                       moe_intermediate_size=256, num_experts=32, num_experts_per_tok=4, sliding_window=128)),
}


def config_of(facts):
    count = facts["num_hidden_layers"]
    return {**LAYERS, **facts, "layer_types": ["full_attention" if i % 4 == 3 else "sliding_attention" for i in range(count)],
            "mlp_layer_types": ["dense"] + ["sparse"] * (count - 1)}


class Dure:
    def __init__(self, bench, config, rows, tokens, threads, lora):
        self.file = tempfile.NamedTemporaryFile("w", suffix=".json")
        json.dump(config, self.file), self.file.flush()
        self.process = subprocess.Popen([bench, self.file.name, str(rows), str(tokens), "adamw", "-", "exact", str(lora)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=dict(os.environ, DURE_THREADS=str(threads)))

    def ask(self, line):
        self.process.stdin.write(line + "\n"), self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def steps(self, count):
        answer = self.ask(f"steps {count}")
        self.loss, self.counted, self.estimated = answer["loss"], answer["counted"], answer["estimated"]
        return list(zip(answer["seconds"], answer["processor_seconds"]))

    def close(self):
        self.process.stdin.close(), self.process.wait()


class Peer:
    def __init__(self, config, rows, tokens, threads, lora):
        import torch
        import transformers
        transformers.utils.logging.set_verbosity_error()
        torch.set_num_threads(threads), torch.manual_seed(1)
        self.torch = torch
        known = transformers.AutoConfig.for_model(**{k: v for k, v in config.items() if k not in ("architectures", "dtype")})
        self.model = transformers.AutoModelForCausalLM.from_config(known, dtype=torch.float32, attn_implementation="sdpa", experts_implementation="grouped_mm").train()
        if lora:
            import peft
            self.model = peft.get_peft_model(self.model, peft.LoraConfig(
                r=lora, lora_alpha=2 * lora, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
                target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"], task_type="CAUSAL_LM"))
        self.ids = torch.randint(0, config["vocab_size"], (rows, tokens))
        decayed = [p for p in self.model.parameters() if p.requires_grad and p.dim() >= 2]
        plain = [p for p in self.model.parameters() if p.requires_grad and p.dim() < 2]
        groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=1e-4, betas=(0.9, 0.95), fused=True)

    def steps(self, count):
        out = []
        for _ in range(count):
            start, processor = time.perf_counter(), time.process_time()
            loss = self.model(self.ids, labels=self.ids, use_cache=False).loss
            loss.backward()
            self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimiser.step(), self.optimiser.zero_grad(set_to_none=True)
            out.append((time.perf_counter() - start, time.process_time() - processor))
        self.loss = float(loss.detach())
        return out


def compare(name, args):
    rows, tokens, facts = SHAPES[name]
    config = config_of(facts)
    ours, peer = Dure(args.bench, config, rows, tokens, args.threads, args.lora), Peer(config, rows, tokens, args.threads, args.lora)
    sides, times, counts, peaks = (ours, peer), ([], []), [], []
    for side in sides:
        side.steps(1)
        counts.append(max(1, min(50, round(args.seconds / side.steps(1)[0][0]))))
    for _ in range(args.rounds):
        peaks.append(ours.ask("peak 0.4")["gflops"])
        for side, count, record in zip(sides, counts, times):
            record += side.steps(count)
    ours.close()
    wall, processor = ([statistics.median(t[i] for t in record) for record in times] for i in (0, 1))
    peak, total = max(peaks), rows * tokens
    result = {"shape": name, "threads": args.threads, "tokens_s": round(total / wall[0]), "peer_tokens_s": round(total / wall[1]), "ratio": round(wall[1] / wall[0], 2),
              "processor_ratio": round(processor[1] / processor[0], 2), "peak_gflops": round(peak, 1), "loss": ours.loss, "peer_loss": peer.loss,
              "share_6_active": round(ours.estimated / wall[0] / 1e9 / peak, 3), "share_counted": round(ours.counted / wall[0] / 1e9 / peak, 3),
              "processor_share_6_active": round(ours.estimated * args.threads / processor[0] / 1e9 / peak, 3),
              "processor_share_counted": round(ours.counted * args.threads / processor[0] / 1e9 / peak, 3),
              "peer_share_6_active": round(ours.estimated / wall[1] / 1e9 / peak, 3), "steps": [len(t) for t in times], "load": os.getloadavg()[0]}
    print(f"| {name} | {result['tokens_s']} | {result['peer_tokens_s']} | {result['ratio']} ({result['processor_ratio']}) | {100 * result['share_6_active']:.0f} % ({100 * result['processor_share_6_active']:.0f}) "
          f"| {100 * result['share_counted']:.0f} % ({100 * result['processor_share_counted']:.0f}) | {100 * result['peer_share_6_active']:.0f} % |", flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", default=["a", "b"], help="a, b, c")
    parser.add_argument("--bench", type=pathlib.Path, default=pathlib.Path("build/release/bench_training"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of one turn")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--lora", type=int, default=0, help="rank of an adapter")
    args = parser.parse_args()
    print("| shape | Dure, tokens/s | PyTorch, tokens/s | ratio (by processor time) | of the f32 peak, 6 x active | counted | PyTorch, 6 x active |\n|---|--:|--:|--:|--:|--:|--:|", flush=True)
    results = [compare(name, args) for name in args.shapes]
    print(json.dumps({"results": results}))
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # an idle pool must not take the other side's core
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
