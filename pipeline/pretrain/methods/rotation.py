"""Rotation: see which way up an image stands, after none, one, two or three quarter turns.

Gidaris et al. 2018, "Unsupervised representation learning by predicting image rotations".
"""

from torch import Generator, nn

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.primitives import feature_std
from pipeline.nn.turns import TURNS, rotation_loss, turned
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised


class Rotation(SelfSupervised[MethodParams]):
    """The method around `rotation_loss`: one view of each image, which must be square, in all four turns.

    The answer is a linear layer's on the backbone's features.
    """

    Params = MethodParams
    num_views = 1
    head_at = ""
    whole_images = False

    def __init__(self, backbone: Backbone, params: MethodParams, num_images: int, chance: Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.backbone, self.classify = backbone, nn.Linear(backbone.dim, TURNS)

    def loss(self, views: Views) -> Step:
        h = self.backbone(turned(views.first).flatten(0, 1)).unflatten(0, (TURNS, -1))
        return Step(rotation_loss(self.classify(h)), {"feature_std": feature_std(h[0])})
