"""Writes the expected values of fixtures.json beside this file: rows of an embedding and their gradient.

By hand, with PyTorch: python3 src/ops/embedding/fixtures.py. How: test/fixtures/pytorch/fixtures.py.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import torch
import torch.nn.functional as F
from fixtures import float64, rewrite


def compute(c):
    E = float64(c["E"], True)
    y = F.embedding(torch.tensor(c["ids"]), E)
    y.backward(float64(c["dy"]))
    return {"y": y, "dE": E.grad}


rewrite(__file__, compute)
