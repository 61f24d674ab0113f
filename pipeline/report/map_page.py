"""The map: every image as a point, on a page of its own, and as a table for other tools."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32
from markupsafe import Markup
from numpy import ndarray

from pipeline.artifacts.neighbours import Neighbours
from pipeline.report.images import Images
from pipeline.report.packed import columns, packed
from pipeline.report.templates import templates
from pipeline.shards.pictures import Picture

VENDOR = Path(__file__).parent / "vendor/regl-scatterplot.min.js"


def render(
    source: str,
    images: Images,
    places: Float32[ndarray, "n 2"] | None,
    words: str,
    thumbs: Mapping[int, Picture],
    total: int,
) -> str:
    """The page of `images`, which are some of `total`; without `places` it says that there is no map."""
    data = {} if places is None else {**columns(images, thumbs), "xy": packed(places, "<f4")}
    return (
        templates()
        .get_template("map.html")
        .render(
            source=source,
            data=data,
            count=len(images.keys),
            total=total,
            shown=len(thumbs),
            words=words,
            vendor=Markup(VENDOR.read_text(encoding="utf-8")),
        )
    )


def write_table(file: Path, images: Images, places: Float32[ndarray, "n 2"] | None, neighbours: Neighbours) -> None:
    """Parquet, a row each: key, path, x, y, split, known_class, prediction, confidence, picked and neighbours.

    The known class is the label, or the answer of an image that has none. Neighbours are as embedding-atlas reads them:
    rows of this table from 0, and Euclidean distances; test images have none.
    """
    place = {} if places is None else {"x": places[:, 0], "y": places[:, 1]}
    table = {
        "key": images.keys,
        "path": images.paths,
        **place,
        "split": np.where(images.tested, "test", "train"),
        "known_class": [a or b or None for a, b in zip(images.label, images.answer, strict=True)],
        "prediction": [name or None for name in images.prediction],
        "confidence": images.confidence.astype(np.float32),
        "picked": images.rank > 0,
        "neighbors": _near(neighbours, int(images.tested.sum())),
    }
    pq.write_table(pa.table(table), file, compression="zstd")


def _near(neighbours: Neighbours, without: int) -> pa.StructArray:
    """Those of the training images, and null for as many rows behind as have none."""
    there = neighbours.rows >= 0
    ends = np.append(0, there.sum(axis=1).cumsum())
    ends = np.append(ends, np.full(without, ends[-1])).astype(np.int32)
    lists = [
        pa.ListArray.from_arrays(ends, pa.array(values[there]))
        for values in (neighbours.rows, np.sqrt(neighbours.sq_dist))
    ]
    return pa.StructArray.from_arrays(
        lists, ["ids", "distances"], mask=pa.array(np.arange(len(ends) - 1) >= len(there))
    )
