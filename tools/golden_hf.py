"""tests/golden/hf: small models, one folder each: a Hugging Face model, case.json, expected.safetensors.

A case is drawn again with the next seed until no routing choice is nearer than 1e-4 to a tie and no greedy choice nearer than 1e-3.
"""
import json
import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from safetensors.torch import save_file

import golden_forward as truth

BASE = {
    "architectures": ["ExaoneMoeForCausalLM"], "model_type": "exaone_moe", "vocab_size": 80, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "hidden_act": "silu", "max_position_embeddings": 256, "initializer_range": 0.02,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "attention_dropout": 0.0,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0}, "sliding_window": 5,
    "layer_types": ["sliding_attention"] * 3 + ["full_attention"], "mlp_layer_types": ["dense"] + ["sparse"] * 3, "first_k_dense_replace": 1,
    "moe_intermediate_size": 12, "num_experts": 6, "num_experts_per_tok": 2, "num_shared_experts": 1, "norm_topk_prob": True,
    "routed_scaling_factor": 2.5, "n_group": 1, "topk_group": 1, "scoring_func": "sigmoid", "num_nextn_predict_layers": 0, "dtype": "float32",
}
CASES = {
    "small": dict(note="LLLG, dense first layer, window shorter than the rows", config={}),
    "small-groups": dict(note="4 expert groups, 2 kept; weights in bfloat16, run in float32", dtype=torch.bfloat16,
                         config={"num_experts": 8, "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 1.75}),
    "small-clamps": dict(note="windows of two sizes, two dense layers, clamps on the last two; G L L L; bfloat16", dtype=torch.bfloat16, transformers=False,
                         config={"layer_types": ["full_attention"] + ["sliding_attention"] * 3, "mlp_layer_types": ["dense"] * 2 + ["sparse"] * 2,
                                 "first_k_dense_replace": 2, "sliding_window": None, "sliding_windows": [0, 9, 4, 4], "swiglu_limits": [0.0, 0.0, 0.5, 0.5]}),
    "small-mtp": dict(note="the MTP layer, with both kinds of attention; bfloat16", dtype=torch.bfloat16, mtp=True, config={"num_nextn_predict_layers": 1, "num_hidden_layers": 2,
                      "layer_types": ["sliding_attention", "full_attention"], "mlp_layer_types": ["dense", "sparse"]}),
    "small-packed": dict(note="several documents in a row, one of them a single token; bfloat16", dtype=torch.bfloat16, documents=[[0] * 7 + [1] + [2] * 10, [0] * 18],
                         transformers=False, config={"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"], "mlp_layer_types": ["dense", "sparse"]}),
}
MTP_COEFFICIENT, ROWS, TOKENS, GREEDY = 0.1, 2, 18, 16


def shapes(c):
    d, q, g = c["hidden_size"], c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
    out = {"model.embed_tokens.weight": (c["vocab_size"], d), "lm_head.weight": (c["vocab_size"], d), "model.norm.weight": (d,)}

    def ffn(prefix, width):
        out.update({f"{prefix}.gate_proj.weight": (width, d), f"{prefix}.up_proj.weight": (width, d), f"{prefix}.down_proj.weight": (d, width)})

    def block(prefix, sparse):
        out.update({f"{prefix}.{n}.weight": (d,) for n in ("input_layernorm", "post_attention_layernorm")})
        out.update({f"{prefix}.self_attn.{n}_proj.weight": s for n, s in (("q", (q, d)), ("k", (g, d)), ("v", (g, d)), ("o", (d, q)))})
        out.update({f"{prefix}.self_attn.{n}_norm.weight": (c["head_dim"],) for n in "qk"})
        if not sparse:
            return ffn(prefix + ".mlp", c["intermediate_size"])
        out.update({prefix + ".mlp.gate.weight": (c["num_experts"], d), prefix + ".mlp.e_score_correction_bias": (c["num_experts"],)})
        for e in range(c["num_experts"]):
            ffn(f"{prefix}.mlp.experts.{e}", c["moe_intermediate_size"])
        ffn(prefix + ".mlp.shared_experts", c["moe_intermediate_size"] * c["num_shared_experts"])

    for i, (_, sparse, _) in enumerate(truth.kinds(c)):
        block(f"model.layers.{i}", sparse)
    if c["num_nextn_predict_layers"]:
        out.update({"mtp.fc.weight": (d, 2 * d), "mtp.norm.weight": (d,), "mtp.pre_fc_norm_embedding.weight": (d,), "mtp.pre_fc_norm_hidden.weight": (d,)})
        block("mtp.layers.0", False)
    return out


def draw(config, dtype, rng):
    """Stored tensors: large enough that routing, windows, norms and the router bias all matter."""
    weights = {}
    for name, shape in shapes(config).items():
        x = torch.randn(shape, generator=rng, dtype=torch.float64)
        if name.endswith("norm.weight") or "norm_" in name:
            x = 1 + 0.2 * x
        elif name.endswith("e_score_correction_bias"):
            x = 0.3 * x
        elif len(shape) == 2 and "embed" not in name:
            x = x * 1.5 / shape[1] ** 0.5
        weights[name] = x.to(torch.float32 if name.endswith("bias") else dtype)
    return weights


def run_rows(w, ids, documents, config):
    """Every document alone, put together again as rows."""
    rows = []
    for b, row in enumerate(ids):
        of = documents[b] if documents else [0] * len(row)
        starts = [t for t in range(len(row)) if t == 0 or of[t] != of[t - 1]] + [len(row)]
        rows.append([truth.document(w, row[s:e], config) for s, e in zip(starts, starts[1:])])
    return rows


def mean_loss(logits, labels):
    """labels[t + 1] is the target of logits[t]."""
    target = torch.full_like(labels, -100)
    target[:, :-1] = labels[:, 1:]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100)


