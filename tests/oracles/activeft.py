"""ActiveFT (Xie et al. 2023) again: the loss one number at a time, its gradient by differences, Adam in loops."""

import math

from tests.oracles.algebra import cosine


def loss(theta, fixed, x, temperature):
    """Images to their most similar centroid; every centroid away from all others; labelled images are centroids too."""
    every = [*theta, *fixed]
    attract = sum(max(cosine(image, c) for c in every) for image in x) / len(x) / temperature
    repel = 0.0
    for j, a in enumerate(every):
        others = [math.exp(cosine(a, b) / temperature) for k, b in enumerate(every) if k != j]
        repel += math.log(sum(others)) / len(every) if others else 0.0
    return repel - attract


def gradient(of, value, step=1e-5):
    """Central differences of `of` at `value`, a list of rows."""
    found = [[0.0] * len(row) for row in value]
    for i, row in enumerate(value):
        for j, here in enumerate(row):
            row[j] = here + step
            above = of(value)
            row[j] = here - step
            found[i][j] = (above - of(value)) / (2 * step)
            row[j] = here
    return found


def adam(of, value, learning_rate, steps):
    """Kingma and Ba, Algorithm 1, with β1 = .9, β2 = .999, ε = 1e-8, on central differences."""
    value = [[float(v) for v in row] for row in value]
    m = [[0.0] * len(row) for row in value]
    v = [[0.0] * len(row) for row in value]
    for t in range(1, steps + 1):
        g = gradient(of, value)
        for i, row in enumerate(value):
            for j in range(len(row)):
                m[i][j] = 0.9 * m[i][j] + 0.1 * g[i][j]
                v[i][j] = 0.999 * v[i][j] + 0.001 * g[i][j] ** 2
                row[j] -= learning_rate * (m[i][j] / (1 - 0.9**t)) / (math.sqrt(v[i][j] / (1 - 0.999**t)) + 1e-8)
    return value


def nearest(theta, x, free):
    """For each centroid in turn the most similar free image that is not taken."""
    taken = []
    for c in theta:
        taken.append(max((i for i in free if i not in taken), key=lambda i: cosine(x[i], c)))
    return taken
