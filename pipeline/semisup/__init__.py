"""Semi-supervised methods. A new one is a file here and a line in the table."""

from typing import Any, Literal

from pydantic import Field

from pipeline.data.views import StrongView, WeakView
from pipeline.nn.device import Precision
from pipeline.nn.optim import OptimParams
from pipeline.params import Block
from pipeline.semisup.fixmatch import FixMatch
from pipeline.semisup.supervised import Supervised

METHODS: dict[str, Any] = {"fixmatch": FixMatch, "supervised": Supervised}


class TrainParams(Block):
    """The values of `train` that all methods share."""

    method: str
    start: Literal["pretrained", "scratch"]
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=2)  # labelled images a step
    precision: Precision
    weak: WeakView
    strong: StrongView
    optim: OptimParams
