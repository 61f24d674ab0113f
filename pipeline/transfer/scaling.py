"""How accuracy grows with the number of labelled images, and what two laws say of the largest number.

The laws are fitted to all numbers but the largest. How far they miss it says how far they can be trusted beyond it.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import least_squares

from pipeline.evaluate.accuracy import top1
from pipeline.evaluate.probes import drawn, linear_probe
from pipeline.transfer.measures import Figure, Vectors

LEAST = 50  # labelled images of the smallest point
DRAWS = 10  # of images to label, for each number but the largest, which is all
POINTS = 5  # of a curve: the power law has four constants, and the last point is held out
ENOUGH = LEAST * 2 ** (POINTS - 1)  # images that a curve needs
Law = Callable[[float], float]  # from a number of labelled images to an accuracy


def numbers(images: int) -> list[int]:
    """All images, half of them, a quarter and so on, down to `LEAST`; in rising order."""
    found = []
    while images >= LEAST:
        found.append(images)
        images //= 2
    return found[::-1]


def curve(vectors: Vectors, seed: int) -> dict[str, Figure]:
    """Top-1 of a linear probe for each number of labelled images, a mean over random draws.

    The interval is that of a share of the test images.
    """
    figures = {}
    for n in numbers(len(vectors.y)):
        draws = range(DRAWS if n < len(vectors.y) else 1)
        rows = [drawn(len(vectors.y), n, seed, i) for i in draws]
        shares = [top1(vectors.test_y, linear_probe(vectors.x[own], vectors.y[own], vectors.test_x)) for own in rows]
        figures[f"scaling_{n}"] = Figure.of_share(float(np.mean(shares)), len(vectors.test_y))
    return figures


def power_law(n: Float[ndarray, " p"], accuracy: Float[ndarray, " p"]) -> Law:
    """The error falls as a (n + d)^-b + c, all constants at least 0, by least squares from several starts."""
    errors = 1 - accuracy

    def error(constants: Float[ndarray, "4"], at: Float[ndarray, " p"]) -> Float[ndarray, " p"]:
        a, b, c, d = constants  # d as a multiple of the first number; a is the error there beyond c
        return a * ((at / n[0] + d) / (1 + d)) ** -b + c

    starts = product([errors[0]], [0.25, 0.5, 1.0], [0.0, errors.min() / 2], [0.0, 1.0])
    bounds = ([0.0, 0.0, 0.0, 0.0], [1.0, 5.0, 1.0, 100.0])
    fits = [least_squares(lambda v: error(v, n) - errors, start, bounds=bounds) for start in starts]
    best = min(fits, key=lambda fit: fit.cost).x
    return lambda at: float(np.clip(1 - error(best, np.array([float(at)]))[0], 0, 1))


def line(n: Float[ndarray, " p"], accuracy: Float[ndarray, " p"]) -> Law:
    """The accuracy is linear in the logarithm of the number, by least squares (Sun et al. 2017)."""
    slope, start = np.polyfit(np.log(n), accuracy, 1)
    return lambda at: float(np.clip(start + slope * np.log(at), 0, 1))


class Forecast(NamedTuple):
    """The largest number, its accuracy, and what each law says of it from the smaller ones."""

    number: int
    accuracy: float
    power: float
    line: float


def forecast(points: Mapping[int, float]) -> Forecast:
    """Holds the largest number out; `points` are accuracies by number of labelled images."""
    *rest, last = sorted(points)
    n, accuracy = np.array(rest, np.float64), np.array([points[number] for number in rest])
    return Forecast(last, points[last], power_law(n, accuracy)(last), line(n, accuracy)(last))
