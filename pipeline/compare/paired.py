"""Two runs on the same images: how many each alone has right, and whether that may be chance."""

from dataclasses import dataclass
from math import sqrt

from scipy.stats import binomtest

from pipeline.compare.inputs import Judged, Run
from pipeline.evaluate.accuracy import Z95


@dataclass(frozen=True)
class Paired:
    """Of n images `gained` are right in the second run only, `lost` in the first only.

    `p` is that of the exact test of McNemar (1947), two-sided. `low` and `high` are the ends of the 95 % interval of
    the difference (Agresti and Min 2005: half an image more in each of the four cells).
    """

    kind: str
    n: int
    gained: int
    lost: int

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


def paired(first: Run, second: Run) -> Paired | str:
    """The runs on the test images, else on those of the audit, if both have the same; or why they have not."""
    why = "no image has an answer in both; set the same label.audit in both, dvc repro, and label these images"
    for kind in ("test", "audit"):
        if kind in first.judged and kind in second.judged:
            one, other = first.judged[kind], second.judged[kind]
            reason = _apart(one, other, kind)
            if not reason:
                right = [
                    (one.prediction[key] == answer, other.prediction[key] == answer)
                    for key, answer in one.answer.items()
                ]
                return Paired(kind, len(right), right.count((False, True)), right.count((True, False)))
            why = reason if why.startswith("no image") else why
    return why


def _apart(one: Judged, other: Judged, kind: str) -> str:
    """Why two runs are not judged by the same images; "" where they are."""
    shared = one.answer.keys() & other.answer.keys()
    if shared != one.answer.keys() | other.answer.keys():
        return f"other {kind} images: {len(one.answer):,} and {len(other.answer):,}, {len(shared):,} of them in both"
    changed = sum(one.picture[key] != other.picture[key] for key in one.picture.keys() & other.picture.keys())
    if changed:
        return f"{changed:,} {kind} images of the same name are other pictures"
    differ = sum(one.answer[key] != other.answer[key] for key in shared)
    return f"{differ:,} {kind} images have other answers" if differ else ""
