"""tests/golden/hf/exaone4-*: EXAONE 4.0 in small, layout as golden_hf.py; truth is transformers' own Exaone4ForCausalLM in float64.

(Its norms and rotary angles stay float32 inside: good to some 1e-7, and nothing of ours shares a line with it.)
"""
import json
import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from safetensors.torch import save_file

BASE = {
    "architectures": ["Exaone4ForCausalLM"], "model_type": "exaone4", "vocab_size": 80, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "hidden_act": "silu", "max_position_embeddings": 256, "initializer_range": 0.02,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "attention_dropout": 0.0,
    "sliding_window": 5, "sliding_window_pattern": 4, "layer_types": ["sliding_attention"] * 3 + ["full_attention"], "use_cache": True,
    # The blend lies among the four frequencies of this head.
    "rope_theta": 100.0, "rope_scaling": {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 0.5, "high_freq_factor": 2.0, "original_max_position_embeddings": 32},
}
CASES = {
    "exaone4-hybrid": dict(note="EXAONE 4.0 32B in small: norms on the outputs, LLLG, RoPE on sliding layers only, llama3 scaling", config={}),
    "exaone4-global": dict(note="EXAONE 4.0 1.2B in small: all layers global with RoPE, tied embeddings; bfloat16", dtype=torch.bfloat16,
                           config={"sliding_window": None, "sliding_window_pattern": None, "layer_types": ["full_attention"] * 3, "num_hidden_layers": 3, "tie_word_embeddings": True}),
}
ROWS, TOKENS, GREEDY = 2, 18, 16


def fresh(config, dtype, rng):
    """transformers' model with weights large enough that windows, norms and angles all matter, rounded to the stored type; and what is stored."""
    import transformers
    model = transformers.Exaone4ForCausalLM(transformers.Exaone4Config(**config, attn_implementation="eager")).double().eval()
    stored = {}
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = torch.randn(p.shape, generator=rng, dtype=torch.float64)
            x = 1 + 0.2 * x if "norm" in name else x if "embed" in name else x * 1.5 / p.shape[1] ** 0.5
            stored[name] = x.to(dtype).contiguous()
            p.copy_(stored[name])
    return model, stored


def attempt(case, seed):
    """(config, stored, case.json, expected), or None where a greedy choice is too near a tie."""
    config, rng = {**BASE, **case["config"]}, torch.Generator().manual_seed(seed)
    model, stored = fresh(config, case.get("dtype", torch.float32), rng)
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
    expected.update({"grad." + name: p.grad.float() for name, p in model.named_parameters()})
    about = {"note": case["note"], "ids": tokens.tolist(), "labels": labels.tolist(), "greedy_prompt": prompt, "smallest_greedy_margin": margin}
    return config, stored, about, {k: v.detach().clone().contiguous() for k, v in expected.items()}


def make(out, seed):
    for name, case in CASES.items():
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        config, stored, about, expected = next(filter(None, (attempt(case, 1000 * seed + n) for n in range(200))))
        config = dict(config, dtype="bfloat16" if case.get("dtype") == torch.bfloat16 else "float32")
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "case.json").write_text(json.dumps(about) + "\n")
        save_file(expected, folder / "expected.safetensors")
        print(f"hf/{name}: greedy margin {about['smallest_greedy_margin']:.2g}, gradients of {sum(k.startswith('grad.') for k in expected)} tensors")
