"""A network on disk: tensors as safetensors, the description that builds it again as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy import ndarray
from safetensors import SafetensorError

from pipeline.base.errors import ArtifactError, first_line
from pipeline.base.files import read_json, whole_file, write_json


@dataclass(frozen=True)
class Weights:
    """A network: `<name>.safetensors` holds its tensors, `<name>.json` what is needed to build it again."""

    arrays: Mapping[str, ndarray]
    about: Mapping[str, Any]

    def write(self, folder: Path, name: str) -> None:
        """Writes both files into an existing folder."""
        arrays = {key: np.asarray(self.arrays[key], order="C") for key in sorted(self.arrays)}
        with whole_file(folder / f"{name}.safetensors") as part:
            part.write_bytes(safetensors.numpy.save(arrays))  # by way of bytes: a full disk is then an OSError
        write_json(folder / f"{name}.json", dict(self.about))

    @classmethod
    def read(cls, folder: Path, name: str) -> "Weights":
        return cls(read_tensors(folder / f"{name}.safetensors"), read_json(folder / f"{name}.json"))


def read_tensors(file: Path) -> dict[str, ndarray]:
    """The arrays in a safetensors file; nothing in it is ever executed."""
    try:
        return safetensors.numpy.load_file(file)
    except FileNotFoundError as error:
        raise ArtifactError(f"{file}: expected a safetensors file, found none; go to the folder of a run") from error
    except SafetensorError as error:
        raise ArtifactError(f"{file}: expected a safetensors file, got: {first_line(error)}") from error
