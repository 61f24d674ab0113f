"""Margin sampling: the images whose two likeliest classes are closest (Scheffer, Decomain and Wrobel 2001)."""

from typing import ClassVar

from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.select.uncertainty import highest, of_all, outputs_of, unsure


class Margin(Selector):
    """The free images of smallest difference of the two highest probabilities; the score is 1 less that difference.

    Nothing keeps picks apart: copies of an unsure image are all picked. No chance in it: the seed changes nothing, and
    ties go to the lowest row. Labelled rows matter by way of the model alone.
    """

    needs_outputs: ClassVar[bool] = True

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        """See `Selector`."""
        return highest(pool, of_all(outputs_of(pool, "margin"), unsure), budget)
