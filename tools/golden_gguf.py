"""tests/golden/gguf: models written and decoded by the `gguf` package, logits by the float64 forward of golden_forward.py.

`gguf` can encode the plain formats (Q8_0, Q4_0, ...); for the others the blocks are random bytes with sane scales: every bit
pattern is a block, and what counts is that both decode it to the same numbers.
"""
import json
import shutil

import gguf
import numpy
import torch

import golden_forward as truth

Q = gguf.GGMLQuantizationType
SMALL = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=16, moe_intermediate_size=16, num_experts=6,
             num_experts_per_tok=2, window=4, n_group=1, topk_group=1)
WIDE = dict(SMALL, hidden_size=256, intermediate_size=32, moe_intermediate_size=32, num_experts=4)
CASES = {
    "own-f32": (SMALL, {}),
    "own-groups-f16": (dict(SMALL, num_experts=8, n_group=2, topk_group=1), {"": Q.F16}),
    "own-blocks-a": (WIDE, {"attn_q": Q.Q4_K, "attn_k": Q.Q6_K, "attn_v": Q.Q5_K, "attn_output": Q.Q4_0, "gate_exps": Q.Q3_K, "up_exps": Q.Q2_K, "down": Q.Q8_0, "gate": Q.Q4_K, "up": Q.Q6_K,
                            "token_embd": Q.Q8_0, "output": Q.Q6_K}),
    "own-blocks-b": (WIDE, {"attn_q": Q.IQ4_XS, "attn_k": Q.Q4_K, "attn_v": Q.Q6_K, "attn_output": Q.IQ4_NL, "gate_exps": Q.IQ2_XXS, "up_exps": Q.IQ4_XS, "down": Q.MXFP4, "gate": Q.Q5_K, "up": Q.Q3_K,
                            "token_embd": Q.BF16, "output": Q.Q4_K}),
}
# Where the half-precision scales of a block lie (bytes), for random blocks; MXFP4's is one byte of exponent.
SCALES = {Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208], Q.Q3_K: [108], Q.Q2_K: [80, 82], Q.IQ4_XS: [0], Q.IQ4_NL: [0], Q.IQ2_XXS: [0]}
TOKENS = 20


def config_of(facts):
    return {**facts, "num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"], "mlp_layer_types": ["dense", "sparse"], "sliding_window": facts["window"],
            "rms_norm_eps": 1e-5, "rope_parameters": {"rope_theta": 10000.0}, "norm_topk_prob": True, "routed_scaling_factor": 2.0}


def tensors(c):
    """GGUF name -> (Hugging Face name, with {e} for a stack; shape)."""
    d, q, g, h = c["hidden_size"], c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"], c["head_dim"]
    e, i, f = c["num_experts"], c["moe_intermediate_size"], c["intermediate_size"]
    out = {"token_embd.weight": ("model.embed_tokens.weight", (c["vocab_size"], d)), "output_norm.weight": ("model.norm.weight", (d,)), "output.weight": ("lm_head.weight", (c["vocab_size"], d))}
    for n in range(c["num_hidden_layers"]):
        b, m = f"blk.{n}.", f"model.layers.{n}."
        out.update({b + "attn_norm.weight": (m + "input_layernorm.weight", (d,)), b + "ffn_norm.weight": (m + "post_attention_layernorm.weight", (d,)),
                    b + "attn_q.weight": (m + "self_attn.q_proj.weight", (q, d)), b + "attn_k.weight": (m + "self_attn.k_proj.weight", (g, d)), b + "attn_v.weight": (m + "self_attn.v_proj.weight", (g, d)),
                    b + "attn_output.weight": (m + "self_attn.o_proj.weight", (d, q)), b + "attn_q_norm.weight": (m + "self_attn.q_norm.weight", (h,)), b + "attn_k_norm.weight": (m + "self_attn.k_norm.weight", (h,))})
        if c["mlp_layer_types"][n] == "dense":
            out.update({f"{b}ffn_{k}.weight": (f"{m}mlp.{k}_proj.weight", (d, f) if k == "down" else (f, d)) for k in ("gate", "up", "down")})
            continue
        out.update({b + "ffn_gate_inp.weight": (m + "mlp.gate.weight", (e, d)), b + "exp_probs_b.bias": (m + "mlp.e_score_correction_bias", (e,))})
        for k in ("gate", "up", "down"):
            shape = (d, i) if k == "down" else (i, d)
            out.update({f"{b}ffn_{k}_exps.weight": (f"{m}mlp.experts.{{e}}.{k}_proj.weight", (e, *shape)), f"{b}ffn_{k}_shexp.weight": (f"{m}mlp.shared_experts.{k}_proj.weight", shape)})
    return out


def type_of(name, shape, types):
    if len(shape) < 2 or "gate_inp" in name:
        return Q.F32
    core = name.split(".")[-2]
    found = max((key for key in types if key in core), key=len, default=None)
    return Q.F32 if found is None else types[found]


