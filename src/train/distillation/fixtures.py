"""Writes fixtures.json beside this file: one step of a two-layer student that learns from a wider teacher, by PyTorch's autograd
in float64: each loss, the weighted sum, the student's logits and every gradient, that of the projection among them.

By hand, once, with PyTorch 2.15: python3 src/train/distillation/fixtures.py. The models are those of
test/fixtures/pytorch/models.py (full precision); the losses are cross_entropy, kl_div and mse_loss, per counted target.
"""
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import torch
import torch.nn.functional as F
from models import rms, rotate

torch.manual_seed(61)
V, B, T = 13, 2, 6
shapes = {"student": dict(C=8, L=2, H=2, G=1, F=12), "teacher": dict(C=12, L=2, H=2, G=2, F=16)}
settings = dict(alpha=0.4, temperature=2.0, relations=0.3, hidden=0.7, parts=1)


def weights(C, L, H, G, F):
    D = C // H
    draw = lambda *shape: torch.randn(*shape) * 0.3
    made = {"embed": draw(V, C), "norm.weight": 1 + draw(C)}
    for i in range(L):
        p = f"blocks.{i}."
        made |= {p + "attn_norm.weight": 1 + draw(C), p + "ffn_norm.weight": 1 + draw(C)}
        made |= {p + "attn.q.weight": draw(H * D, C), p + "attn.o.weight": draw(C, H * D)}
        made |= {p + f"attn.{name}.weight": draw(G * D, C) for name in "kv"}
        made |= {p + f"ffn.{name}.weight": draw(F, C) for name in ("gate", "up")}
        made[p + "ffn.down.weight"] = draw(C, F)
    return made


def forward(w, tokens, C, L, H, G, F):
    """-> logits, and of each block: query, key, value (before positions), and what it gives"""
    D, x, taps = C // H, torch.nn.functional.embedding(tokens, w["embed"]), []
    for i in range(L):
        p = lambda name: w[f"blocks.{i}.{name}.weight"]
        h = rms(x, p("attn_norm"))
        query, key, value = (h @ p(f"attn.{name}").T for name in "qkv")
        split = lambda t, heads: t.view(B, T, heads, D).transpose(1, 2)
        q, k = rotate(split(query, H)), rotate(split(key, G)).repeat_interleave(H // G, 1)
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(D)
        scores = scores.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
        y = (scores.softmax(-1) @ split(value, G).repeat_interleave(H // G, 1)).transpose(1, 2).reshape(B, T, H * D)
        x = x + y @ p("attn.o").T
        h = rms(x, p("ffn_norm"))
        x = x + (torch.nn.functional.silu(h @ p("ffn.gate").T) * (h @ p("ffn.up").T)) @ p("ffn.down").T
        taps.append(dict(query=query, key=key, value=value, hidden=x))
    return rms(x, w["norm.weight"]) @ w["embed"].T, taps


def log_relations(x):
    parts = F.normalize(x.reshape(B, T, settings["parts"], -1).transpose(1, 2), dim=-1)
    return F.log_softmax(parts @ parts.transpose(-1, -2), -1)


tokens = torch.randint(0, V, (B, T))
targets = torch.randint(0, V, (B, T))
targets[0, 1] = targets[1, 4] = -100
counted = targets != -100
stored = {name: weights(**shape) for name, shape in shapes.items()}
projection = torch.randn(shapes["teacher"]["C"], shapes["student"]["C"]) * 0.3

w = {name: t.double().requires_grad_() for name, t in stored["student"].items()}
P = projection.double().requires_grad_()
with torch.no_grad():
    y, other = forward({name: t.double() for name, t in stored["teacher"].items()}, tokens, **shapes["teacher"])
x, own = forward(w, tokens, **shapes["student"])

per_token = lambda rows: (rows * counted).sum() / counted.sum()
t = settings["temperature"]
log_p, log_q = F.log_softmax(y / t, -1), F.log_softmax(x / t, -1)
losses = {
    "next-token": F.cross_entropy(x.reshape(-1, V), targets.reshape(-1)),
    "distillation": t**2 * per_token(F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)),
    "relations": sum(
        per_token(
            F.kl_div(log_relations(own[1][s]), log_relations(other[0][s]), reduction="none", log_target=True)
            .sum(-1)
            .mean(1)
        )
        for s in ("query", "key", "value")
    )
    / 3,
    "hidden-states": F.mse_loss((own[0]["hidden"] @ P.T)[counted], other[1]["hidden"][counted]),
}
alpha = settings["alpha"]
loss = (
    (1 - alpha) * losses["next-token"]
    + alpha * losses["distillation"]
    + settings["relations"] * losses["relations"]
    + settings["hidden"] * losses["hidden-states"]
)
loss.backward()
flat = lambda tensor: tensor.flatten().tolist()
data = {
    "shapes": shapes,
    "settings": settings,
    "tokens": flat(tokens),
    "targets": flat(targets),
    "weights": {whose: {name: flat(v) for name, v in stored[whose].items()} for whose in stored},
    "projection": flat(projection),
    "logits": flat(x),
    "losses": {name: value.item() for name, value in losses.items()},
    "loss": loss.item(),
    "gradients": {name: flat(v.grad) for name, v in w.items()},
    "projection_gradient": flat(P.grad),
}
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data) + "\n")
