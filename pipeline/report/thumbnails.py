"""Small pictures for the map and the gallery: of as many images as `report.gallery` says, those that matter first."""

from collections.abc import Iterable

import numpy as np

from pipeline.base.machine import Reading
from pipeline.report.images import Images
from pipeline.report.inputs import Run
from pipeline.shards.pictures import Picture, pictures

SIDE = 64  # pixels of the longer side, at most
MOST_BYTES = 6_000_000  # of all together, in a page; both pages have them


def choose(images: Images, first: Iterable[int], limit: int) -> list[int]:
    """At most `limit` rows: labelled, `first`, wrong, changed, then of each predicted class evenly by confidence."""
    labelled = np.flatnonzero(np.array([bool(name) for name in images.label]) | (images.rank > 0))
    changed = [row for row, name in enumerate(images.before) if name]
    wrong = np.flatnonzero(images.wrong).tolist()
    chosen = list(dict.fromkeys([*labelled.tolist(), *first, *wrong, *changed]))[:limit]
    rest = np.setdiff1d(np.arange(len(images.keys)), chosen)
    of = images.numbers(images.prediction)[rest]
    present = np.unique(of)
    for i, number in enumerate(present):
        own = rest[of == number]
        own = own[np.argsort(images.confidence[own], kind="stable")]
        count = min(len(own), (limit - len(chosen)) // (len(present) - i))
        chosen += own[np.linspace(0, len(own) - 1, count).round().astype(int)].tolist()
    return chosen


def thumbnails(run: Run, images: Images, rows: list[int], reading: Reading) -> dict[int, Picture]:
    """The pictures of these rows, the first of them up to `MOST_BYTES`."""
    found = pictures(run.manifest, run.index, [images.keys[row] for row in rows], SIDE, reading)
    return within((row, found[images.keys[row]]) for row in rows)


def within(found: Iterable[tuple[int, Picture]]) -> dict[int, Picture]:
    """The first of these pictures, by row, up to `MOST_BYTES`; the others are not asked for."""
    total, kept = 0, {}
    for row, picture in found:
        total += len(picture.uri)
        if total > MOST_BYTES:
            break
        kept[row] = picture
    return kept