def random_blocks(shape, kind, rng):
    """Random blocks of such a scale that decoded values are of the size of a weight."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (int(numpy.prod(shape)) // block, size), dtype=numpy.uint8)
    if kind == Q.MXFP4:
        raw[:, 0] = rng.integers(120, 123, len(raw))
    for at in SCALES.get(kind, []):
        raw[:, at:at + 2] = rng.uniform(0.5, 1.0, (len(raw), 1)).astype(numpy.float16).view(numpy.uint8)
    spread = float(numpy.std(gguf.dequantize(raw, kind)))
    wanted = 1.2 / shape[-1] ** 0.5
    for at in SCALES.get(kind, []):
        scale = raw[:, at:at + 2].copy().view(numpy.float16).astype(numpy.float32) * (wanted / spread)
        raw[:, at:at + 2] = scale.astype(numpy.float16).view(numpy.uint8)
    return raw.reshape(*shape[:-1], shape[-1] // block * size)


def draw(name, shape, kind, rng):
    """(bytes as the file holds them, decoded float64)"""
    x = rng.standard_normal(shape).astype(numpy.float32)
    if name.endswith("norm.weight"):
        x = (1 + 0.2 * x).astype(numpy.float32)
    elif name.endswith(".bias"):
        x = (0.2 * x).astype(numpy.float32)
    elif len(shape) >= 2 and "token_embd" not in name:
        x = (x * (1.2 / shape[-1] ** 0.5)).astype(numpy.float32)
    if kind == Q.F32:
        return x, x.astype(numpy.float64)
    raw = random_blocks(shape, kind, rng) if kind in SCALES or kind == Q.MXFP4 else gguf.quantize(x, kind)
    return raw, gguf.dequantize(raw, kind).reshape(shape).astype(numpy.float64)


def write(path, c, stored):
    w = gguf.GGUFWriter(path, "exaone-moe")
    w.add_type("model"), w.add_name(path.stem), w.add_block_count(c["num_hidden_layers"]), w.add_context_length(128), w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"]), w.add_head_count(c["num_attention_heads"]), w.add_head_count_kv(c["num_key_value_heads"])
    w.add_rope_freq_base(c["rope_parameters"]["rope_theta"]), w.add_layer_norm_rms_eps(c["rms_norm_eps"]), w.add_vocab_size(c["vocab_size"])
    w.add_key_length(c["head_dim"]), w.add_value_length(c["head_dim"]), w.add_sliding_window(c["sliding_window"])
    w.add_sliding_window_pattern([kind == "sliding_attention" for kind in c["layer_types"]])
    w.add_expert_count(c["num_experts"]), w.add_expert_used_count(c["num_experts_per_tok"]), w.add_expert_feed_forward_length(c["moe_intermediate_size"]), w.add_expert_shared_count(1)
    w.add_expert_group_count(c["n_group"]), w.add_expert_group_used_count(c["topk_group"]), w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    w.add_expert_weights_scale(c["routed_scaling_factor"]), w.add_expert_weights_norm(True), w.add_leading_dense_block_count(1)
    w.add_uint32("exaone-moe.nextn_predict_layers", 0), w.add_tokenizer_model("none")
    for name, (raw, kind) in stored.items():
        w.add_tensor(name, raw, raw_dtype=None if kind == Q.F32 else kind)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


def attempt(facts, types, seed):
    """(config, stored, logits), or None where a routing choice is too near a tie."""
    rng, c = numpy.random.default_rng(seed), config_of(facts)
    stored, weights = {}, {}
    for name, (known, shape) in tensors(c).items():
        kind = type_of(name, shape, types)
        raw, decoded = draw(name, shape, kind, rng)
        stored[name] = (raw, kind)
        parts = [(known, decoded)] if "{e}" not in known else [(known.format(e=e), decoded[e]) for e in range(shape[0])]
        weights.update({k: torch.from_numpy(v) for k, v in parts})
    result = truth.document(weights, torch.from_numpy(numpy.random.default_rng(7).integers(0, c["vocab_size"], TOKENS)), c)
    return None if result["gap"] < 1e-3 else (c, stored, result["logits"].numpy(), result["gap"])


def make(out, seed):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    ids = numpy.random.default_rng(7).integers(0, 64, TOKENS)
    (out / "own.tokens.txt").write_text(" ".join(map(str, ids)) + "\n")
    cases = []
    for name, (facts, types) in CASES.items():
        c, stored, logits, gap = next(filter(None, (attempt(facts, types, 1000 * seed + n) for n in range(200))))
        write(out / (name + ".gguf"), c, stored)
        logits.astype(numpy.float32).tofile(out / (name + ".logits.f32"))
        cases.append({"model": name + ".gguf", "tokens": "own.tokens.txt", "logits": name + ".logits.f32", "reference": "decoded" if types else "f32"})
        print(f"gguf/{name}: {(out / (name + '.gguf')).stat().st_size} bytes, {len({k for _, k in stored.values()})} types, routing gap {gap:.2g}")
    (out / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
