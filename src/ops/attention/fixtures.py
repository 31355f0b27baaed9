"""Writes the expected values of fixtures.json beside this file: causal attention with grouped key/value heads.

By hand, with PyTorch: python3 src/ops/attention/fixtures.py. How: test/fixtures/pytorch/fixtures.py.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import math

import torch
from fixtures import float64, rewrite


def compute(c):
    q, k, v = (float64(c[name], True) for name in "qkv")
    T, D = q.shape[-2:]
    groups = q.shape[1] // k.shape[1]
    keys, values = (t.repeat_interleave(groups, 1) for t in (k, v))
    scores = (q @ keys.transpose(-1, -2)) / math.sqrt(D)
    probs = scores.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf")).softmax(-1)
    y = probs @ values
    y.backward(float64(c["dy"]))
    return {"probs": probs, "y": y, "dq": q.grad, "dk": k.grad, "dv": v.grad}


rewrite(__file__, compute)
