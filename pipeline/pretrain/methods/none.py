"""No pretraining: the backbone keeps the weights that it starts from, as other methods can (`pretrain.start`)."""

from pydantic import Field

from pipeline.pretrain.method import MethodParams
from pipeline.pretrain.weights import Start


class NoneParams(MethodParams):
    """The block `pretrain.none`."""

    weights: Start
    file: str  # a safetensors file, read where `weights` is "file"
    frozen: float = Field(ge=0, lt=1)  # share of the layers, the first ones, that other methods leave as they are
