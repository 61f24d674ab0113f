"""`vectors.npy` and `keys.txt`: one unit vector for each image, in memory or on disk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from pipeline.artifacts.on_disk import KeyLines, Parts
from pipeline.artifacts.vectors import read_vectors
from pipeline.base.errors import ArtifactError
from pipeline.base.files import check_keys, read_text, whole_file


@dataclass(frozen=True)
class Embeddings:
    """`vectors.npy` and `keys.txt`: row i is the unit vector of the image `keys[i]`; keys are sorted and unique."""

    keys: Sequence[str]
    vectors: Float32[ndarray, "n d"]

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.vectors):
            raise ArtifactError(f"keys.txt: expected {len(self.vectors)} keys, one a vector, got {len(self.keys)}")
        check_keys(self.keys, "keys.txt")

    def write(self, folder: Path) -> None:
        """Writes both files into an existing folder."""
        self.write_blocks(folder, self.keys, [(np.arange(len(self.keys)), self.vectors)])

    @classmethod
    def write_blocks(
        cls, folder: Path, keys: Sequence[str], blocks: Iterable[tuple[Int64[ndarray, " b"], Float32[ndarray, "b d"]]]
    ) -> None:
        """The same of blocks of vectors, one of them in memory at a time, each with the rows where they belong."""
        check_keys(keys, "keys.txt")
        with whole_file(folder / "vectors.npy") as part:
            table: np.memmap[Any, Any] | None = None
            for rows, vectors in blocks:
                if table is None:
                    shape = (len(keys), vectors.shape[1])
                    table = np.lib.format.open_memmap(part, "w+", np.float32, shape)
                table[rows] = vectors
            assert table is not None, "expected at least one block of vectors"
            table.flush()
        with whole_file(folder / "keys.txt") as part:
            part.write_text("".join(f"{key}\n" for key in keys), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Embeddings":
        """Reads both; a split without images has no rows."""
        keys, file = read_text(folder / "keys.txt").split(), folder / "vectors.npy"
        return cls(keys, read_vectors(file) if keys else np.load(file))

    @classmethod
    def of(cls, folder: Path, keys: Sequence[str]) -> "Embeddings":
        """The same of a folder `train` that `embed` wrote. Raises ArtifactError where it is not of these images."""
        found = cls.read(folder)
        if list(found.keys) != list(keys):
            raise ArtifactError(
                f"{folder.parent}: expected vectors of the {len(keys)} training images, got {len(found.keys)}, some of "
                "others; `dvc repro -f embed` makes them anew"
            )
        return found


@dataclass(frozen=True)
class StoredEmbeddings:
    """`Embeddings` that stay on disk."""

    keys: KeyLines
    vectors: Parts

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.vectors):
            raise ArtifactError(
                f"{self.keys.file}: expected {len(self.vectors)} keys, one a vector, got {len(self.keys)}"
            )

    @classmethod
    def open(cls, folder: Path) -> "StoredEmbeddings":
        """Reads both files once, to check them."""
        return cls(KeyLines.open(folder / "keys.txt"), Parts.open(folder / "vectors.npy"))