def stacked(rows, pick):
    return torch.stack([torch.cat([pick(d) for d in row]) for row in rows])


def gradients(w, loss, prefix, out):
    for name, g in zip(w, torch.autograd.grad(loss, list(w.values()), allow_unused=True)):
        if g is not None:
            out[prefix + name] = g.to(torch.float32).contiguous()


def greedy(w, prompt, config):
    ids, margin = list(prompt), float("inf")
    with torch.no_grad():
        for _ in range(GREEDY):
            best = truth.document(w, torch.tensor(ids), config)["logits"][-1].topk(2)
            margin = min(margin, float(best.values[0] - best.values[1]))
            ids.append(int(best.indices[0]))
    return torch.tensor(ids[len(prompt):]), margin


def expected_mtp(w, rows, ids, labels, main_loss, config, out):
    for name, window in (("global", 0), ("sliding5", 5)):
        logits = torch.stack([truth.mtp_logits(w, row[0]["normed"], one, config, window) for row, one in zip(rows, ids)])
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 2:].flatten(), ignore_index=-100)
        out.update({f"mtp.{name}.logits": logits.detach(), f"mtp.{name}.loss": loss.detach().view(1)})
        together = main_loss + MTP_COEFFICIENT * loss
        for key, g in zip(w, torch.autograd.grad(together, list(w.values()), retain_graph=True, allow_unused=True)):
            # A tensor of the main model changes by the MTP loss too; the largest kinds suffice to see that.
            if g is not None and (key.startswith("mtp.") or key in ("lm_head.weight", "model.embed_tokens.weight", "model.norm.weight")):
                out[f"mtp.{name}.grad.{key}"] = g.to(torch.float32).contiguous()


