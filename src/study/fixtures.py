"""Writes fixtures.json: means, standard errors and paired differences by NumPy, for statistics.test.ts. Run by hand."""
import json
from pathlib import Path

import numpy as np

random = np.random.default_rng(7)
cases = []
for n in (1, 2, 3, 5, 12):
    a = (1.4 + 0.02 * random.standard_normal(n)).tolist()
    b = (1.3 + 0.02 * random.standard_normal(n)).tolist()
    difference = np.subtract(a, b)
    ratio = np.divide(a, b) - 1

    def estimate(x):
        x = np.asarray(x)
        error = float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else None
        return {"n": len(x), "mean": float(x.mean()), "standardError": error}

    cases.append(
        {
            "a": a,
            "b": b,
            "estimate": estimate(a),
            "difference": estimate(difference),
            "ratio": estimate(ratio),
        }
    )
# Values that are large beside their spread: a sum of squares less the square of the sum would lose them.
large = (1e6 + random.standard_normal(8)).tolist()
cases.append({"a": large, "b": large, "estimate": estimate(large), "difference": estimate(np.zeros(8)), "ratio": estimate(np.zeros(8))})
Path(__file__).with_name("fixtures.json").write_text(json.dumps({"numpy": np.__version__, "cases": cases}, indent=2) + "\n")
