"""Writes fixtures.json beside this file: the mean square difference of counted rows, by PyTorch's autograd in float64.

By hand, once, with PyTorch 2.15: python3 src/ops/masked-mse/fixtures.py. mse_loss of the rows whose target is not -100.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(51)
x, y = torch.randn(5, 7), torch.randn(5, 7)
targets = torch.tensor([3, -100, 0, 6, -100])
at = x.double().requires_grad_()
loss = F.mse_loss(at[targets != -100], y.double()[targets != -100])
loss.backward()
data = {
    "x": x.flatten().tolist(),
    "y": y.flatten().tolist(),
    "targets": targets.tolist(),
    "loss": loss.item(),
    "gradient": at.grad.flatten().tolist(),
}
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
