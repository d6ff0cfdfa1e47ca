"""A linear classifier on the features of a frozen network: the start of fine-tuning, and cheap to cross-validate."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Labels, Probabilities
from oddeven.runtime.spec import InputSpec
from oddeven.train.data.dataset import Split
from oddeven.train.data.input_pipeline import evaluation_batches
from oddeven.train.data.splits import Indices

BATCH = 64
DECAY = 5.0  # of the weights of standardized features, over the number of images
SMOOTHING = 0.1
# The share of the usual standard deviation that is added to each. Otherwise a feature that only a few images show would
# get a weight that fits these few, and that leaves no bits to the other weights when the layer is quantized.
FLAT = 1.0
TINY = 1e-3

Features = npt.NDArray[np.float32]


def pooled_features(model: Any, split: Split, spec: InputSpec) -> Features:
    """What a model of `backbones.build` feeds its last layer for each image of `split`, float32 (N, K)."""
    import keras

    body = keras.Model(model.input, model.get_layer("pooled").output)
    return np.asarray(body.predict(evaluation_batches(split, spec, BATCH), verbose=0))


def fit_probe(x: Features, labels: Labels) -> tuple[Features, float]:
    """Logistic regression with both labels of equal weight: kernel (K,) and bias of the logit of label 1.

    Features are standardized, labels smoothed as in fine-tuning, and the weights decay.
    """
    from scipy.optimize import minimize

    mean, deviation, decay = x.mean(axis=0), x.std(axis=0), DECAY / len(x)
    deviation += FLAT * deviation.mean() + TINY
    z = ((x - mean) / deviation).astype(np.float64)
    target = labels * (1 - SMOOTHING) + SMOOTHING / 2
    share = len(labels) / (2 * np.bincount(labels, minlength=2))[labels] / len(labels)

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        kernel, logit = weights[:-1], z @ weights[:-1] + weights[-1]
        error = share * (1 / (1 + np.exp(-logit)) - target)
        value = share @ (np.logaddexp(0, logit) - target * logit) + decay / 2 * kernel @ kernel
        return value, np.append(z.T @ error + decay * kernel, error.sum())

    weights = minimize(loss, np.zeros(z.shape[1] + 1), jac=True, method="L-BFGS-B").x
    kernel = weights[:-1] / deviation
    return kernel.astype(np.float32), float(weights[-1] - mean @ kernel)


def cross_validate(x: Features, labels: Labels, groups: Indices, folds: int, seed: int) -> Probabilities:
    """The probability of label 1 for each image, from a probe that saw neither it nor its group; float32 (N,)."""
    from sklearn.model_selection import StratifiedGroupKFold

    probabilities = np.empty(len(labels), np.float32)
    for seen, held in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(x, labels, groups):
        kernel, bias = fit_probe(x[seen], labels[seen])
        probabilities[held] = 1 / (1 + np.exp(-(x[held] @ kernel + bias)))
    return probabilities
