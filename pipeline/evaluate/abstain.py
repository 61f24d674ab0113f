"""When to name no class: the confidence from which on a wished share of the labels left out is right."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.base.errors import ArtifactError, SourceError
from pipeline.base.files import read_json


class Threshold(NamedTuple):
    """A confidence, and what is known of the labels that reach it when they are left out."""

    confidence: float
    right: int
    num_labels: int

    def __str__(self) -> str:
        share = f"{self.right / self.num_labels:.0%} of the {self.num_labels} labels left out that reach it"
        return f"a class from a confidence of {self.confidence:.3f} on: {share} are right"


def threshold(model: Path, accuracy: float) -> Threshold:
    """The lowest confidence from which on at least `accuracy` of the labels left out are right, and of one wrong more.

    That one makes up for the choice (Angelopoulos et al. 2024, "Conformal risk control"). With few labels the threshold
    is rough all the same, and picks may be easier or harder than other images. Raises ArtifactError for a model whose
    training left no label out, and SourceError where no confidence is high enough.
    """
    about: Mapping[str, Any] = read_json(model / "model.json")
    if "left_out" not in about:
        raise ArtifactError(
            f"{model / 'model.json'}: --abstain: expected a model of train.method=propagate, which leaves out each "
            "label in turn, got one of another method"
        )
    confidence, right = (np.array(about["left_out"][name]) for name in ("confidence", "right"))
    order = np.argsort(-confidence, kind="stable")
    share = right[order].cumsum() / np.arange(2, len(order) + 2)  # one more is taken to be wrong
    last = np.append(confidence[order][1:] < confidence[order][:-1], True)  # of equal ones all count or none
    good = np.flatnonzero((share >= accuracy) & last[: len(order)])
    if not len(good):
        best = f"{share[last[: len(order)]].max():.0%}" if len(order) else "none"
        raise SourceError(
            f"--abstain: expected an accuracy that some labels left out reach, at most {best}, got {accuracy}"
        )
    count = int(good[-1]) + 1
    return Threshold(float(confidence[order][count - 1]), int(right[order][:count].sum()), count)
