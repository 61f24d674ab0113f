"""Entropy sampling: the images whose predicted class has the highest entropy (Settles 2009, section 3.1)."""

from typing import ClassVar

from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.select.uncertainty import entropy, highest, of_all_images, outputs_of


class Entropy(Selector):
    """The free images of highest entropy -sum_c p_c log p_c, which is the score, in nats.

    Nothing keeps picks apart: all copies of an uncertain image are picked. There is no chance in it: the seed changes
    nothing, and ties go to the lowest row. Labelled rows matter by way of the model alone.
    """

    needs_outputs: ClassVar[bool] = True

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        return highest(pool, of_all_images(outputs_of(pool, "entropy"), entropy), budget)
