"""What the selectors that train share: Adam, softmax, and rows of which only the direction counts. NumPy, no torch."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

KEEP, KEEP_SQUARE, EPSILON = 0.9, 0.999, 1e-8  # β1, β2 and ε of the paper


class Adam:
    """Moves `value` in place against the gradients it is given (Kingma and Ba, ICLR 2015, Algorithm 1)."""

    def __init__(self, value: Float[ndarray, "k d"], learning_rate: float) -> None:
        self.value = value
        self.learning_rate = learning_rate
        self.mean = np.zeros_like(value)
        self.square = np.zeros_like(value)
        self.num_steps = 0

    def step(self, gradient: Float[ndarray, "k d"]) -> None:
        """One update."""
        self.num_steps += 1
        self.mean += (1 - KEEP) * (gradient - self.mean)
        self.square += (1 - KEEP_SQUARE) * (gradient**2 - self.square)
        mean = self.mean / (1 - KEEP**self.num_steps)
        square = self.square / (1 - KEEP_SQUARE**self.num_steps)
        self.value -= self.learning_rate * mean / (np.sqrt(square) + EPSILON)


def directions(value: Float[ndarray, "k d"]) -> tuple[Float[ndarray, "k d"], Float[ndarray, "k 1"]]:
    """The rows at length 1, and their lengths; a row of zeros stays one, and its length counts as 1."""
    length = np.linalg.norm(value, axis=1, keepdims=True)
    length[length == 0] = 1
    return value / length, length


def through_directions(
    gradient: Float[ndarray, "k d"], direction: Float[ndarray, "k d"], length: Float[ndarray, "k 1"]
) -> Float[ndarray, "k d"]:
    """The gradient for the rows, from that for their directions."""
    return (gradient - np.einsum("kd,kd->k", gradient, direction)[:, None] * direction) / length


def log_softmax(z: Float[ndarray, "b k"]) -> Float[ndarray, "b k"]:
    """Row by row."""
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))
