"""Entropy sampling: the images whose predicted class has the highest entropy (Settles 2009, section 3.1)."""

from typing import ClassVar

from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.select.uncertainty import entropy, highest, of_all, outputs_of


class Entropy(Selector):
    """The free images of highest entropy -sum_c p_c log p_c, which is the score, in nats.

    Nothing keeps picks apart: copies of an unsure image are all picked. No chance in it: the seed changes nothing, and
    ties go to the lowest row. Labelled rows matter by way of the model alone.
    """

    needs_outputs: ClassVar[bool] = True

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        """See `Selector`."""
        return highest(pool, of_all(outputs_of(pool, "entropy"), entropy), budget)
