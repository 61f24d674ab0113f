"""`data/rounds/outputs`: the last round's model on all training images.

Beside it lies a copy of what was predicted then, `PREDICTED`, for the report to say what changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.model import Weights, read_tensors
from pipeline.base.errors import ArtifactError
from pipeline.base.files import whole_folder

OUTPUTS = "outputs"  # the folder below that of the rounds
PREDICTED = "pseudo_labels.csv"


@dataclass(frozen=True)
class ModelOutputs:
    """A model's features of all training images, before they are brought to unit length, and its linear layer."""

    features: Embeddings
    weight: Float32[ndarray, "c f"]
    bias: Float32[ndarray, " c"]

    def write(self, folder: Path) -> None:
        """Writes features, keys and layer in place of those that are there, and of what was predicted by these."""
        with whole_folder(folder, spare=(PREDICTED,)) as part:
            self.features.write(part)
            Weights({"weight": self.weight, "bias": self.bias}, {}).write(part, "head")

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
