"""Self-supervised methods, which never meet a label. A new one is a file here and a line in the table."""

from typing import Any

from pydantic import Field

from pipeline.data.views import ContrastiveView
from pipeline.nn.device import Precision
from pipeline.nn.optim import OptimParams
from pipeline.params import Block
from pipeline.selfsup.moco import Moco

METHODS: dict[str, Any] = {"moco": Moco}


class PretrainParams(Block):
    """The values of `pretrain` that all methods share."""

    method: str
    backbone: str
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    precision: Precision
    view: ContrastiveView
    optim: OptimParams
