"""Writes the expected values of fixtures.json beside this file: steps of torch.optim.Muon, and Newton-Schulz iterations in
NumPy, both in float64.

torch.optim.Muon iterates in bfloat16. Here its own code runs with float64 in bfloat16's place, so that its formula is held to
the last digits; `bfloat16_p_after` are the weights as PyTorch itself computes them.

By hand, with PyTorch 2.9 or newer: python3 src/ops/muon/fixtures.py. How: test/fixtures/pytorch/fixtures.py.
"""
import pathlib
import sys
import types

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import numpy as np
import torch
import torch.optim._muon as implementation
from fixtures import float64, rewrite

exact = types.SimpleNamespace(**{name: getattr(torch, name) for name in ("addmm", "no_grad", "is_complex", "zeros_like")})
exact.preserve_format = torch.preserve_format
exact.bfloat16 = torch.float64


def steps(c):
    p = torch.nn.Parameter(float64(c["p0"]))
    optimizer = torch.optim.Muon(
        [p],
        lr=c["lr"],
        weight_decay=c["weight_decay"],
        momentum=c["momentum"],
        nesterov=c["nesterov"],
        ns_steps=c["iterations"],
        adjust_lr_fn={"spectral": "original", "adamw": "match_rms_adamw"}[c["scale"]],
    )
    after = []
    for gradient in c["grads"]:
        p.grad = float64(gradient)
        optimizer.step()
        after.append(p.tolist())
    return after


def newton_schulz(g, iterations):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / np.linalg.norm(x)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def compute(c):
    rounded = steps(c)
    own = implementation.torch
    implementation.torch = exact
    try:
        after = steps(c)
    finally:
        implementation.torch = own
    first = np.array(c["grads"][0], dtype=np.float32).astype(np.float64)
    return {
        "p_after": after,
        "bfloat16_p_after": rounded,
        "orthogonalized": newton_schulz(first, c["iterations"]).tolist(),
    }


rewrite(__file__, compute)
