"""Margin sampling: the images whose two likeliest classes are closest (Scheffer, Decomain and Wrobel 2001)."""

from typing import ClassVar

from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.select.uncertainty import highest, margin_uncertainty, of_all_images, outputs_of


class Margin(Selector):
    """The free images of smallest difference of the two highest probabilities; the score is 1 less that difference.

    Nothing keeps picks apart: all copies of an uncertain image are picked. There is no chance in it: the seed changes
    nothing, and ties go to the lowest row. Labelled rows matter by way of the model alone.
    """

    needs_outputs: ClassVar[bool] = True

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        return highest(pool, of_all_images(outputs_of(pool, "margin"), margin_uncertainty), budget)
