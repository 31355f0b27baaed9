"""Writes the cases of fixtures.json beside this file: a BitLinear layer, forward and backward, for each norm and scale rule.

In float64, rounded once to float32. Straight-through: dx = dy @ Wdq of the normed input, dW = dy.T @ xdq. The inputs' seed was
searched so that no value stands near a rounding boundary: any right float32 makes the same codes. By hand, with PyTorch:
python3 src/ops/bit-linear/fixtures.py.
"""
import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))
from fixtures import float64, numbers, report, write

eps = 1e-5
path = pathlib.Path(__file__).with_name("fixtures.json")
data = json.loads(path.read_text())
dy = float64(data["dy"])
for i, case in enumerate(data["cases"]):
    x, W, gain = (float64(data[name], True) for name in ("x", "W", "gain"))
    normed = x
    if case["norm"] != "none":
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    if case["norm"] == "rms_gain":
        normed = gain * normed
    k = 127.0 / normed.detach().abs().max(-1, keepdim=True).values.clamp(min=eps)
    x_q = (normed.detach() * k).round().clamp(-127, 127)
    mean = W.detach().abs().mean()
    scale = mean + eps if case["wq"] == "add" else mean.clamp(min=eps)
    w_q = (W.detach() / scale).round().clamp(-1, 1)
    y = (normed + (x_q / k - normed).detach()) @ (W + (w_q * scale - W).detach()).T
    y.backward(dy)
    whole = lambda t: [[int(v) for v in row] for row in t.tolist()]
    made = {
        "norm": case["norm"],
        "wq": case["wq"],
        "x_normed": numbers(normed),
        "act_k": numbers(k.flatten()),
        "x_q": whole(x_q),
        "w_scale": scale.float().item(),
        "w_q": whole(w_q),
        "acc_int32": whole(x_q @ w_q.T),
        "y": numbers(y),
        "dx": numbers(x.grad),
        "dW": numbers(W.grad),
    }
    if case["norm"] == "rms_gain":
        made["dgain"] = numbers(gain.grad)
    report(f"{case['norm']}, {case['wq']}", case, made)
    data["cases"][i] = made
write(path, data)
