"""How frequent each class is assumed to be, from the labels and from how many images each label stands for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.base.errors import ArtifactError
from pipeline.base.files import number, read_csv
from pipeline.vectors.geometry import assign
from pipeline.vectors.rows import sample

IMAGES = 200_000  # that are assigned to labels, at most
PRIORS = ("uniform", "clusters", "mixed")  # any other name is that of a CSV


def masses(x: Float32[ndarray, "n d"], rows: Int64[ndarray, " m"]) -> Float[ndarray, " m"]:
    """How many images each labelled row stands for: itself, and its part of the others, which go to the nearest label.

    Beyond `IMAGES` others a sample of them speaks for all.
    """
    others = np.setdiff1d(np.arange(len(x)), rows)
    some = others[sample(len(others), IMAGES, rng.stream(0, "graph", "masses"))]
    count = np.bincount(assign(x[some], x[rows])[0], minlength=len(rows))
    return 1 + count * (len(others) / max(len(some), 1))


def class_shares(
    prior: str,
    labels: Int64[ndarray, " m"],
    mass: Float[ndarray, " m"],
    num_classes: int,
    known: Float[ndarray, " k"] | None,
) -> Float[ndarray, " k"]:
    """Shares of the classes, in sum 1; a class without a label has 0, since nothing can be spread from it.

    `uniform` over the classes with a label; `clusters`: the mass of a class's labels; `mixed`: half of each; `known`
    are the shares of a CSV.
    """
    present = np.bincount(labels, minlength=num_classes) > 0
    uniform = present / present.sum()
    clusters = np.bincount(labels, weights=mass, minlength=num_classes) / mass.sum()
    if known is not None:
        shares = np.where(present, known, 0)
    else:
        shares = {"uniform": uniform, "clusters": clusters, "mixed": (uniform + clusters) / 2}[prior]
    return shares / shares.sum()


def read_shares(prior: str, classes: Sequence[str]) -> Float[ndarray, " k"] | None:
    """The shares in the CSV `label,share` that `prior` names, in the order of `classes`, in any unit; None for a word.

    Other classes of the CSV do not count: nobody has labelled them yet. Raises ArtifactError for a class that is
    missing or there twice, and for a share that is not above 0.
    """
    if prior in PRIORS:
        return None
    file = Path(prior)
    rows = read_csv(file, ("label", "share"))[1]
    shares: dict[str, float] = {}
    for row in rows:
        name, share = row[0].strip(), number(file, row[1])
        if name in shares:
            raise ArtifactError(f"{file}: expected each class once, got {name!r} twice")
        if not 0 < share < np.inf:
            raise ArtifactError(f"{file}: {name}: expected a share above 0, got {row[1]}")
        shares[name] = share
    missing = [name for name in classes if name not in shares]
    if missing:
        raise ArtifactError(f"{file}: expected a share of each class, got none of {missing[0]!r}")
    return np.array([shares[name] for name in classes])
