"""Rotation: see which way up an image stands, after none, one, two or three quarter turns.

Gidaris et al. 2018, "Unsupervised representation learning by predicting image rotations".
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.primitives import class_ce, feature_std
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised

TURNS = 4  # of 90 degrees each: none to three


def rotation_loss(logits: Float[Tensor, "4 b 4"]) -> Float[Tensor, ""]:
    """Cross-entropy of the right number of turns, mean over the turns and the batch; log 4 where all logits are equal.

    logits[t] are those of the images after t quarter turns.
    """
    turns = torch.arange(TURNS, device=logits.device).repeat_interleave(logits.shape[1])
    return class_ce(logits.flatten(0, 1), turns)


class Rotation(SelfSupervised[MethodParams]):
    """The method around `rotation_loss`: one view of each image, which must be square, in all four turns.

    The answer is a linear layer's on the backbone's features. Pixels are exchanged, not sampled anew: borders that a
    warp would leave tell the answer.
    """

    Params = MethodParams
    num_views = 1
    head_at = ""
    whole_images = False

    def __init__(self, backbone: Backbone, params: MethodParams, num_images: int, chance: Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.backbone, self.classify = backbone, nn.Linear(backbone.dim, TURNS)

    def loss(self, views: Views) -> Step:
        turned = [views.first.rot90(turns, (2, 3)) for turns in range(TURNS)]
        h = self.backbone(torch.cat(turned)).unflatten(0, (TURNS, -1))
        return Step(rotation_loss(self.classify(h)), {"feature_std": feature_std(h[0])})
