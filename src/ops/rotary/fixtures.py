"""Writes the expected values of fixtures.json beside this file: rotary positions, of half-split pairs (i, i + D/2) and, for contrast, of neighbours.

By hand, with PyTorch: python3 src/ops/rotary/fixtures.py. How: test/fixtures/pytorch/fixtures.py.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import torch
from fixtures import float64, rewrite


def compute(c):
    x = float64(c["x"], True)
    T, D = x.shape[-2:]
    angles = torch.outer(
        torch.arange(c.get("start", 0), c.get("start", 0) + T, dtype=torch.float64),
        1.0 / (c["theta"] ** (torch.arange(0, D, 2, dtype=torch.float64) / D)),
    )
    if "start" in c:
        cos, sin = (torch.cat((t, t), -1) for t in (angles.cos(), angles.sin()))
        y = x * cos + torch.cat((-x[..., D // 2 :], x[..., : D // 2]), -1) * sin
        tables = {"cos": cos, "sin": sin}
    else:
        a, b = x[..., 0::2], x[..., 1::2]
        cos, sin = angles.cos(), angles.sin()
        y = torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)
        tables = {}
    y.backward(float64(c["dy"]))
    return {**tables, "y": y, "dx": x.grad}


rewrite(__file__, compute)
