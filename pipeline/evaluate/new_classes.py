"""How well a model finds classes that have no label, where answers name them."""

from collections.abc import Collection

import numpy as np

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.predictions import Predictions
from pipeline.evaluate.metrics import finest
from pipeline.vectors.matching import matched


def of_new_classes(predictions: Predictions, labels: Labels, new: Collection[str]) -> dict[str, float | int]:
    """`n_new_classes`, and what share is right once each class of the model stands for one of the answers.

    Which stands for which is chosen by the same answers, as in the papers on new classes. `matched` is of all images
    with an answer, `matched_old` of those whose class has a label, `matched_new` of the others; absent where there are
    none. Nothing where the model has no `new` classes.
    """
    if not new:
        return {}
    pairs = zip(predictions.answers, predictions.predictions, strict=True)
    answers, said = np.array([pair for pair in pairs if pair[0]], dtype=np.str_).reshape(-1, 2).T
    right = matched(*(np.unique(names, return_inverse=True)[1] for names in (answers, said)))
    old = np.isin(answers, [*{*finest(labels).values()}])
    parts = {"matched": right, "matched_old": right[old], "matched_new": right[~old]}
    return {"n_new_classes": len(new), **{name: float(part.mean()) for name, part in parts.items() if len(part)}}
