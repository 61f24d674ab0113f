"""No pretraining: the backbone keeps the weights that it starts from, as other methods can (`pretrain.start`)."""

from pipeline.pretrain.method import MethodParams
from pipeline.pretrain.weights import Start


class NoneParams(MethodParams):
    """The block `pretrain.none`."""

    weights: Start
    file: str  # a safetensors file, read where `weights` is "file"
