"""Calibration of seeded predictions by scikit-learn, for test/reward/calibration.test.ts.

    pip install scikit-learn
    python test/reference/make_calibration.py > test/fixtures/calibration.json

scikit-learn has no ECE: it is the mean of |share - mean probability| over its own bins, weighted by their counts.
"""
import json

import numpy as np
import sklearn
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

BINS = 10
random = np.random.default_rng(7)
# Overconfident predictions to four decimals, with ties, exact bin edges, 0 and 1.
logits = random.normal(0, 2, 400)
happened = (random.random(400) < 1 / (1 + np.exp(-logits / 2))).astype(int)
probability = np.round(1 / (1 + np.exp(-1.5 * logits)), 4)
probability[:12] = [0, 1, 0.1, 0.2, 0.3, 0.5, 0.5, 0.7, 0.9, 0.3, 0.7, 0.6]

share, mean = calibration_curve(happened, probability, n_bins=BINS)
edges = np.linspace(0, 1, BINS + 1)
counts = np.bincount(np.searchsorted(edges[1:-1], probability), minlength=BINS)
print(json.dumps({
    "made_by": f"scikit-learn {sklearn.__version__}",
    "probability": probability.tolist(),
    "happened": happened.tolist(),
    "counts": counts.tolist(),
    "share": share.tolist(),
    "mean": mean.tolist(),
    "ece": float((counts[counts > 0] * abs(share - mean)).sum() / counts.sum()),
    "brier": float(brier_score_loss(happened, probability)),
    "auc": float(roc_auc_score(happened, probability)),
}))
