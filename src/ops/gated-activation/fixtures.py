"""Writes the expected values of fixtures.json beside this file: SwiGLU, silu(gate) * up.

By hand, with PyTorch: python3 src/ops/gated-activation/fixtures.py. How: test/fixtures/pytorch/fixtures.py.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import torch.nn.functional as F
from fixtures import float64, rewrite


def compute(c):
    gate, up = float64(c["gate"], True), float64(c["up"], True)
    y = F.silu(gate) * up
    y.backward(float64(c["dy"]))
    return {"y": y, "dgate": gate.grad, "dup": up.grad}


rewrite(__file__, compute)
