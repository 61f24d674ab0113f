"""No pretraining: the backbone keeps the weights that it starts from."""

from pipeline.pretrain.weights import WeightsParams


class NoneParams(WeightsParams):
    """The block `pretrain.none`; other methods start from random weights."""
