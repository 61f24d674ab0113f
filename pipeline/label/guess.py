"""What the graph makes of the labels: a guess for each pick, the images it is surest of, and those like no class."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy import ndarray

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.neighbours import Neighbours
from pipeline.graph.affinity import Affinity
from pipeline.graph.prior import read_shares
from pipeline.graph.propagation import PropagateParams, Propagation, propagate
from pipeline.graph.unseen import unseen
from pipeline.label.around import Guesses

A_CLASS, IN_ALL = 24, 480  # images that the graph is surest of, at most
# How sure it must be of them. On pictures of emoji, 71 to 95 % of those above are right, and 12 to 50 % of those below.
LEAST = 0.7


def guess(
    x: Float32[ndarray, "n d"],
    neighbours: Neighbours,
    keys: Sequence[str],
    labels: Labels,
    picks: Sequence[str],
    never: Collection[str],
    confirmed: Collection[str],
    new: Sequence[Sequence[str]],
    params: PropagateParams,
    device: torch.device,
) -> Guesses:
    """Spreads the labels of the finest level over all images, whose keys these are; no guesses from a single class.

    An image with a label has the guess that the other labels give, so that a slip can be seen; beyond as many labels as
    are left out one by one it has none. The images `never` shown have no guess and are not among the others. Images
    like no class are those of the `new` classes that a model found, the most typical first, as long as none of the
    first has a label; where there are none of these, those that the labels do not reach.
    """
    row_of = {key: row for row, key in enumerate(keys)}
    named = {key: names[0] for key, names in labels.rows.items() if names[0] and key in row_of}
    classes = sorted({*named.values()})
    if len(classes) < 2:
        return Guesses()
    number = {name: at for at, name in enumerate(classes)}
    rows = np.array(sorted(row_of[key] for key in named))
    given = np.array([number[named[keys[row]]] for row in rows])
    shares = read_shares(params.prior, classes)
    told = np.array([keys[row] not in confirmed for row in rows.tolist()], bool)
    affinity = Affinity.of(neighbours, device)
    result = propagate(x, affinity, rows, given, len(classes), params, shares, told)
    numbers, p = (part[:, 0] for part in result.best(x))
    found = {keys[row]: pair for row, pair in _left_out(result, rows, classes).items()}
    asked = [key for key in picks if key not in never and key not in named]
    found |= {key: (classes[numbers[row_of[key]]], float(p[row_of[key]])) for key in asked}
    others = np.ones(len(keys), bool)
    others[[row_of[key] for key in {*named, *picks, *never} if key in row_of]] = False
    groups = _open(new, row_of, {*picks, *never}, {*named})
    groups = groups or unseen(x, neighbours, affinity, rows, given, told, numbers, params.alpha).groups
    unlike = [(int(others[group].sum()), [keys[row] for row in group[others[group]][:A_CLASS]]) for group in groups]
    for group in groups:
        others[group] = False
    most = max(1, min(A_CLASS, IN_ALL // len(classes)))
    surest: dict[str, tuple[str, float]] = {}
    for at, name in enumerate(classes[:IN_ALL]):
        own = np.flatnonzero(others & (numbers == at) & (p >= LEAST))
        best = own[np.argsort(-p[own], kind="stable")[:most]]
        surest |= {keys[row]: (name, float(p[row])) for row in best}
    of = {key: pair for key, pair in found.items() if key not in never}
    return Guesses(of, surest, [pair for pair in unlike[: IN_ALL // A_CLASS] if pair[1]])


def _open(
    new: Sequence[Sequence[str]], row_of: Mapping[str, int], elsewhere: Collection[str], named: Collection[str]
) -> Sequence[Int64[ndarray, " _"]]:
    """The rows of the new classes that nobody has named: none of those that are shown there has a label."""
    groups = [[key for key in group if key in row_of] for group in new]
    shown = [[key for key in group if key not in elsewhere][:A_CLASS] for group in groups]
    pairs = zip(groups, shown, strict=True)
    return [np.array([row_of[key] for key in group]) for group, some in pairs if some and not {*some} & {*named}]


def _left_out(result: Propagation, rows: ndarray, classes: Sequence[str]) -> dict[int, tuple[str, float]]:
    """What the other labels say of each labelled row that was left out."""
    out, p = result.left_out, result.without_own()
    at = zip(rows[out.place].tolist(), p, out.found.tolist(), strict=True)
    return {row: (classes[one.argmax()], float(one.max())) for row, one, found in at if found}
