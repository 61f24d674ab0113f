"""What a backbone's vectors are good for: measures of vectors and class numbers alone, each with a 95 % interval.

The test images choose nothing: what has to be chosen, validation images choose, a part of the training images.
"""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from pipeline.base import rng
from pipeline.evaluate.accuracy import Z95, calibration, top1, wilson
from pipeline.evaluate.probes import nearest_vote
from pipeline.evaluate.replicates import student

NEIGHBOURS = 20
PENALTIES = np.logspace(-6, 5, 45)  # of the logistic regression
STEPS = 300  # of L-BFGS for each penalty, at most; it starts from the solution of the next larger one
VALIDATION = 0.2  # share of each class's training images
WAYS, QUERIES, EPISODES = 5, 15, 600  # classes of an episode, test images of each at most, how many episodes
RESAMPLES = 500  # of the bootstrap of the calibration error


class Figure(NamedTuple):
    """A value and its 95 % interval; all three are shares."""

    value: float
    low: float
    high: float

    @classmethod
    def of_share(cls, share: float, n: int) -> "Figure":
        """Of a share of n images, which speaks of other test images."""
        return cls(share, *wilson(share, n))

    @classmethod
    def of_mean(cls, values: Float[ndarray, " n"]) -> "Figure":
        """Of a mean over repeats, which speaks of other repeats: Student's, cut to shares."""
        mean, low, high = student(values)
        return cls(mean, max(0.0, low), min(1.0, high))


class Vectors(NamedTuple):
    """Vectors and class numbers of the training and the test images, and which training images validate."""

    x: Float32[ndarray, "n d"]
    y: Int64[ndarray, " n"]
    test_x: Float32[ndarray, "t d"]
    test_y: Int64[ndarray, " t"]
    validation: Bool[ndarray, " n"]


def validation_part(y: Int64[ndarray, " n"], seed: int) -> Bool[ndarray, " n"]:
    """Which images validate: a share of each class, drawn by chance; none of a class that has a single image.

    Of a class of two one validates.
    """
    chosen = np.zeros(len(y), bool)
    chance = rng.stream(seed, "transfer", "validation")
    for one in np.unique(y):
        rows = chance.permutation(np.flatnonzero(y == one))
        chosen[rows[: max(round(VALIDATION * len(rows)), min(1, len(rows) - 1))]] = True
    return chosen


def knn(vectors: Vectors) -> dict[str, Figure]:
    """Top-1 of a vote of the 20 nearest training images."""
    found = nearest_vote(vectors.x, vectors.y, vectors.test_x, NEIGHBOURS)
    return {"knn": Figure.of_share(top1(vectors.test_y, found), len(found))}


def logistic(vectors: Vectors, seed: int) -> tuple[dict[str, Figure], dict[str, float]]:
    """Top-1 and calibration error of a multinomial logistic regression, and its penalty and accuracy on validation.

    It minimises the sum of the cross-entropy over images plus penalty / 2 times the squared weights, by L-BFGS. Of 45
    penalties from 1e-6 to 1e5 the one is taken that is best on validation images, of equals the one of the least
    cross-entropy there; then it is fitted again on all training images. The protocol is that of Ericsson et al. 2021,
    whose C is 1 / penalty.
    """
    fitted, held = ~vectors.validation, vectors.validation
    model = LogisticRegression(warm_start=True, max_iter=STEPS)
    found = {}
    for penalty in PENALTIES[::-1].tolist():
        _fit(model, penalty, vectors.x[fitted], vectors.y[fitted])
        share = top1(vectors.y[held], model.predict(vectors.x[held]))
        found[penalty] = share, -log_loss(vectors.y[held], model.predict_proba(vectors.x[held]), labels=model.classes_)
    chosen = max(found, key=lambda penalty: found[penalty])
    model = _fit(LogisticRegression(max_iter=STEPS), chosen, vectors.x, vectors.y)
    p = model.predict_proba(vectors.test_x)
    right = model.classes_[p.argmax(axis=1)] == vectors.test_y
    figures = {"logistic": Figure.of_share(float(right.mean()), len(right)), "ece": ece(p.max(axis=1), right, seed)}
    return figures, {"penalty": chosen, "validation": found[chosen][0]}


def _fit(
    model: LogisticRegression, penalty: float, x: Float32[ndarray, "n d"], y: Int64[ndarray, " n"]
) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # with next to no penalty there is no end to converge to
        return model.set_params(C=1 / penalty).fit(x, y)


def ece(confidence: Float[ndarray, " n"], right: Bool[ndarray, " n"], seed: int) -> Figure:
    """Expected calibration error in 15 bins, with a normal interval whose deviation a bootstrap over images gives.

    The quantiles of the bootstrap are not taken, as resampling adds noise to each bin and moves them up.
    """
    value, chance = calibration(confidence, right).ece, rng.stream(seed, "transfer", "ece")
    draws = (chance.integers(len(right), size=len(right)) for _ in range(RESAMPLES))
    reach = Z95 * float(np.std([calibration(confidence[rows], right[rows]).ece for rows in draws], ddof=1))
    return Figure(value, max(0.0, value - reach), min(1.0, value + reach))


def few_shot(vectors: Vectors, shots: int, seed: int) -> dict[str, Figure]:
    """Mean top-1 of 600 episodes of 5 classes, of which each has so many labelled training images: nearest prototypes.

    A prototype is the mean of a class's labelled vectors (Snell et al. 2017); up to 15 test images of each class are
    asked for. With fewer than 5 classes an episode has all that have test images.
    """
    chance = rng.stream(seed, "transfer", "episodes", shots)
    return {f"few_{shots}": Figure.of_mean(episodes(vectors, shots, chance))}


def episodes(vectors: Vectors, shots: int, chance: np.random.Generator) -> Float[ndarray, " e"]:
    """The accuracy of each episode; every class that has test images has at least `shots` training images."""
    asked = np.unique(vectors.test_y)
    supports = {one: np.flatnonzero(vectors.y == one) for one in asked.tolist()}
    queries = {one: np.flatnonzero(vectors.test_y == one) for one in asked.tolist()}
    shares = np.empty(EPISODES)
    for i in range(EPISODES):
        classes = chance.choice(asked, min(WAYS, len(asked)), replace=False).tolist()
        prototypes = np.stack(
            [vectors.x[chance.choice(supports[one], shots, replace=False)].mean(axis=0) for one in classes]
        )
        rows = [chance.choice(queries[one], min(QUERIES, len(queries[one])), replace=False) for one in classes]
        truth = np.repeat(np.arange(len(classes)), [len(own) for own in rows])
        x = vectors.test_x[np.concatenate(rows)]
        # |x - c|^2 less |x|^2, which is the same for all classes
        apart = (prototypes**2).sum(axis=1) - 2 * x @ prototypes.T
        shares[i] = (apart.argmin(axis=1) == truth).mean()
    return shares
