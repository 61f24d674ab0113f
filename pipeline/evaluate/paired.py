"""Two models on the same images: how many each alone has right, and whether that may be chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from scipy.stats import binomtest

from pipeline.evaluate.accuracy import Z95


@dataclass(frozen=True)
class Paired:
    """Of n images `gained` are right by the second only, `lost` by the first only, `both` by both.

    `p` is that of the exact test of McNemar (1947), two-sided. `low` and `high` are the ends of the 95 % interval of
    the difference (Agresti and Min 2005: half an image more in each of the four cells).
    """

    kind: str  # of images: test or audit
    n: int
    gained: int
    lost: int
    both: int

    @classmethod
    def of(cls, kind: str, right: Sequence[tuple[bool, bool]]) -> "Paired":
        """Of each image, whether the first has it right, and whether the second has."""
        return cls(kind, len(right), *(right.count(pair) for pair in ((False, True), (True, False), (True, True))))

    @property
    def difference(self) -> float:
        """Accuracy of the second less that of the first, in [-1, 1]."""
        return (self.gained - self.lost) / self.n

    @property
    def p(self) -> float:
        apart = self.gained + self.lost
        return float(binomtest(self.gained, apart).pvalue) if apart else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        gained, lost, n = self.gained + 0.5, self.lost + 0.5, self.n + 2
        centre = (gained - lost) / n
        half = Z95 * sqrt((gained + lost) / n - centre**2) / sqrt(n)
        return max(-1.0, centre - half), min(1.0, centre + half)
