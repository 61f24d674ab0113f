"""BYOL: predict how a teacher, the network's moving average, sees an image's other view, without any negatives.

Grill et al. 2020, "Bootstrap your own latent".
"""

from pipeline.fit import Step
from pipeline.nn.primitives import feature_std
from pipeline.pretrain.bootstrap import Bootstrap, BootstrapParams
from pipeline.pretrain.feed import Views


class Byol(Bootstrap[BootstrapParams]):
    """The method around `byol_loss`."""

    Params = BootstrapParams

    def loss(self, views: Views) -> Step:
        loss, features, z = self.between(views.first, views.second, self.predictor)
        return Step(loss, {"feature_std": feature_std(z)}, features)
