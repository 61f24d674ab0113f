"""`data/rounds/outputs`: the last round's model on all training images.

Beside it lie copies of what was predicted then: `PREDICTED`, for the report to say what changed and for the label page
to show the classes that the model found by itself, and `TESTED` of the test images, for the report to say what is
better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.model import Weights, read_tensors
from pipeline.artifacts.predictions import PseudoLabels
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json, whole_folder

OUTPUTS = "outputs"  # the folder below that of the rounds
PREDICTED, TESTED = "pseudo_labels.csv", "predictions.csv"


@dataclass(frozen=True)
class ModelOutputs:
    """A model's features of all training images, before they are brought to unit length, and its linear layer."""

    features: Embeddings
    weight: Float32[ndarray, "c f"]
    bias: Float32[ndarray, " c"]
    discovered: Sequence[str] = ()  # the names of those of its classes that no label names

    def write(self, folder: Path) -> None:
        """Writes features, keys and layer in place of those that are there, and of what was predicted by these."""
        with whole_folder(folder, spare=(PREDICTED, TESTED)) as part:
            self.features.write(part)
            about = {"discovered": list(self.discovered)}
            Weights({"weight": self.weight, "bias": self.bias}, about).write(part, "head")

    @classmethod
    def read(cls, folder: Path, keys: Sequence[str]) -> "ModelOutputs | None":
        """What was written; None where nothing was. Raises ArtifactError where the images are not those of `keys`."""
        if not folder.is_dir():
            return None
        features, head = Embeddings.read(folder), read_tensors(folder / "head.safetensors")
        if list(features.keys) != list(keys):
            raise ArtifactError(
                f"{folder}: expected features of the {len(keys)} images to select from, got {len(features.keys)} of "
                "others; set select.method to auto for this round"
            )
        shapes = {name: head[name].shape for name in sorted(head)}
        c = len(head.get("weight", ()))
        if c == 0 or shapes != {"bias": (c,), "weight": (c, features.vectors.shape[1])}:
            raise ArtifactError(
                f"{folder / 'head.safetensors'}: expected weight of shape (c, {features.vectors.shape[1]}) and bias of "
                f"shape (c), got {shapes}"
            )
        if not all(np.isfinite(array).all() for array in head.values()):
            raise ArtifactError(f"{folder / 'head.safetensors'}: expected finite numbers, got NaN or infinity")
        return cls(features, head["weight"].astype(np.float32), head["bias"].astype(np.float32))


def new_classes(folder: Path) -> list[list[str]]:
    """The images of each class that the model of the last round found by itself, by key, the surest first.

    `folder` is that of the outputs; none where there are no outputs, or no such classes.
    """
    head, predicted = folder / "head.json", folder / PREDICTED
    names = read_json(head).get("discovered", []) if head.is_file() else []
    if not (names and predicted.is_file()):
        return []
    found = PseudoLabels.read(predicted)
    rows = sorted(zip((-found.ranking.confidence).tolist(), found.keys, found.ranking.best, strict=True))
    return [[key for _, key, best in rows if best == name] for name in names]
