"""NPID: tell each image from all others by its place in a bank of their past vectors.

Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination". Its two losses, the softmax
over the bank and noise-contrastive estimation, stand in `pipeline/pretrain/instance_bank.py`. The letters: q are unit
projections.
"""

import torch

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, unit
from pipeline.pretrain.feed import Views
from pipeline.pretrain.instance_bank import InstanceDiscrimination, InstanceParams


class Npid(InstanceDiscrimination[InstanceParams]):
    """The method around `softmax_loss` and `nce_loss`.

    Departures: two views of each image are told from the bank, which moves by the mean of their projections, where the
    paper has one; its proximal term (eq. 9), which its code does not use either, is left out.
    """

    Params = InstanceParams

    def __init__(self, backbone: Backbone, params: InstanceParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        head = mlp([backbone.dim, params.dim], norm=False, last_norm=params.head_norm, affine=False)
        self.encoder = Encoder(backbone, head)

    def loss(self, views: Views) -> Step:
        h, z = self.encoder(torch.cat([views.first, views.second]))  # one pass: batch norm sees both views
        q = unit(z).unflatten(0, (2, -1))
        loss = self.bank_loss(q, views.rows, q.mean(dim=0))
        return Step(loss, {"feature_std": feature_std(q[0])}, h.chunk(2))
