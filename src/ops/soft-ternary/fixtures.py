"""Writes fixtures.json beside this file: soft ternary weights and their gradient, by PyTorch's autograd in float64.

By hand, once, with PyTorch 2.15: python3 src/ops/soft-ternary/fixtures.py. Q(w) = s sum_c c softmax_c(-(w / s - c)^2 / tau) with s the
mean of |w|, mixed in by lambda (Hestia, arXiv:2601.20745); "dw" goes through s, "dw_constant" holds it still.
"""
import json
import pathlib

import torch

torch.manual_seed(31)
levels = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
exact = lambda t: [[float(v) for v in row] for row in t.tolist()]
w0, dy = torch.randn(5, 9), torch.randn(5, 9)
cases = []
for temperature, mix in ((1.0, 1.0), (1.0, 0.3), (0.2, 1.0), (0.02, 0.75)):
    found = {}
    for name in ("dw", "dw_constant"):
        w = w0.double().requires_grad_()
        s = w.abs().mean()
        if name == "dw_constant":
            s = s.detach()
        p = torch.softmax(-((w / s).unsqueeze(-1) - levels) ** 2 / temperature, dim=-1)
        y = torch.lerp(w, s * (p * levels).sum(-1), mix)
        y.backward(dy.double())
        found[name] = exact(w.grad)
    cases.append({"temperature": temperature, "lambda": mix, "y": exact(y.detach()), **found})
data = {"w": exact(w0), "scale": float(w0.double().abs().mean()), "dy": exact(dy), "cases": cases}
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
