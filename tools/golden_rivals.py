"""tests/golden/hf/{qwen3moe,gptoss}-*: Qwen3-MoE and GPT-OSS in small, layout as golden_hf.py; truth is transformers' own models in float64.

(Norms, rotary angles and routers stay float32 inside: good to some 1e-7, and nothing of ours shares a line with it.)
"""
import json
import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from safetensors.torch import load_file, save_file

BASE = {"vocab_size": 72, "hidden_size": 24, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "hidden_act": "silu", "max_position_embeddings": 256,
        "initializer_range": 0.02, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "attention_dropout": 0.0}
QWEN3 = {**BASE, "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "intermediate_size": 40, "num_hidden_layers": 3, "num_experts": 6, "num_experts_per_tok": 2,
         "moe_intermediate_size": 10, "rms_norm_eps": 1e-6, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [1], "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
GPT_OSS = {**BASE, "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "intermediate_size": 12, "num_hidden_layers": 3, "num_local_experts": 5, "num_experts_per_tok": 2,
           "rms_norm_eps": 1e-5, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "swiglu_limit": 1.5,
           # The blend lies among the four frequencies of this head.
           "rope_parameters": {"rope_type": "yarn", "rope_theta": 40.0, "factor": 4.0, "beta_fast": 6.0, "beta_slow": 1.0, "original_max_position_embeddings": 64, "truncate": False}}
CASES = {
    "qwen3moe-small": dict(note="a dense layer among sparse ones, weights of experts to the sum 1", config=QWEN3),
    "qwen3moe-biases": dict(note="attention biases, YaRN, every second layer sparse, weights as they are, tied head",
                            config={**QWEN3, "attention_bias": True, "norm_topk_prob": False, "decoder_sparse_step": 2, "mlp_only_layers": [], "tie_word_embeddings": True,
                                    "rope_parameters": {"rope_type": "yarn", "rope_theta": 40.0, "factor": 4.0, "beta_fast": 6.0, "beta_slow": 1.0, "original_max_position_embeddings": 64}}),
    "gptoss-small": dict(note="sinks, biases, windows in turn, YaRN not truncated, a clamp that is met", config=GPT_OSS),
}
ROWS, TOKENS, GREEDY = 2, 18, 16


def fresh(config, rng):
    """transformers' model with weights large enough that windows, sinks, biases and angles all matter."""
    import transformers
    kind = getattr(transformers, config["architectures"][0])
    model = kind(kind.config_class(**config, attn_implementation="eager", experts_implementation="eager")).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = torch.randn(p.shape, generator=rng)
            vector = p.dim() == 1 or "bias" in name
            p.copy_(1 + 0.2 * x if "norm" in name else x if "embed" in name or "sinks" in name else 0.3 * x if vector else x * 1.5 / p.shape[-1] ** 0.5)
    return model


def by_file_names(name, value):
    """Experts that transformers joins in memory, as its files have them: (name, value)s."""
    if not name.endswith((".experts.gate_up_proj", ".experts.down_proj")) or "qwen" not in by_file_names.family:
        return [(name, value)]
    prefix, out = name.rsplit(".", 1)[0], []
    for e, one in enumerate(value):
        parts = {"gate_proj": one[: len(one) // 2], "up_proj": one[len(one) // 2 :]} if name.endswith("gate_up_proj") else {"down_proj": one}
        out += [(f"{prefix}.{e}.{part}.weight", x) for part, x in parts.items()]
    return out


def attempt(case, seed, folder):
    """Writes the folder and returns case.json's content, or None where a greedy choice is too near a tie."""
    config, rng = case["config"], torch.Generator().manual_seed(seed)
    model = fresh(config, rng)
    model.save_pretrained(folder)
    model = model.double()
    tokens = torch.randint(3, config["vocab_size"], (ROWS, TOKENS), generator=rng)
    labels = tokens.masked_fill(torch.rand((ROWS, TOKENS), generator=rng) < 0.1, -100)
    kept = []
    hooks = [layer.register_forward_hook(lambda _, __, y: kept.append(y[0] if isinstance(y, tuple) else y)) for layer in model.model.layers]
    out = model(tokens, labels=labels, use_cache=False)
    for hook in hooks:
        hook.remove()
    out.loss.backward()
    prompt, margin = tokens[0, :6].tolist(), float("inf")
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(GREEDY):
            best = model(torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
            margin = min(margin, float(best.values[0] - best.values[1]))
            ids.append(int(best.indices[0]))
    if margin < 1e-3:
        return None
    expected = {"logits": out.logits.double(), "loss": out.loss.double().view(1), "greedy": torch.tensor(ids[len(prompt):]), "hidden.0": model.model.embed_tokens(tokens).float()}
    expected.update({f"hidden.{i + 1}": x.float() for i, x in enumerate(kept)})
    expected["hidden.norm"] = model.model.norm(kept[-1]).float()
    by_file_names.family = config["model_type"]
    for name, p in model.named_parameters():
        expected.update({"grad." + one: g.float() for one, g in by_file_names(name, p.grad)})
    names = set(load_file(folder / "model.safetensors"))
    missing = names - {name[5:] for name in expected if name.startswith("grad.")}
    if missing:
        raise SystemExit(f"{folder}: no gradients of {sorted(missing)[:4]}")
    save_file({k: v.detach().clone().contiguous() for k, v in expected.items()}, folder / "expected.safetensors")
    return {"note": case["note"], "ids": tokens.tolist(), "labels": labels.tolist(), "greedy_prompt": prompt, "smallest_greedy_margin": margin}


def make(out, seed):
    for name, case in CASES.items():
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        about = next(filter(None, (attempt(case, 1000 * seed + n, folder) for n in range(200))))
        (folder / "generation_config.json").unlink(missing_ok=True)
        (folder / "case.json").write_text(json.dumps(about) + "\n")
        print(f"hf/{name}: greedy margin {about['smallest_greedy_margin']:.2g}")
