"""The gallery: all images with what is known and predicted of each, to filter, and what is odd among them."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from pipeline.report.images import Images
from pipeline.report.oddities import COPY, FARTHEST, SUSPECT, Oddities
from pipeline.report.packed import columns
from pipeline.report.templates import templates
from pipeline.shards.pictures import Picture


def render(
    source: str,
    images: Images,
    there: Int64[ndarray, " n"],
    odd: Oddities | None,
    thumbs: Mapping[int, Picture],
    total: int,
) -> str:
    """The page of `images`, which are the rows `there`, in ascending order, of `total`.

    Without `odd` it stands alone, of images that are in no run.
    """

    def place(rows: Int64[ndarray, "..."]) -> list[int]:
        return np.searchsorted(there, rows).tolist()

    data = {**columns(images, thumbs), "suspects": [], "copies": [], "outliers": []}
    if odd:
        gaps = zip(place(odd.copies), odd.copy_gap.round(4).tolist(), strict=True)
        data["suspects"], data["copies"] = place(odd.suspects), [[*pair, gap] for pair, gap in gaps]
        data["outliers"] = list(zip(place(odd.outliers), odd.outlier_gap.round(4).tolist(), strict=True))
    return (
        templates()
        .get_template("gallery.html")
        .render(
            source=source,
            data=data,
            count=len(images.keys),
            total=total,
            shown=len(thumbs),
            changed=any(images.before),
            labels=sum(bool(name) for name in images.label),
            odd=odd,
            suspect=SUSPECT,
            copy=COPY,
            farthest=FARTHEST,
        )
    )