def attempt(case, seed):
    """(stored, case.json, expected), or None where a choice is too near a tie."""
    config, rng = {k: v for k, v in {**BASE, **case["config"]}.items() if v is not None}, torch.Generator().manual_seed(seed)
    stored = draw(config, case.get("dtype", torch.float32), rng)
    w = {name: x.to(torch.float64).requires_grad_(not name.endswith("bias")) for name, x in stored.items()}
    tokens = torch.randint(3, config["vocab_size"], (ROWS, TOKENS), generator=rng)
    labels = tokens.masked_fill(torch.rand((ROWS, TOKENS), generator=rng) < 0.1, -100)
    documents = case.get("documents")
    if documents:
        for b, of in enumerate(documents):
            for t in range(TOKENS):
                if t == 0 or of[t] != of[t - 1]:
                    labels[b, t] = -100
    rows = run_rows(w, tokens, documents, config)
    prompt = tokens[0, :6].tolist()
    tokens_greedy, margin = greedy(w, prompt, config)
    gap = min(d["gap"] for row in rows for d in row)
    if gap < 1e-4 or margin < 1e-3:
        return None
    out = {"logits": stacked(rows, lambda d: d["logits"]), "greedy": tokens_greedy, "hidden.norm": stacked(rows, lambda d: d["normed"])}
    for i in range(config["num_hidden_layers"] + 1):
        out[f"hidden.{i}"] = stacked(rows, lambda d: d["hidden"][i])
    sparse = [i for i, kind in enumerate(truth.kinds(config)) if kind[1]]
    for n, i in enumerate(sparse):
        for part, name in enumerate(("probabilities", "experts", "weights")):
            out[f"router.{i}.{name}"] = stacked(rows, lambda d: d["routing"][n][part]).flatten(0, 1)
    loss = mean_loss(out["logits"], labels)
    out["loss"] = loss.detach().view(1)
    known = {k: v for k, v in w.items() if v.requires_grad}
    if case.get("mtp"):
        expected_mtp(known, rows, tokens, labels, loss, config, out)
    main = {k: v for k, v in known.items() if not k.startswith("mtp.")}
    gradients(main, loss, "grad.", out)
    out = {k: (v if v.dtype == torch.int64 or k in ("logits", "loss") or k.endswith(("mtp.logits", ".loss")) else v.to(torch.float32)).detach().contiguous() for k, v in out.items()}
    about = {"note": case["note"], "ids": tokens.tolist(), "labels": labels.tolist(), "greedy_prompt": prompt, "smallest_routing_gap": gap, "smallest_greedy_margin": margin}
    if documents:
        about["documents"] = documents
    if case.get("mtp"):
        about["mtp"] = {"loss_coefficient": MTP_COEFFICIENT, "detached": False, "attention": [{"name": "global", "window": 0}, {"name": "sliding5", "window": 5}]}
    return config, stored, about, out


def check_transformers(folder, about, expected):
    """The same model in transformers, float32: loss, logits, gradients and greedy tokens must agree with the truth."""
    import transformers
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").eval()
    ids, labels = torch.tensor(about["ids"]), torch.tensor(about["labels"])
    out = model(ids, labels=labels)
    out.loss.backward()
    scale = float(expected["logits"].abs().max())
    difference = float((out.logits.detach().double() - expected["logits"]).abs().max()) / scale
    head = dict(model.named_parameters())["lm_head.weight"].grad
    grad = float((head - expected["grad.lm_head.weight"]).abs().max() / head.abs().max())
    tokens = model.generate(torch.tensor([about["greedy_prompt"]]), do_sample=False, max_new_tokens=GREEDY, eos_token_id=None, pad_token_id=0)[0, len(about["greedy_prompt"]):]
    loss = abs(float(out.loss.detach()) - float(expected["loss"]))
    if difference > 1e-5 or loss > 1e-5 or grad > 1e-4 or tokens.tolist() != expected["greedy"].tolist():
        raise SystemExit(f"{folder}: transformers differs: logits {difference:.2g}, loss {loss:.2g}, gradient {grad:.2g}, greedy {tokens.tolist()}")
    expected["logits.transformers_f32"] = out.logits.detach().contiguous()
    return difference


def make(out, seed):
    for name, case in CASES.items():
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        drawn = next(filter(None, (attempt(case, 1000 * seed + n) for n in range(200))))
        config, stored, about, expected = drawn
        config = dict(config, dtype="bfloat16" if case.get("dtype") == torch.bfloat16 else "float32")
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        save_file({k: v.contiguous() for k, v in stored.items()}, folder / "model.safetensors", metadata={"format": "pt"})
        against = check_transformers(folder, about, expected) if case.get("transformers", True) else None
        (folder / "case.json").write_text(json.dumps(about) + "\n")
        save_file(expected, folder / "expected.safetensors")
        print(f"hf/{name}: routing gap {about['smallest_routing_gap']:.2g}, greedy margin {about['smallest_greedy_margin']:.2g}, "
              + (f"transformers' logits within {against:.2g}" if against is not None else "not in transformers"))
