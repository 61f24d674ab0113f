"""UHerding: greedy coverage of the images that the model is uncertain about (Bae et al., ICLR 2025)."""

from typing import ClassVar

from pipeline.base import rng
from pipeline.select.herding import Herding, herd
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.select.uncertainty import margin_uncertainty, of_all_images, outputs_of


class UHerding(Herding, Selector):
    """Each pick adds the most to the mean of u_i max_s exp(-(|h_i - h_s| / σ)^2), h the model's features at length 1.

    u_i is 1 - margin of image i, in [0, 1]; the max is over picks and labelled rows. With all u equal it is MaxHerding
    on the features. Scores, exactness and copies: `herd`; the seed draws the `sample` alone. Departures: the paper
    calibrates the probabilities by a temperature fitted on labels, which a selector never meets, and shrinks σ to the
    smallest distance between labelled images as rounds go by; here the probabilities are the model's own, and σ is a
    parameter.
    """

    needs_outputs: ClassVar[bool] = True

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        outputs = outputs_of(pool, "uherding")
        weight = of_all_images(outputs, margin_uncertainty)
        return herd(pool, outputs.features, weight, self, budget, rng.stream(seed, "select", "uherding"))
