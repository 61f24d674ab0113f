"""What a selector is, and what it returns."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from pipeline.base.params import Block
from pipeline.select.pool import Pool


@dataclass(frozen=True)
class Picks:
    """Row numbers of the images to label, best first. The selector's docstring says what a score means; none increases.

    `about` is what the record says of this selection beyond its params: values that were found, approximations.
    """

    rows: Int64[ndarray, " b"]
    scores: Float[ndarray, " b"]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert len(np.unique(self.rows)) == len(self.rows), "a selector picked a row twice"
        assert np.isfinite(self.scores).all(), "a selector gave a score that is no number"
        assert (np.diff(self.scores) <= 0).all(), "a selector's picks are not best first"


class Selector(Block, ABC):
    """A frozen value whose fields are its params, with one verb."""

    needs_outputs: ClassVar[bool] = False  # whether it reads `pool.outputs`
    out_of_core: ClassVar[bool] = False  # whether vectors may stay on disk: it reads `pool.space.rows`, never `pool.x`

    @abstractmethod
    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        """Picks `budget` of the free rows, 1 to as many as there are, in addition to the labelled ones.

        All chance comes from streams of `seed` that bear the method's name. Inverted lists and their recall are the
        same for every seed.
        """
