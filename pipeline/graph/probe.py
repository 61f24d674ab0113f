"""A linear classifier on frozen vectors: logistic regression on the labelled images."""

import logging
import warnings

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

C = 10.0  # inverse of the penalty: part of what `probe_top1` means, as is the number of steps
MAX_ITER = 1000
FOLDS = 20  # of left-out labels, at most
NEVER = -1e4  # the bias of a class without a label

log = logging.getLogger(__name__)


def fit(
    x: Float32[ndarray, "m d"], y: Int64[ndarray, " m"], num_classes: int
) -> tuple[Float32[ndarray, "k d"], Float32[ndarray, " k"]]:
    """Weight and bias of a layer whose softmax is the class; a class without a label has a probability of 0."""
    weight = np.zeros((num_classes, x.shape[1]), np.float32)
    bias = np.full(num_classes, NEVER, np.float32)
    present = np.unique(y)
    if len(present) == 1:
        bias[present] = 0
        return weight, bias
    model = LogisticRegression(C=C, max_iter=MAX_ITER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # logged below, in one line
        model.fit(x, y)
    if model.n_iter_.max() >= MAX_ITER:
        log.info("linear probe on %d labels: not converged after %d steps", len(y), MAX_ITER)
    two = len(present) == 2  # then there is one row: the logit of the second class against the first
    weight[present] = np.concatenate([-model.coef_ / 2, model.coef_ / 2]) if two else model.coef_
    bias[present] = np.concatenate([-model.intercept_ / 2, model.intercept_ / 2]) if two else model.intercept_
    return weight, bias


def left_out(x: Float32[ndarray, "m d"], y: Int64[ndarray, " m"], num_classes: int) -> Float[ndarray, "m k"]:
    """What a probe on the other folds says of each image; folds cut through each class, each image apart where few."""
    fold = np.empty(len(y), np.int64)
    fold[np.argsort(y, kind="stable")] = np.arange(len(y)) % FOLDS
    p = np.empty((len(y), num_classes))
    for i in np.unique(fold):
        rest, out = fold != i, fold == i
        weight, bias = fit(x[rest], y[rest], num_classes) if rest.any() else fit(x, y, num_classes)
        p[out] = softmax(x[out].astype(np.float64) @ weight.T + bias, axis=1)
    return p
