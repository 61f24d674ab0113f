"""A linear classifier on frozen vectors: logistic regression on the labelled images."""

import logging
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from pipeline.base import rng
from pipeline.graph.spread import Scores
from pipeline.vectors.rows import sample

C = 10.0  # inverse of the penalty: part of what `probe_top1` means, as is the number of steps
MAX_ITER = 1000
FOLDS = 20  # of left-out labels, at most
MANY, MANY_FOLDS = 2000, 5  # labels, beyond which there are so few folds
SOFT_IMAGES, SOFT_STEPS = 100_000, 100  # that soft targets are learnt from, and steps of L-BFGS
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
        warnings.simplefilter("ignore", UserWarning)  # many classes for few labels: so it is here
        warnings.simplefilter("ignore", ConvergenceWarning)  # logged below, in one line
        model.fit(x, y)
    if model.n_iter_.max() >= MAX_ITER:
        log.info("linear probe on %d labels: not converged after %d steps", len(y), MAX_ITER)
    two = len(present) == 2  # then there is one row: the logit of the second class against the first
    weight[present] = np.concatenate([-model.coef_ / 2, model.coef_ / 2]) if two else model.coef_
    bias[present] = np.concatenate([-model.intercept_ / 2, model.intercept_ / 2]) if two else model.intercept_
    return weight, bias


def left_out(
    x: Float32[ndarray, "m d"],
    y: Int64[ndarray, " m"],
    num_classes: int,
    place: Int64[ndarray, " r"],
    others: Float32[ndarray, "s d"],
    near: Int64[ndarray, " s"],
) -> tuple[Float[ndarray, "r k"], Float[ndarray, "s k"]]:
    """What a probe on the other folds says of the labelled images `place`, and of `others` without image near[i].

    Folds cut through each class; up to `FOLDS` labels, each is a fold. Beyond `MANY` labels there are fewer.
    """
    fold = np.empty(len(y), np.int64)
    fold[np.argsort(y, kind="stable")] = np.arange(len(y)) % (FOLDS if len(y) <= MANY else MANY_FOLDS)
    p, q = np.empty((len(place), num_classes)), np.empty((len(others), num_classes))
    for i in np.unique(fold):
        rest, out, without = fold != i, fold[place] == i, fold[near] == i
        weight, bias = fit(x[rest], y[rest], num_classes) if rest.any() else fit(x, y, num_classes)
        p[out] = softmax(x[place[out]].astype(np.float64) @ weight.T + bias, axis=1)
        q[without] = softmax(others[without].astype(np.float64) @ weight.T + bias, axis=1)
    return p, q


def fit_soft(x: Float32[ndarray, "n d"], scores: Scores) -> tuple[Float32[ndarray, "k d"], Float32[ndarray, " k"]]:
    """The same of a layer that learns all images' spread classes, of `SOFT_IMAGES` at most, as soft targets."""
    seen = np.flatnonzero((scores.share.sum(1) > 0).cpu().numpy())
    rows = seen[sample(len(seen), SOFT_IMAGES, rng.stream(0, "graph", "soft"))]
    targets = torch.from_numpy(scores.dense(rows))
    weight, bias = fit_targets(torch.from_numpy(x[rows]), targets)
    bias[targets.sum(0) == 0] = NEVER
    return weight.numpy(), bias.numpy()


def fit_targets(
    inputs: Float32[Tensor, "n d"], targets: Float32[Tensor, "n k"]
) -> tuple[Float32[Tensor, "k d"], Float32[Tensor, " k"]]:
    """Weight and bias of a layer of least cross-entropy against soft targets, by L-BFGS; rows of zeros say nothing."""
    weight = inputs.new_zeros(targets.shape[1], inputs.shape[1], requires_grad=True)
    bias = inputs.new_zeros(targets.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=SOFT_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(inputs @ weight.T + bias, targets) + weight.square().sum() / (2 * C * len(inputs))
        loss.backward()
        return loss

    optimiser.step(closure)
    return weight.detach(), bias.detach()
