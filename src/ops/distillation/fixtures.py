"""Writes fixtures.json beside this file: distillation losses and their gradients, by PyTorch's autograd in float64.

By hand, once, with PyTorch 2.15: python3 src/ops/distillation/fixtures.py. The divergences are PyTorch's kl_div of
log-probabilities at a temperature, times its square, per counted position. Token weights and the mixture's share are written
out as the papers have them (arXiv:2308.06744, arXiv:2402.10631). The loss against samples is cross_entropy against the soft
targets count / S, less the teacher's entropy.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(31)
B, T, V, S = 2, 4, 11, 12
student, teacher = torch.randn(B, T, V) * 2, torch.randn(B, T, V) * 2
targets = torch.tensor([[3, -100, 0, 10], [7, 7, -100, 2]])
counted = targets != -100
ids = torch.multinomial(torch.softmax(teacher.reshape(B * T, V) / 2, -1), S, replacement=True).reshape(B, T, S)
y = teacher.double()


def target_loss():
    safe = targets.clamp(min=0)
    return F.cross_entropy(y.reshape(-1, V), safe.reshape(-1), reduction="none").reshape(B, T)


def weights(token_temperature):
    if token_temperature is None:
        return counted.double()
    masked = (target_loss() / token_temperature).masked_fill(~counted, -torch.inf)
    return torch.softmax(masked, -1) * counted.sum(-1, keepdim=True)


def dense(direction, temperature, token_temperature):
    x = student.double().requires_grad_()
    q, p = F.log_softmax(x / temperature, -1), F.log_softmax(y / temperature, -1)
    forward = F.kl_div(q, p, reduction="none", log_target=True).sum(-1)
    reverse = F.kl_div(p, q, reduction="none", log_target=True).sum(-1)
    share = (torch.exp(-target_loss()) * counted).sum(-1, keepdim=True) / counted.sum(-1, keepdim=True)
    g = {"forward": 0.0, "reverse": 1.0, "mixture": share}[direction]
    rows = (1 - g) * forward + g * reverse
    loss = temperature**2 * (rows * weights(token_temperature)).sum() / counted.sum()
    loss.backward()
    return {"loss": loss.item(), "gradient": x.grad.flatten().tolist()}


def sampled(temperature, token_temperature):
    x = student.double().requires_grad_()
    soft = F.one_hot(ids, V).double().mean(-2)
    rows = F.cross_entropy((x / temperature).reshape(-1, V), soft.reshape(-1, V), reduction="none").reshape(B, T)
    rows = rows - torch.distributions.Categorical(logits=y / temperature).entropy()
    loss = temperature**2 * (rows * weights(token_temperature)).sum() / counted.sum()
    loss.backward()
    return {"loss": loss.item(), "gradient": x.grad.flatten().tolist()}


cases = [(d, t, u) for d in ("forward", "reverse", "mixture") for t, u in ((1.0, None), (2.0, None), (1.5, 0.5))]
data = {
    "student": student.flatten().tolist(),
    "teacher": teacher.flatten().tolist(),
    "targets": targets.flatten().tolist(),
    "ids": ids.flatten().tolist(),
    "entropy": {str(t): torch.distributions.Categorical(logits=y / t).entropy().flatten().tolist() for t in (1.0, 2.0)},
    "target_loss": (target_loss() * counted).flatten().tolist(),
    "dense": [{"direction": d, "temperature": t, "token_temperature": u, **dense(d, t, u)} for d, t, u in cases],
    "sampled": [{"temperature": t, "token_temperature": u, **sampled(t, u)} for t, u in ((1.0, None), (2.0, 0.5))],
}
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
