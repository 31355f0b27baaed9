"""Writes the expected values of fixtures.json beside this file: a linear layer, x @ W.T.

By hand, with PyTorch: python3 src/ops/matmul/fixtures.py. How: test/fixtures/pytorch/fixtures.py.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import torch.nn.functional as F
from fixtures import float64, rewrite


def compute(c):
    x, W = float64(c["x"], True), float64(c["W"], True)
    y = F.linear(x, W)
    y.backward(float64(c["dy"]))
    return {"y": y, "dx": x.grad, "dW": W.grad}


rewrite(__file__, compute)
