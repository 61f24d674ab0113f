"""What the other labels say of a labelled image, and of an image without the label that is nearest to it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.graph import probe
from pipeline.graph.affinity import Affinity
from pipeline.graph.spread import at_images
from pipeline.vectors.geometry import assign
from pipeline.vectors.rows import sample

MOST = 500  # labels that are left out, at most: each costs one column to solve for
IMAGES = 5000  # images without a label that are looked at, at most


@dataclass(frozen=True)
class LeftOut:
    """Class probabilities without one label, by spreading and by the probe; rows sum to 1.

    `place` are the labels that were left out, among those given, `labels` their classes, and `found` which of them
    could be: a class with a single label cannot be found without it. `near` is the label, among these, that is nearest
    to each of the images `rows`; where not all labels are left out, it and what is said without it have no rows.
    """

    place: Int64[ndarray, " r"]
    labels: Int64[ndarray, " r"]
    found: Bool[ndarray, " r"]
    spread: Float[ndarray, "r k"]
    probe: Float[ndarray, "r k"]
    rows: Int64[ndarray, " s"]
    near: Int64[ndarray, " t"]
    spread_near: Float[ndarray, "t k"]
    probe_near: Float[ndarray, "t k"]


def leave_out(
    x: Float32[ndarray, "n d"],
    affinity: Affinity,
    rows: Int64[ndarray, " m"],
    labels: Int64[ndarray, " m"],
    scale: Float[ndarray, " k"],
    alpha: float,
) -> LeftOut:
    """Leaves out each label in turn, or `MOST` of them, drawn at random.

    Spreading is linear in the labels: what each label gives each image is solved for once. Columns keep the `scale`
    that Sinkhorn found with all labels. The probe leaves out a fold at a time.
    """
    place = sample(len(labels), MOST, rng.stream(0, "graph", "left out"))
    unlabelled = np.setdiff1d(np.arange(len(x)), rows)
    some = unlabelled[sample(len(unlabelled), IMAGES, rng.stream(0, "graph", "images"))]
    seen = some if len(place) == len(labels) else some[:0]  # else what all labels give these images is not known
    near = assign(x[seen], x[rows])[0]
    of, sources = (torch.from_numpy(part).to(affinity.matrix.device) for part in (np.append(rows, seen), rows[place]))
    columns = at_images(affinity, of, sources, alpha).double().clamp(min=0).cpu().numpy()
    given = columns[: len(rows)].T  # symmetric: what each of the labels that are left out has of all labels
    if len(seen):
        given = np.concatenate([given, columns[len(rows) :]])
    spread = _without(given, labels, np.append(place, near), scale)
    probed, probed_near = probe.left_out(x[rows], labels, len(scale), place, x[seen], near)
    return LeftOut(
        place=place,
        labels=labels[place],
        found=np.bincount(labels)[labels[place]] > 1,
        spread=spread[: len(place)],
        probe=probed,
        rows=some,
        near=near,
        spread_near=spread[len(place) :],
        probe_near=probed_near,
    )


def _without(
    given: Float[ndarray, "q m"], labels: Int64[ndarray, " m"], own: Int64[ndarray, " q"], scale: Float[ndarray, " k"]
) -> Float[ndarray, "q k"]:
    """Row i: the classes' shares by all labels but `own[i]`; equal where no other label reaches."""
    each = np.arange(len(given))
    given = given.copy()
    given[each, own] = 0
    p = np.zeros((len(given), len(scale)))
    np.add.at(p.T, labels, given.T)
    count = np.tile(np.bincount(labels, minlength=len(scale)).astype(np.float64), (len(given), 1))
    count[each, labels[own]] -= 1
    p *= scale / np.maximum(count, 1)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1), 1 / len(scale))
