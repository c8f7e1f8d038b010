"""The architecture of exaone_moe in float64 with torch, equation by equation: the truth of the project's goldens.

Weights are a dict of Hugging Face names; `config` is config.json as a dict. Nothing here is fast, batched over experts, or shared with
the program under test. Shapes: T rows of one document, D hidden, Q/G query/key heads, H head width, E experts.
"""
import torch


def kinds(config):
    """Of each layer: window (0: global), sparse, clamp (0: none)."""
    count = config["num_hidden_layers"]
    windows = config.get("sliding_windows") or [config["sliding_window"] if k == "sliding_attention" else 0 for k in config["layer_types"]]
    limits = config.get("swiglu_limits") or [0.0] * count
    return [(windows[i], config["mlp_layer_types"][i] == "sparse", limits[i]) for i in range(count)]


def rms_norm(x, weight, epsilon):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + epsilon) * weight


def rotate(x, theta):
    """x: [T, heads, H]; pairs (j, j + H/2)."""
    rows, _, width = x.shape
    frequency = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(rows, dtype=torch.float64)[:, None] * frequency
    cos, sin = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
    u, v = x[..., : width // 2], x[..., width // 2:]
    return torch.cat([u * cos - v * sin, v * cos + u * sin], -1)


def attention(w, prefix, h, config, window, rotary):
    rows, heads, groups, width = h.shape[0], config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    project = lambda name, n: (h @ w[f"{prefix}.{name}_proj.weight"].T).view(rows, n, width)
    q = rms_norm(project("q", heads), w[f"{prefix}.q_norm.weight"], config["rms_norm_eps"])
    k = rms_norm(project("k", groups), w[f"{prefix}.k_norm.weight"], config["rms_norm_eps"])
    v = project("v", groups)
    if rotary:
        theta = config["rope_parameters"]["rope_theta"]
        q, k = rotate(q, theta), rotate(k, theta)
    distance = torch.arange(rows)[:, None] - torch.arange(rows)[None]
    hidden = (distance < 0) | ((distance >= window) if window else torch.zeros_like(distance, dtype=torch.bool))
    out = []
    for head in range(heads):
        key = head // (heads // groups)
        scores = q[:, head] @ k[:, key].T / width**0.5
        out.append(torch.softmax(scores.masked_fill(hidden, float("-inf")), -1) @ v[:, key])
    return torch.cat(out, -1) @ w[f"{prefix}.o_proj.weight"].T


def feed_forward(w, prefix, h, limit):
    gate, up = h @ w[f"{prefix}.gate_proj.weight"].T, h @ w[f"{prefix}.up_proj.weight"].T
    if limit:
        gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
    return (gate * torch.sigmoid(gate) * up) @ w[f"{prefix}.down_proj.weight"].T


def choose(z, config):
    """Experts of one row by biased scores, ascending; and the distance to the first that was left out."""
    groups, kept, k = config.get("n_group", 1), config.get("topk_group", 1), config["num_experts_per_tok"]
    gap = float("inf")
    if groups > 1:
        score = z.view(groups, -1).topk(2, -1).values.sum(-1)
        order = score.sort(descending=True)
        gap = float(order.values[kept - 1] - order.values[kept])
        allowed = torch.zeros_like(z.view(groups, -1), dtype=torch.bool)
        allowed[order.indices[:kept]] = True
        z = z.masked_fill(~allowed.view(-1), float("-inf"))
    order = z.sort(descending=True)
    return order.indices[:k].sort().values, min(gap, float(order.values[k - 1] - order.values[k]))


def mixture(w, prefix, h, config, limit, seen):
    p = torch.sigmoid(h @ w[f"{prefix}.gate.weight"].T)
    bias = w[f"{prefix}.e_score_correction_bias"]
    rows, experts, weights = [], [], []
    for t in range(h.shape[0]):
        chosen, gap = choose((p[t] + bias).detach(), config)
        seen["gap"] = min(seen["gap"], gap)
        share = p[t, chosen]
        if config["norm_topk_prob"]:
            share = share / (share.sum() + 1e-20)
        share = share * config["routed_scaling_factor"]
        rows.append(sum(s * feed_forward(w, f"{prefix}.experts.{e}", h[t : t + 1], limit) for s, e in zip(share, chosen.tolist())))
        experts.append(chosen), weights.append(share.detach())
    seen["routing"].append((p.detach(), torch.stack(experts), torch.stack(weights)))
    return torch.cat(rows) + feed_forward(w, f"{prefix}.shared_experts", h, limit)


def layer(w, prefix, x, config, window, sparse, limit, rotary, seen):
    epsilon = config["rms_norm_eps"]
    x = x + attention(w, prefix + ".self_attn", rms_norm(x, w[prefix + ".input_layernorm.weight"], epsilon), config, window, rotary)
    h = rms_norm(x, w[prefix + ".post_attention_layernorm.weight"], epsilon)
    return x + (mixture(w, prefix + ".mlp", h, config, limit, seen) if sparse else feed_forward(w, prefix + ".mlp", h, limit))


def document(w, ids, config):
    """One document [T] -> a dict: hidden (list of [T, D]), normed, logits, routing (a list over sparse layers), gap."""
    seen = {"gap": float("inf"), "routing": []}
    x = w["model.embed_tokens.weight"][ids]
    hidden = [x]
    for i, (window, sparse, limit) in enumerate(kinds(config)):
        x = layer(w, f"model.layers.{i}", x, config, window, sparse, limit, window > 0, seen)
        hidden.append(x)
    normed = rms_norm(x, w["model.norm.weight"], config["rms_norm_eps"])
    return {"hidden": hidden, "normed": normed, "logits": normed @ w["lm_head.weight"].T, **seen}


def mtp_logits(w, normed, ids, config, window):
    """[T-1, V]: row t reads the normed hidden state of t and token t+1, and predicts t+2."""
    epsilon = config["rms_norm_eps"]
    a = rms_norm(w["model.embed_tokens.weight"][ids[1:]], w["mtp.pre_fc_norm_embedding.weight"], epsilon)
    c = rms_norm(normed[:-1], w["mtp.pre_fc_norm_hidden.weight"], epsilon)
    u = torch.cat([a, c], -1) @ w["mtp.fc.weight"].T
    u = layer(w, "mtp.layers.0", u, config, window, False, 0.0, window > 0, None)
    return rms_norm(u, w["mtp.norm.weight"], epsilon) @ w["lm_head.weight"].T
