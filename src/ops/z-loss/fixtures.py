"""Writes fixtures.json beside this file: z-loss and its gradient, by PyTorch in float64.

By hand, once, with PyTorch 2.15: python3 src/ops/z-loss/fixtures.py. The term is PaLM's: the mean of logsumexp(logits)**2,
here over the rows whose target counts.
"""
import json
import pathlib

import torch

torch.manual_seed(11)
exact = lambda t: [[float(v) for v in row] for row in t.tolist()]
logits = torch.randn(6, 11) * 2
targets = torch.tensor([3, -100, 0, 10, -100, 7])
x = logits.double().requires_grad_()
loss = (torch.logsumexp(x, dim=-1)[targets != -100] ** 2).mean()
loss.backward()
data = {
    "logits": exact(logits),
    "targets": targets.tolist(),
    "loss": loss.item(),
    "dlogits": exact(x.grad),
}
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
