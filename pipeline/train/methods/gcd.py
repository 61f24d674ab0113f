"""GCD: classes without a label are found as clusters of features that labels have shaped (Vaze et al. 2022)."""

from pipeline.fit import Step
from pipeline.train.discovery import Discovery, DiscoveryParams
from pipeline.train.paws_feed import PawsBatch


class GcdParams(DiscoveryParams):
    """The block `train.gcd`."""


class Gcd(Discovery[GcdParams]):
    """The loss of `Discovery` alone."""

    Params = GcdParams

    def loss(self, batch: PawsBatch) -> Step:
        """The curve has both parts, as `labelled` and `unlabelled`."""
        return self.contrast(batch, self.projections(batch))
