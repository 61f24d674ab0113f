"""Which images are worth a label, told from their vectors alone.

`SELECTORS` is the table of methods: a name in params.yaml to the class whose fields are its params. A new method is a
file with such a class and a line here. Nothing in this package can reach a label, and none of it imports torch.
"""

from collections.abc import Mapping

from pydantic import Field

from pipeline.params import Block
from pipeline.select.kmeans import KMeans
from pipeline.select.selector import Picks, Selector
from pipeline.select.uniform import Uniform
from pipeline.select.usl import Usl

SELECTORS: Mapping[str, type[Selector]] = {"random": Uniform, "kmeans": KMeans, "usl": Usl}


class SelectParams(Block):
    """The block `select`, less the sub-blocks of the methods."""

    method: str
    budget: int = Field(ge=1)


__all__ = ["SELECTORS", "Picks", "SelectParams", "Selector"]
