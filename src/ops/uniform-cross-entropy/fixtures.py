"""Writes fixtures.json beside this file: label smoothing and its gradient, by PyTorch in float64.

By hand, once, with PyTorch 2.15: python3 src/ops/uniform-cross-entropy/fixtures.py. F.cross_entropy(label_smoothing = 1) is
the cross entropy against the uniform distribution alone; at 0.1 the whole of label smoothing.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(12)
exact = lambda t: [[float(v) for v in row] for row in t.tolist()]
logits = torch.randn(6, 11) * 2
targets = torch.tensor([3, -100, 0, 10, -100, 7])
cases = []
for smoothing in (1.0, 0.1):
    x = logits.double().requires_grad_()
    loss = F.cross_entropy(x, targets, label_smoothing=smoothing)
    loss.backward()
    cases.append({"smoothing": smoothing, "loss": loss.item(), "dlogits": exact(x.grad)})
data = {"logits": exact(logits), "targets": targets.tolist(), "cases": cases}
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
