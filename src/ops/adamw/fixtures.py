"""Writes the expected values of fixtures.json beside this file: three AdamW steps of torch.optim with the gradient clipped by its norm.

By hand, with PyTorch: python3 src/ops/adamw/fixtures.py. How: test/fixtures/pytorch/fixtures.py.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import torch
from fixtures import float64, rewrite


def compute(c):
    p = torch.nn.Parameter(float64(c["p0"]))
    optimizer = torch.optim.AdamW(
        [p], lr=c["lr"], betas=(c["beta1"], c["beta2"]), eps=c["eps"], weight_decay=c["weight_decay"]
    )
    norms, clipped, after = [], [], []
    for grad in c["grads"]:
        p.grad = float64(grad)
        norms.append(torch.nn.utils.clip_grad_norm_([p], c["max_norm"]).item())
        clipped.append(p.grad.tolist())
        optimizer.step()
        after.append(p.tolist())
    state = optimizer.state[p]
    return {
        "grad_norm_before_clip": norms,
        "clipped_grads": clipped,
        "p_after": after,
        "m": state["exp_avg"],
        "v": state["exp_avg_sq"],
    }


rewrite(__file__, compute)
