"""Writes the expected values of fixtures.json beside this file: mean cross-entropy over the rows that are not ignored.

By hand, with PyTorch: python3 src/ops/cross-entropy/fixtures.py. How: test/fixtures/pytorch/fixtures.py.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import torch
import torch.nn.functional as F
from fixtures import float64, rewrite


def compute(c):
    logits, targets = float64(c["logits"], True), torch.tensor(c["targets"])
    loss = F.cross_entropy(logits, targets, ignore_index=c["ignore_index"])
    loss.backward()
    per_row = F.cross_entropy(logits, targets, ignore_index=c["ignore_index"], reduction="none")
    return {"loss": [loss.item()], "dlogits": logits.grad, "per_row": per_row}


rewrite(__file__, compute)
