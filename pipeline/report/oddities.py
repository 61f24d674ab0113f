"""What a person may want to look at: labels that the others contradict, near-duplicates, and outliers.

Nothing here chooses anything. With one label in twenty wrong, over five draws of 100 labels, the suspects held 25 of 25
wrong ones among 37 on 1,411 digits, and 17 of 25 among 97 on the pixels of 10,000 of Fashion-MNIST; over five draws of
40 labels 8 of 10 among 21, and 8 of 10 among 44. So it is a list to look at, no verdict.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from pipeline.artifacts.left_out import SaidWithout
from pipeline.artifacts.neighbours import Neighbours
from pipeline.report.images import Images

SUSPECT = 0.5  # least probability, by all other labels, of another class than the label
COPY = 0.25  # of the median distance to the nearest image, below which two images are near-duplicates
FARTHEST = 0.01  # share of the images whose neighbours are farthest: the outliers
MOST = 200  # of each list


@dataclass(frozen=True)
class Oddities:
    """Rows of training images: suspects the most probable first, pairs the nearest first, outliers the farthest first.

    Distances are Euclidean, between the vectors of `embed`; those of outliers are the mean to all their neighbours.
    """

    looked_at: int  # labels that were left out, of all
    suspects: Int64[ndarray, " s"]
    copies: Int64[ndarray, "p 2"]
    copy_gap: Float[ndarray, " p"]
    copy_most: float  # the distance below which two are near-duplicates
    outliers: Int64[ndarray, " o"]
    outlier_gap: Float[ndarray, " o"]

    @classmethod
    def find(cls, images: Images, said: SaidWithout, neighbours: Neighbours) -> "Oddities":
        """`images` begin with the training images, in the order of `neighbours`; at most `MOST` of each."""
        row = {key: i for i, key in enumerate(images.keys[: len(neighbours)])}
        others = zip(said.keys, said.labels, said.said, said.confidence.tolist(), strict=True)
        doubt = [(-share, row[key]) for key, own, best, share in others if own != best and share >= SUSPECT]
        gap = np.sqrt(neighbours.sq_dist)
        most = COPY * float(np.median(gap[:, 0]))
        i, k = np.nonzero(gap <= most)
        pairs = np.sort(np.stack([i, neighbours.rows[i, k]], axis=1), axis=1).astype(np.int64)
        pairs, first = np.unique(pairs, axis=0, return_index=True)
        apart = gap[i, k][first]
        near = np.argsort(apart, kind="stable")[:MOST]
        mean = np.where(np.isfinite(gap), gap, np.nan)
        mean = np.nan_to_num(np.nanmean(mean, axis=1)) if len(mean) else gap[:, 0]
        far = np.argsort(-mean, kind="stable")[: min(MOST, round(FARTHEST * len(mean)))]
        return cls(
            looked_at=len(said.keys),
            suspects=np.array([place for _, place in sorted(doubt)][:MOST], np.int64),
            copies=pairs[near],
            copy_gap=apart[near].astype(np.float64),
            copy_most=most,
            outliers=far,
            outlier_gap=mean[far].astype(np.float64),
        )

    def rows(self) -> Int64[ndarray, " r"]:
        """All of them, the suspects first."""
        return np.array(list(dict.fromkeys([*self.suspects, *self.copies.ravel(), *self.outliers])), np.int64)
