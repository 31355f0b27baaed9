"""Writes the expected values of fixtures.json beside this file: RMSNorm, gain * x / sqrt(mean(x^2) + eps).

By hand, with PyTorch: python3 src/ops/rms-norm/fixtures.py. How: test/fixtures/pytorch/fixtures.py.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import torch
from fixtures import float64, rewrite


def compute(c):
    x, gain = float64(c["x"], True), float64(c["gain"], True)
    y = gain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + c["eps"]))
    y.backward(float64(c["dy"]))
    return {"y": y, "dx": x.grad, "dgain": gain.grad}


rewrite(__file__, compute)
