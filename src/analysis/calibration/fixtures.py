"""Writes fixtures.json beside this file: statistics and clipping thresholds of samples, by NumPy and SciPy.

By hand, once, with NumPy 2 and SciPy 1.15: python3 src/analysis/calibration/fixtures.py. Thresholds are chosen from
numpy.histogram of |x| in 2048 bins: the least squared error by trying every one; the least KL divergence by TensorRT's rule
(Migacz, "8-bit Inference with TensorRT", GTC 2017), its levels by numpy.digitize and its divergence by scipy.stats.entropy.
"""
import json
import pathlib

import numpy as np
from scipy import stats

BINS, LEVELS = 2048, 128


def mse(counts, edges):
    centers = (edges[:-1] + edges[1:]) / 2
    errors = []
    for i in range(LEVELS, BINS + 1):
        scale = edges[i] / 127
        rounded = np.clip(np.floor(centers / scale + 0.5), 0, 127) * scale
        errors.append((counts * (centers - rounded) ** 2).sum())
    return edges[LEVELS + int(np.argmin(errors))]


def entropy(counts, edges):
    divergences = []
    for i in range(LEVELS, BINS + 1):
        inside = counts[:i].astype(float)
        p = inside.copy()
        p[i - 1] += counts[i:].sum()
        level = np.digitize(np.arange(i), np.linspace(0, i, LEVELS + 1)) - 1
        q = np.zeros(i)
        for j in range(LEVELS):
            own = (level == j) & (inside > 0)
            if own.any():
                q[own] = inside[level == j].sum() / own.sum()
        divergences.append(stats.entropy(p, q) if q.sum() > 0 else np.inf)
    best = LEVELS + int(np.argmin(divergences))
    return min(edges[-1], (best + 0.5) * (edges[1] - edges[0]))


def case(name, x):
    x = np.float32(x)
    size = np.abs(x).astype(np.float64)
    counts, edges = np.histogram(size, bins=BINS, range=(0, size.max()))
    wide = x.astype(np.float64)
    return {
        "name": name,
        "x": [float(v) for v in x],
        "expect": {
            "absmax": size.max(),
            "mean": wide.mean(),
            "rms": float(np.sqrt((wide**2).mean())),
            "kurtosis": float(stats.kurtosis(wide)),
            "percentiles": {
                str(q): float(np.percentile(size, q, method="inverted_cdf")) for q in (50, 90, 99, 99.9, 99.99)
            },
            "mse": float(mse(counts, edges)),
            "entropy": float(entropy(counts, edges)),
        },
    }


random = np.random.default_rng(5)
outliers = random.standard_normal(1500)
outliers[::300] *= 30
cases = [
    case("Gaussian", random.standard_normal(1500)),
    case("Laplace", random.laplace(size=1500) * 3),
    case("a few outliers", outliers),
    case("one-sided, with zeros", np.maximum(0, random.standard_normal(1200)) ** 2),
]
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(cases) + "\n")
for one in cases:
    print(one["name"], one["expect"])
