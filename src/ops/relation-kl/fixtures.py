"""Writes fixtures.json beside this file: the relation loss and its gradient, by PyTorch's autograd in float64.

By hand, once, with PyTorch 2.15: python3 src/ops/relation-kl/fixtures.py. F.normalize, a product with its transpose, softmax and
kl_div, as MiniLMv2 and BitDistill have them (temperature 1, no causal mask); the mean over parts and counted positions.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(41)
B, T, W, WT, R = 2, 5, 6, 9, 3
student, teacher = torch.randn(B, T, W), torch.randn(B, T, WT)
targets = torch.tensor([[3, -100, 0, 1, 2], [7, 7, -100, 2, 1]])
counted = targets != -100


def log_relations(x):
    parts = F.normalize(x.reshape(B, T, R, -1).transpose(1, 2), dim=-1)
    return F.log_softmax(parts @ parts.transpose(-1, -2), -1)


x = student.double().requires_grad_()
rows = F.kl_div(log_relations(x), log_relations(teacher.double()), reduction="none", log_target=True).sum(-1)
loss = (rows.mean(1) * counted).sum() / counted.sum()
loss.backward()
data = {
    "sizes": [B, T, W, WT, R],
    "student": student.flatten().tolist(),
    "teacher": teacher.flatten().tolist(),
    "targets": targets.flatten().tolist(),
    "loss": loss.item(),
    "gradient": x.grad.flatten().tolist(),
}
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
