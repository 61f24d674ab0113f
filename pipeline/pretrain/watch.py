"""Collapse, told while it happens."""

import logging

log = logging.getLogger(__name__)
COLLAPSED = 0.1  # of a spread that is 1 when even
EARLY = 0.1  # share of the steps in which a network with random weights may still map all images to nearly one point


class Watch:
    """Warns, once, when the projections of all images come to point one way."""

    def __init__(self, num_steps: int) -> None:
        self._num_steps, self._told = num_steps, False

    def __call__(self, row: dict[str, float]) -> None:
        """Looks at a row of the curve."""
        if row["feature_std"] < COLLAPSED and row["step"] > EARLY * self._num_steps and not self._told:
            self._told = True
            log.warning(
                "step %d of %d: representations collapse: feature_std %.3f, 1 when spread evenly; a lower "
                "pretrain.optim.learning_rate or another pretrain.method may help",
                row["step"],
                self._num_steps,
                row["feature_std"],
            )
