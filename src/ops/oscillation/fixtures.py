"""Writes the expected values of fixtures.json beside this file: oscillation tracking and freezing (Nagel et al.,
arXiv:2203.11086) in NumPy, float64, over a sequence of codes.

By hand: python3 src/ops/oscillation/fixtures.py. How: test/fixtures/pytorch/fixtures.py.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import numpy as np
from fixtures import rewrite


def compute(c):
    codes = np.array(c["codes"]) - 1  # [steps + 1, weights], -1, 0 or 1
    m = c["momentum"]
    previous = codes[0]
    direction = np.zeros_like(previous)
    frequency = np.zeros(previous.shape)
    mean = previous.astype(float)
    fixed = np.zeros(previous.shape, bool)
    value = np.zeros(previous.shape)
    frequencies, means, fixes, values, counts = [], [], [], [], []
    for q, threshold, scale in zip(codes[1:], c["thresholds"], c["scales"]):
        q = np.where(fixed, previous, q)
        change = np.sign(q - previous)
        oscillated = (change * direction) == -1
        frequency = np.where(fixed, frequency, (1 - m) * frequency + m * oscillated)
        mean = np.where(fixed, mean, (1 - m) * mean + m * q)
        direction = np.where(change != 0, change, direction)
        previous = q
        now = (frequency > threshold) & ~fixed
        value = np.where(now, np.round(mean), value)
        fixed = fixed | now
        frequencies.append(frequency.tolist())
        means.append(mean.tolist())
        fixes.append(fixed.astype(int).tolist())
        values.append((value * scale).tolist())
        counts.append([int((change != 0).sum()), int(oscillated.sum()), int(fixed.sum())])
    return {"frequency": frequencies, "mean": means, "fixed": fixes, "value": values, "counts": counts}


rewrite(__file__, compute)
