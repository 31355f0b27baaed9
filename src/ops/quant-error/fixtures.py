"""Writes the expected values of fixtures.json beside this file: error measures of ternary matrices in NumPy, float64.

By hand: python3 src/ops/quant-error/fixtures.py. How: test/fixtures/pytorch/fixtures.py.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))

import numpy as np
from fixtures import rewrite


def compute(c):
    w = np.array(c["w"], np.float32).astype(float)
    s = float(np.float32(c["scale"]))
    t, previous, before = (np.array(c[k]) - 1 for k in ("codes", "previous", "before"))
    kept = np.array(c["kept"], np.float32).astype(float)
    q = s * t
    u = np.abs(w) / s
    shares = np.array([(t == x).mean() for x in (-1, 0, 1)])
    some = shares[shares > 0]
    centred = w - w.mean()
    change, earlier = t - previous, previous - before
    return {
        "mse": np.mean((w - q) ** 2),
        "sqnrDb": 20 * np.log10(np.linalg.norm(w) / np.linalg.norm(w - q)),
        "cosine": w @ q / np.linalg.norm(w) / np.linalg.norm(q),
        "normalizedError": np.linalg.norm(w - q) / np.linalg.norm(w),
        "pearson": np.corrcoef(w, q)[0, 1],
        "minus": shares[0],
        "zero": shares[1],
        "plus": shares[2],
        "entropyBits": -(some * np.log2(some)).sum(),
        "deadZone": (u < 0.5).mean(),
        "nearThreshold": (np.abs(u - 0.5) < 0.05).mean(),
        "saturated": (u > 1.5).mean(),
        "kurtosis": np.mean(centred**4) / np.mean(centred**2) ** 2 - 3,
        "largest": u.max(),
        "flipRate": (change != 0).mean(),
        "oscillation": (change * earlier < 0).mean(),
        "drift": np.linalg.norm(w - kept) / np.linalg.norm(kept),
    }


rewrite(__file__, lambda c: {k: float(v) for k, v in compute(c).items()})
